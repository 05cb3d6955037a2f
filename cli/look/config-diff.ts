import type { JsonValue } from '@bufbuild/protobuf';
import { assertNever } from '../../lib/assert-never.ts';
import { MeshError } from '../mesh/errors.ts';
import type { MeshInventory, ProgramRef } from '../mesh/reader.ts';

/** What programs that follow the same control plane should hold alike. */
const SECTIONS = ['workloads', 'services', 'policies'] as const;
type Section = (typeof SECTIONS)[number];

const KEYS: Readonly<Record<Section, string>> = { workloads: 'uid', services: 'key', policies: 'key' };
/** How deep differences are told; below, the values as wholes. */
const MAX_DEPTH = 4;

type Json = Readonly<Record<string, JsonValue>>;
export type Dump = Readonly<Partial<Record<Section, readonly Json[]>>>;

export interface Difference {
  readonly section: Section;
  readonly name: string;
  /** Only this one has it. */
  readonly only?: 'left' | 'right';
  /** What differs in it. */
  readonly fields?: readonly {
    readonly field: string;
    readonly left: JsonValue;
    readonly right: JsonValue;
  }[];
}

/**
 * What two programs hold otherwise.
 *
 * @param common only of what both know: one that asks for what it needs does not know all
 */
export function dumpDifferences(left: Dump, right: Dump, common: boolean): Difference[] {
  return SECTIONS.flatMap((section) => {
    const [a, b] = [byKey(left, section), byKey(right, section)];
    const names = [...new Set([...a.keys(), ...b.keys()])].sort();
    return names.flatMap((name): Difference[] => {
      const [one, other] = [a.get(name), b.get(name)];
      if (one === undefined || other === undefined)
        return common ? [] : [{ section, name, only: one === undefined ? 'right' : 'left' }];
      const fields = fieldDifferences(one, other, '', 0);
      return fields.length === 0 ? [] : [{ section, name, fields }];
    });
  });
}

function byKey(dump: Dump, section: Section): Map<string, Json> {
  return new Map(
    (dump[section] ?? []).map((item) => {
      const key = item[KEYS[section]];
      return [typeof key === 'string' ? key : JSON.stringify(key), item];
    }),
  );
}

function fieldDifferences(
  left: JsonValue,
  right: JsonValue,
  at: string,
  depth: number,
): { field: string; left: JsonValue; right: JsonValue }[] {
  if (JSON.stringify(sorted(left)) === JSON.stringify(sorted(right))) return [];
  if (isObject(left) && isObject(right) && depth < MAX_DEPTH) {
    const names = [...new Set([...Object.keys(left), ...Object.keys(right)])].sort();
    return names.flatMap((name) =>
      fieldDifferences(
        left[name] ?? null,
        right[name] ?? null,
        at === '' ? name : `${at}.${name}`,
        depth + 1,
      ),
    );
  }
  return [{ field: at, left, right }];
}

/** Members of objects in one order; lists of texts too, since the control plane's have none. */
function sorted(value: JsonValue): JsonValue {
  if (Array.isArray(value)) {
    const list = value.map(sorted);
    return list.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
  }
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, each]) => [name, sorted(each)]),
  );
}

function isObject(value: JsonValue): value is { [key: string]: JsonValue } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function differenceText({ section, name, only, fields = [] }: Difference): string[] {
  const what = section.slice(0, -1).replace(/ie$/, 'y');
  if (only !== undefined) return [`${only === 'left' ? '-' : '+'} ${what} ${name}`];
  return [
    `~ ${what} ${name}`,
    ...fields.flatMap(({ field, left, right }) => [
      `    - ${field}: ${JSON.stringify(left)}`,
      `    + ${field}: ${JSON.stringify(right)}`,
    ]),
  ];
}

/**
 * Reads which program is meant: `ztunnel/NODE`, `agent/NODE`, `waypoint/NAMESPACE/INSTANCE` (or `…/GATEWAY`, its first instance),
 * `controller`.
 *
 * @throws MeshError MESH_INPUT
 */
export function readProgram(inventory: MeshInventory, word: string): ProgramRef {
  const known = programWords(inventory);
  const [kind = '', first = '', second = ''] = word.split('/');
  switch (kind) {
    case 'controller':
      if (word === kind) return { program: 'controller' };
      break;
    case 'ztunnel':
    case 'agent':
      if (inventory.nodes.includes(first) && second === '') return { program: kind, node: first };
      break;
    case 'waypoint': {
      const found = inventory.waypoints.find(
        ({ namespace, instance, gateway }) =>
          namespace === first && (instance === second || gateway === second),
      );
      if (found !== undefined)
        return { program: 'waypoint', namespace: found.namespace, instance: found.instance };
    }
  }
  throw new MeshError(
    'MESH_INPUT',
    `${JSON.stringify(word)} is no program of the mesh; there are: ${known.join(', ')}`,
  );
}

export function programWords({ nodes, waypoints }: MeshInventory): string[] {
  return [
    'controller',
    ...nodes.map((node) => `agent/${node}`),
    ...nodes.map((node) => `ztunnel/${node}`),
    ...waypoints.map(({ namespace, instance }) => `waypoint/${namespace}/${instance}`),
  ];
}

/** Where a program tells all that it knows. */
export function dumpPath(program: ProgramRef): string {
  switch (program.program) {
    case 'controller':
      return '/v1/status';
    case 'agent':
      return '/status';
    case 'ztunnel':
    case 'waypoint':
      return '/config_dump';
    default:
      return assertNever(program, 'program');
  }
}
