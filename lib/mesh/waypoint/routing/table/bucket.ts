import { compareEntries, firstOf, type Entry } from './entry.ts';
import type { RequestView } from './request-view.ts';

/** Up to so many entries a scan is as quick as an index, and smaller. */
const SCANNED = 4;

type Source = 'header' | 'query' | 'method';

/** A condition that a request can be looked up by: one header, parameter or the method has exactly this value. */
interface Key {
  readonly source: Source;
  readonly name: string;
  readonly value: string;
}

/** Entries by value of one header, of one parameter, or of the method. */
type ByValue = Map<string, Entry[]>;

interface Index {
  readonly header: Map<string, ByValue>;
  readonly query: Map<string, ByValue>;
  /** Only under the name ''. */
  readonly method: Map<string, ByValue>;
  /** Entries without any exact condition. */
  readonly rest: Entry[];
}

/**
 * Entries of one hostname and one path, that differ in method, headers and query. Many of them are indexed by the one
 * exact condition that they share with the fewest others, so that thousands that differ only in a header's value cost one
 * look-up.
 */
export class Bucket {
  readonly #entries: Entry[] = [];
  #index: Index | undefined;
  /** The first entry, if it asks for nothing but the path: then it is the answer, without a further look. */
  #always: Entry | undefined;

  add(entry: Entry): void {
    this.#entries.push(entry);
  }

  /** To be called once, after the last {@link add}. */
  seal(): void {
    this.#entries.sort(compareEntries);
    const [first] = this.#entries;
    if (first !== undefined && asksNothing(first)) this.#always = first;
    else if (this.#entries.length > SCANNED) this.#index = buildIndex(this.#entries);
  }

  find(view: RequestView): Entry | undefined {
    if (this.#always !== undefined) return this.#always;
    const index = this.#index;
    if (index === undefined) return firstFit(this.#entries, view);
    let found = firstFit(index.rest, view);
    const methods = index.method.get('')?.get(view.head.method);
    if (methods !== undefined) found = firstOf(found, firstFit(methods, view));
    if (index.header.size > 0) found = firstOf(found, findByHeader(index.header, view));
    if (index.query.size > 0) found = firstOf(found, findByQuery(index.query, view));
    return found;
  }
}

function asksNothing({ match }: Entry): boolean {
  return match.method === undefined && match.headers.length === 0 && match.query.length === 0;
}

/** The list is sorted, so that the first that fits is the best of it. */
function firstFit(entries: readonly Entry[] | undefined, view: RequestView): Entry | undefined {
  return entries?.find((entry) => view.fits(entry.match));
}

/** Goes through what is fewer: the names that rules ask for, or those that the request has. */
function findByHeader(index: Map<string, ByValue>, view: RequestView): Entry | undefined {
  const { headers } = view.head;
  let found: Entry | undefined;
  const look = (name: string, byValue: ByValue | undefined): void => {
    const value = byValue === undefined ? undefined : view.header(name);
    if (value !== undefined) found = firstOf(found, firstFit(byValue?.get(value), view));
  };
  if (index.size <= 8) {
    for (const [name, byValue] of index) look(name, byValue);
  } else {
    for (const name in headers) if (name !== 'host') look(name, index.get(name));
    look('host', index.get('host'));
  }
  return found;
}

function findByQuery(index: Map<string, ByValue>, view: RequestView): Entry | undefined {
  const { query } = view;
  let found: Entry | undefined;
  if (index.size <= query.size) {
    for (const [name, byValue] of index) {
      const value = query.get(name);
      if (value !== undefined) found = firstOf(found, firstFit(byValue.get(value), view));
    }
  } else {
    for (const [name, value] of query) found = firstOf(found, firstFit(index.get(name)?.get(value), view));
  }
  return found;
}

function keysOf({ match }: Entry): Key[] {
  const keys: Key[] = [];
  for (const { name, exact } of match.headers) {
    if (exact !== undefined) keys.push({ source: 'header', name, value: exact });
  }
  for (const { name, exact } of match.query) {
    if (exact !== undefined) keys.push({ source: 'query', name, value: exact });
  }
  if (match.method !== undefined) keys.push({ source: 'method', name: '', value: match.method });
  return keys;
}

function buildIndex(entries: readonly Entry[]): Index {
  const shared = new Map<string, number>();
  const keyed = entries.map((entry) => ({ entry, keys: keysOf(entry) }));
  for (const { keys } of keyed) {
    for (const key of keys) shared.set(textOf(key), (shared.get(textOf(key)) ?? 0) + 1);
  }
  const index: Index = { header: new Map(), query: new Map(), method: new Map(), rest: [] };
  // In the order of the entries, so that each list is sorted.
  for (const { entry, keys } of keyed) {
    const key = rarest(keys, shared);
    if (key === undefined) index.rest.push(entry);
    else listOf(index[key.source], key).push(entry);
  }
  return index;
}

function rarest(keys: readonly Key[], shared: ReadonlyMap<string, number>): Key | undefined {
  let best: Key | undefined;
  let least = Infinity;
  for (const key of keys) {
    const count = shared.get(textOf(key)) ?? 0;
    if (count < least) [best, least] = [key, count];
  }
  return best;
}

/** A text for the key; names and values of headers hold no NUL, and of a query a clash would only cost time. */
function textOf({ source, name, value }: Key): string {
  return `${source}\0${name}\0${value}`;
}

function listOf(index: Map<string, ByValue>, { name, value }: Key): Entry[] {
  let byValue = index.get(name);
  if (byValue === undefined) index.set(name, (byValue = new Map<string, Entry[]>()));
  let list = byValue.get(value);
  if (list === undefined) byValue.set(value, (list = []));
  return list;
}
