import { isRecord } from '../../../lib/kubernetes/resource.ts';

// What is read of JSON that an API server has validated: as much as is needed, and nothing of another type than promised.

export type Json = Readonly<Record<string, unknown>>;

function wrong(field: string, value: unknown, allowed: string): never {
  throw new Error(`${field}: ${(JSON.stringify(value) ?? 'nothing').slice(0, 100)} is no ${allowed}`);
}

/** A map; empty where there is none. */
export function map(from: Json, field: string): Json {
  const value = from[field] ?? {};
  return isRecord(value) ? value : wrong(field, value, 'map');
}

/** A list of maps; empty where there is none. */
export function maps(from: Json, field: string): readonly Json[] {
  const value = from[field] ?? [];
  if (!Array.isArray(value)) return wrong(field, value, 'list');
  return value.map((item) => (isRecord(item) ? item : wrong(field, item, 'map')));
}

/** A list of texts; undefined where there is none. */
export function texts(from: Json, field: string): readonly string[] | undefined {
  const value = from[field] ?? undefined;
  if (value === undefined) return undefined;
  if (!Array.isArray(value)) return wrong(field, value, 'list');
  return value.map((item) => (typeof item === 'string' ? item : wrong(field, item, 'text')));
}

/** A map of texts; undefined where there is none, or an empty one. */
export function textMap(from: Json, field: string): Readonly<Record<string, string>> | undefined {
  const entries = Object.entries(map(from, field));
  if (entries.length === 0) return undefined;
  for (const [key, value] of entries) if (typeof value !== 'string') wrong(`${field}.${key}`, value, 'text');
  return Object.fromEntries(entries) as Record<string, string>;
}

/** Copies those of the fields that are there and of the type. */
export function scalars(
  from: Json,
  type: 'string' | 'number' | 'boolean',
  names: readonly string[],
): Record<string, unknown> {
  const found: Record<string, unknown> = {};
  for (const name of names) {
    const value = from[name] ?? undefined;
    if (value === undefined) continue;
    found[name] = typeof value === type ? value : wrong(name, value, type);
  }
  return found;
}

/** Drops what is undefined, so that equal things are equal as JSON and as types. */
export function defined<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined)) as never;
}
