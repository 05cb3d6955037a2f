/** The CustomResourceDefinitions of an installation. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { packageRoot } from '../../lib/package-root.ts';
import type { Manifest } from './render/manifest.ts';

const OWN_GROUP = 'loam.dev';

/** A definition as far as the command line looks into it. */
export interface Definition extends Manifest {
  readonly spec: {
    readonly group: string;
    readonly scope: 'Namespaced' | 'Cluster';
    readonly names: { readonly kind: string; readonly plural: string };
    readonly versions: readonly { readonly name: string; readonly served: boolean }[];
  };
}

export function crdFolder(): string {
  return join(packageRoot(), 'deploy', 'crds');
}

let known: readonly Definition[] | undefined;

/** All that an installation brings, by the names of their files. Read once: they are a megabyte of YAML. */
export function definitions(): readonly Definition[] {
  known ??= readAll();
  return known;
}

function readAll(): Definition[] {
  return readdirSync(crdFolder(), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.yaml'))
    .sort()
    .flatMap((file) => parseAllDocuments(readFileSync(join(crdFolder(), file), 'utf8')))
    .map((document) => document.toJS() as Definition | null)
    .filter((document) => document !== null);
}

/** Loam's own kinds are kept up to date; kinds of a standard are another's to change once they are there. */
export function isOwn({ spec }: Definition): boolean {
  return spec.group === OWN_GROUP;
}
