/** What can be set in an installation: the chart's values, checked by the chart's schema, for Helm and `loam install` alike. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { V1ResourceRequirements, V1Toleration } from '@kubernetes/client-node';
import { Ajv, type ErrorObject } from 'ajv';
import { parse } from 'yaml';
import { errorText } from '../../lib/loam-error.ts';
import { packageRoot } from '../../lib/package-root.ts';
import { InstallError } from './errors.ts';

/** Compute resources as a Pod's container has them; a quantity may be a number. */
export type Resources = V1ResourceRequirements;

/** The fields are described in deploy/chart/values.yaml. */
export interface Values {
  readonly image: string;
  readonly imagePullPolicy: 'Always' | 'IfNotPresent' | 'Never';
  readonly imagePullSecrets: readonly string[];
  readonly clusterId: string;
  readonly trustDomain: string;
  readonly clusterDomain: string;
  readonly ca: { readonly secret: string };
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
  readonly replicas: number;
  readonly controller: {
    readonly nodeSelector: Readonly<Record<string, string>>;
    readonly tolerations: readonly V1Toleration[];
    readonly resources: Resources;
  };
  readonly cni: {
    readonly mode: 'auto' | 'always' | 'never';
    readonly confFolder: string;
    readonly binFolder: string;
  };
  readonly agent: { readonly maxUnavailable: number | string; readonly resources: Resources };
  readonly ztunnel: {
    readonly maxSurge: number | string;
    readonly terminationGracePeriodSeconds: number;
    readonly onDemand: boolean;
    readonly resources: Resources;
  };
  /** Of the chart's hook only. */
  readonly uninstall: {
    readonly deadlineSeconds: number;
    readonly graceSeconds: number;
    readonly abandonNodes: boolean;
  };
}

type Tree = Readonly<Record<string, unknown>>;

/** The folder of the Helm chart. */
export function chartFolder(): string {
  return join(packageRoot(), 'deploy', 'chart');
}

function chartFile(name: string): string {
  return readFileSync(join(chartFolder(), name), 'utf8');
}

/** The chart's own values. */
export function defaultValues(): Tree {
  return parse(chartFile('values.yaml')) as Tree;
}

/**
 * Puts values together as Helm does: defaults, then each layer over the one before; lists are replaced whole, and null takes a
 * key away.
 *
 * @throws InstallError INSTALL_INPUT that names each value that is not allowed, and what is
 */
export function valuesOf(layers: readonly Tree[]): Values {
  const merged = layers.reduce((below, above) => over(below, above), defaultValues());
  const validate = new Ajv({ allErrors: true, verbose: true }).compile(
    JSON.parse(chartFile('values.schema.json')) as object,
  );
  if (!validate(merged)) {
    const lines = [...new Set((validate.errors ?? []).map(problemText))];
    throw new InstallError('INSTALL_INPUT', `these values are not allowed:\n  ${lines.join('\n  ')}`);
  }
  return merged as unknown as Values;
}

function problemText({ instancePath, message, params, data, parentSchema }: ErrorObject): string {
  const extra = (params as { additionalProperty?: string }).additionalProperty;
  const path = [...instancePath.split('/').slice(1), ...(extra === undefined ? [] : [extra])].join('.');
  const allowed = (params as { allowedValues?: readonly unknown[] }).allowedValues;
  if (extra !== undefined) {
    const known = Object.keys((parentSchema as { properties?: object } | undefined)?.properties ?? {});
    return `${path}: there is no such value${known.length === 0 ? '' : `; there are ${known.join(', ')}`}`;
  }
  if (allowed !== undefined) return `${path}: ${JSON.stringify(data)}; allowed: ${allowed.join(', ')}`;
  const said = (parentSchema as { description?: string } | undefined)?.description;
  return `${path}: ${JSON.stringify(data)} ${message ?? 'is not allowed'}${said === undefined ? '' : ` (${said})`}`;
}

function over(below: Tree, above: Tree): Tree {
  const result: Record<string, unknown> = { ...below };
  for (const [key, value] of Object.entries(above)) {
    const former = result[key];
    if (value === null) delete result[key];
    else result[key] = isTree(value) && isTree(former) ? over(former, value) : value;
  }
  return result;
}

function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * One `--set a.b=value`. The value is read as YAML, so that numbers, lists and `null` are what they look like.
 *
 * @throws InstallError INSTALL_INPUT
 */
export function valuesOfSet(text: string): Tree {
  const match = /^([A-Za-z][A-Za-z0-9]*(?:\.[A-Za-z][A-Za-z0-9]*)*)=(.*)$/s.exec(text);
  if (match?.[1] === undefined || match[2] === undefined)
    throw new InstallError(
      'INSTALL_INPUT',
      `--set ${JSON.stringify(text)} is not usable; allowed: KEY=VALUE with a key such as logLevel or ztunnel.maxSurge`,
    );
  let value: unknown;
  try {
    value = match[2] === '' ? '' : parse(match[2]);
  } catch (cause) {
    throw new InstallError('INSTALL_INPUT', `--set ${match[1]}: the value is no YAML: ${errorText(cause)}`);
  }
  return match[1]
    .split('.')
    .reverse()
    .reduce<unknown>((inner, key) => ({ [key]: inner }), value) as Tree;
}

/** A file of values, YAML or JSON. @throws InstallError INSTALL_INPUT */
export function valuesOfFile(path: string): Tree {
  let tree: unknown;
  try {
    tree = parse(readFileSync(path, 'utf8')) ?? {};
  } catch (cause) {
    throw new InstallError('INSTALL_INPUT', `--values ${path} cannot be read: ${errorText(cause)}`);
  }
  if (!isTree(tree)) throw new InstallError('INSTALL_INPUT', `--values ${path} is no mapping of values`);
  return tree;
}
