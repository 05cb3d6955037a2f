/** What somebody proposes: objects in files, and objects that shall go. */
import { readFileSync, statSync } from 'node:fs';
import { parseAllDocuments } from 'yaml';
import { errorText } from '../../lib/loam-error.ts';
import { MeshError } from '../mesh/errors.ts';

const MAX_BYTES = 1 << 20;

/** An object by kind, namespace and name; a namespace of '' is what the mesh takes for one that is not given. */
export interface ObjectKey {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
}

/** Files whose objects are added or stand in place of those of the same name, and objects that go. */
export interface Proposal {
  readonly files: readonly string[];
  readonly without: readonly ObjectKey[];
}

/** `Kind/namespace/name`. @throws MeshError MESH_INPUT */
export function readObjectKey(text: string): ObjectKey {
  const [kind, namespace, name, ...more] = text.split('/');
  if (kind && namespace && name && more.length === 0) return { kind, namespace, name };
  throw new MeshError(
    'MESH_INPUT',
    `${JSON.stringify(text)} is no object; allowed: KIND/NAMESPACE/NAME, as in AuthorizationPolicy/shop/db`,
  );
}

/** @throws MeshError MESH_INPUT */
export function readProposed(file: string): { file: string; text: string } {
  try {
    if (statSync(file).size > MAX_BYTES) throw new Error(`it has more than ${MAX_BYTES} bytes`);
    return { file, text: readFileSync(file, 'utf8') };
  } catch (error) {
    throw new MeshError('MESH_INPUT', `${file} cannot be read: ${errorText(error)}`);
  }
}

/** The documents of a file, without empty ones. @throws MeshError MESH_INPUT */
export function documentsOf(file: string, text: string): unknown[] {
  try {
    // As the controller reads them; its own search for duplicate keys takes quadratic time.
    return parseAllDocuments(text, { uniqueKeys: false, merge: true }).flatMap((document) => {
      const [error] = document.errors;
      if (error !== undefined) throw error;
      const value = document.toJS() as unknown;
      return value === null || value === undefined ? [] : [value];
    });
  } catch (error) {
    // Nested too deep, or too many aliases: somebody else may have written what is looked at here.
    throw new MeshError('MESH_INPUT', `${file} is no YAML: ${errorText(error)}`);
  }
}

/** What a document is about; parts that it does not say are ''. */
export function keyOf(value: unknown): ObjectKey {
  const { kind, metadata } = (value ?? {}) as {
    readonly kind?: unknown;
    readonly metadata?: { readonly name?: unknown; readonly namespace?: unknown } | null;
  };
  const text = (part: unknown): string => (typeof part === 'string' ? part : '');
  return { kind: text(kind), namespace: text(metadata?.namespace), name: text(metadata?.name) };
}
