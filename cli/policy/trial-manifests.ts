import { cpSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllDocuments, stringify } from 'yaml';
import { errorText } from '../../lib/loam-error.ts';
import { MeshError } from '../mesh/errors.ts';

const MANIFEST = /\.(ya?ml|json)$/;
const MAX_BYTES = 1 << 20;

/** An object by kind, namespace and name; a namespace of '' is `default`. */
export interface ObjectKey {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
}

/** What is proposed: files whose objects are added or stand in place of those of the same name, and objects that go. */
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

/**
 * Copies a mesh's manifests to a folder, with what is proposed.
 *
 * @returns the names of the files that hold the proposal
 * @throws MeshError MESH_INPUT when a file of it cannot be read
 */
export function copyWithProposal(manifests: string, folder: string, { files, without }: Proposal): string[] {
  const texts = files.map(readText);
  const proposed = texts.flatMap(({ file, text }) => documentsOf(file, text).map(keyOf));
  const gone = new Set([...proposed, ...without].map(keyText));
  const missing = new Set(without.map(keyText));
  cpSync(manifests, folder, { recursive: true, filter: (path) => isManifestOrFolder(path) });
  for (const path of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    const file = join(folder, path);
    if (!MANIFEST.test(path)) continue;
    let documents: unknown[];
    try {
      documents = documentsOf(path, readFileSync(file, 'utf8'));
    } catch {
      continue; // A broken manifest of the mesh is for its controller to say, which goes on with the last good one.
    }
    const kept = documents.filter((document) => !gone.has(keyText(keyOf(document))));
    for (const document of documents) missing.delete(keyText(keyOf(document)));
    if (kept.length === documents.length) continue;
    if (kept.length === 0) rmSync(file);
    else writeFileSync(file, kept.map((document) => stringify(document)).join('---\n'));
  }
  const [first] = missing;
  if (first !== undefined)
    throw new MeshError('MESH_INPUT', `the mesh has no ${first}, so that it cannot go without it`);
  return texts.map(({ text }, i) => {
    const name = `proposed-${i}.yaml`;
    writeFileSync(join(folder, name), text);
    return name;
  });
}

function isManifestOrFolder(path: string): boolean {
  return MANIFEST.test(path) || statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

function readText(file: string): { file: string; text: string } {
  try {
    if (statSync(file).size > MAX_BYTES) throw new Error(`it has more than ${MAX_BYTES} bytes`);
    return { file, text: readFileSync(file, 'utf8') };
  } catch (error) {
    throw new MeshError('MESH_INPUT', `${file} cannot be read: ${errorText(error)}`);
  }
}

/** @throws MeshError MESH_INPUT */
function documentsOf(file: string, text: string): unknown[] {
  return parseAllDocuments(text).flatMap((document) => {
    const [error] = document.errors;
    if (error !== undefined) throw new MeshError('MESH_INPUT', `${file} is no YAML: ${error.message}`);
    const value = document.toJS() as unknown;
    return value === null || value === undefined ? [] : [value];
  });
}

function keyOf(value: unknown): ObjectKey {
  const { kind, metadata } = (value ?? {}) as {
    readonly kind?: unknown;
    readonly metadata?: { readonly name?: unknown; readonly namespace?: unknown };
  };
  const text = (part: unknown): string => (typeof part === 'string' ? part : '');
  return { kind: text(kind), namespace: text(metadata?.namespace), name: text(metadata?.name) };
}

function keyText({ kind, namespace, name }: ObjectKey): string {
  return `${kind}/${namespace === '' ? 'default' : namespace}/${name}`;
}
