import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { packageRoot } from '../../../../lib/package-root.ts';

/** As much of JSON schema as the controller's schemas and the CRDs use. */
export interface SchemaNode {
  readonly type: string;
  readonly description?: string;
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly items?: SchemaNode;
  readonly required?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly maxItems?: number;
  readonly [keyword: string]: unknown;
}

interface Version {
  readonly name: string;
  readonly subresources: object;
  readonly additionalPrinterColumns: readonly { readonly jsonPath: string }[];
  readonly schema: { readonly openAPIV3Schema: SchemaNode };
}

export interface Crd {
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly group: string;
    readonly names: { readonly kind: string; readonly plural: string };
    readonly versions: readonly Version[];
  };
}

/** The heading of one field on a page. */
export interface Section {
  readonly type: string;
  readonly fallback: string;
  readonly range: string;
  readonly example: string;
}

const SECTION =
  /^#{3,4} `([^`]+)`\nType: (.+)\. Default: (.+)\. Range: (.+)\.\n\n([\s\S]+)\n\nExample: `(.+)`\s*$/;

/** A file of the package. */
export function readPackageFile(path: string): string {
  return readFileSync(join(packageRoot(), path), 'utf8');
}

/** All fields below a schema by path: `retries.backoff.base`, `targetRefs[].name`. Items stand for their list. */
export function fieldsOf(node: SchemaNode, path = ''): Map<string, SchemaNode> {
  const found = new Map<string, SchemaNode>();
  if (path !== '' && !path.endsWith('[]')) found.set(path, node);
  for (const [name, child] of Object.entries(node.properties ?? {}))
    for (const [at, field] of fieldsOf(child, path === '' ? name : `${path}.${name}`)) found.set(at, field);
  if (node.items !== undefined)
    for (const [at, field] of fieldsOf(node.items, `${path}[]`)) found.set(at, field);
  return found;
}

/** The fields that a page has under one of its headings. */
export function sectionsOf(page: string, heading: string): Map<string, Section> {
  const [, after = ''] = readPackageFile(page).split(`\n## ${heading}\n`);
  const [fields = ''] = after.split(/\n## /);
  const found = new Map<string, Section>();
  for (const text of fields.split(/\n(?=#{3,4} )/).slice(1)) {
    const [, path = '', type = '', fallback = '', range = '', , example = ''] = SECTION.exec(text) ?? [];
    assert.notEqual(path, '', `a section is not in its form:\n${text}`);
    found.set(path, { type, fallback, range, example });
  }
  return found;
}

/** A CRD, its one version, and the schema of its spec. */
export function readCrd(path: string): { crd: Crd; version: Version; spec: SchemaNode } {
  const crd = parse(readPackageFile(path)) as Crd;
  const [version] = crd.spec.versions;
  assert(version !== undefined);
  const spec = version.schema.openAPIV3Schema.properties?.['spec'];
  assert(spec !== undefined);
  return { crd, version, spec };
}

/** Types, bounds, words and required fields are the same in the controller's schema and the CRD. */
export function assertSameSchema(ours: SchemaNode, theirs: SchemaNode): void {
  const mine = fieldsOf(ours);
  const others = fieldsOf(theirs);
  assert.deepEqual([...others.keys()].sort(), [...mine.keys()].sort());
  const lists = [...mine].filter(([, node]) => node.items !== undefined);
  const items = lists.map(([path, { items }]) => [`${path}[]`, items, others.get(path)?.items] as const);
  const pairs = [...[...mine].map(([path, node]) => [path, node, others.get(path)] as const), ...items];
  for (const [path, node, other] of [['spec', ours, theirs] as const, ...pairs]) {
    assert(node !== undefined && other !== undefined, path);
    for (const keyword of ['type', 'enum', 'minimum', 'maximum', 'maxItems', 'minProperties'])
      assert.deepEqual(other[keyword], node[keyword], `${path}: ${keyword}`);
    assert.deepEqual(other['minItems'] ?? 0, node['minItems'] ?? 0, `${path}: minItems`);
    assert.deepEqual(other.required ?? [], node.required ?? [], `${path}: required`);
  }
}

/** Each field is on the page, and what the page says of bounds, words and whether it must be there is so. */
export function assertDocumented(ours: SchemaNode, documented: ReadonlyMap<string, Section>): void {
  const mine = fieldsOf(ours);
  assert.deepEqual([...documented.keys()].sort(), [...mine.keys()].sort());
  for (const [path, node] of mine) {
    const { range = '', fallback = '' } = documented.get(path) ?? {};
    const { minimum, maximum, items } = node;
    if (minimum !== undefined)
      assert(range.startsWith(`${String(minimum)} to ${String(maximum)}`), `${path}: ${range}`);
    if (Array.isArray(node['enum'])) assert.equal(range, node['enum'].join(', '), path);
    if (items?.minimum !== undefined)
      assert(
        range.includes(`from ${String(items.minimum)} to ${String(items.maximum)}`),
        `${path}: ${range}`,
      );
    if (node.maxItems !== undefined) assert(range.includes(String(node.maxItems)), `${path}: ${range}`);
    const parent = path.includes('.') ? path.slice(0, path.lastIndexOf('.')) : '';
    const holder = parent === '' ? ours : mine.get(parent.replace(/\[\]$/, ''));
    const required = (parent.endsWith('[]') ? holder?.items : holder)?.required ?? [];
    assert.equal(fallback === 'required', required.includes(path.slice(path.lastIndexOf('.') + 1)), path);
  }
}
