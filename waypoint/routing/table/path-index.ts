import type { FullMatch } from '../compile-matches.ts';
import { assertNever } from '../../../lib/assert-never.ts';
import { Bucket } from './bucket.ts';
import { firstOf, type Entry } from './entry.ts';
import type { RequestView } from './request-view.ts';

/** A path element of the prefixes; the path to it is the prefix. */
interface Node {
  readonly children: Map<string, Node>;
  bucket: Bucket | undefined;
}

interface RegexGroup {
  readonly regex: FullMatch;
  readonly bucket: Bucket;
}

/** Entries of one hostname, by path. Where hosts come by thousands, each has few paths: what it lacks costs nothing. */
export class PathIndex {
  #exact: Map<string, Bucket> | undefined;
  #prefixes: Node | undefined;
  /** By pattern; after {@link seal}, the longest first. */
  #regexes: Map<string, RegexGroup> | undefined;
  #any: Bucket | undefined;

  add(entry: Entry): void {
    this.#bucketFor(entry).add(entry);
  }

  #bucketFor(entry: Entry): Bucket {
    const { path } = entry.match;
    switch (path.kind) {
      case 'exact': {
        this.#exact ??= new Map<string, Bucket>();
        let bucket = this.#exact.get(path.path);
        if (bucket === undefined) this.#exact.set(path.path, (bucket = new Bucket()));
        return bucket;
      }
      case 'prefix': {
        this.#prefixes ??= { children: new Map(), bucket: undefined };
        const node = path.prefix.slice(1).split('/').reduce(childOf, this.#prefixes);
        return (node.bucket ??= new Bucket());
      }
      case 'regex': {
        this.#regexes ??= new Map<string, RegexGroup>();
        let group = this.#regexes.get(path.regex.pattern);
        if (group === undefined) {
          group = { regex: path.regex, bucket: new Bucket() };
          this.#regexes.set(path.regex.pattern, group);
        }
        return group.bucket;
      }
      case 'any':
        return (this.#any ??= new Bucket());
      default:
        return assertNever(path, 'path match');
    }
  }

  /** To be called once, after the last {@link add}. */
  seal(): void {
    this.#any?.seal();
    for (const bucket of this.#exact?.values() ?? []) bucket.seal();
    if (this.#prefixes !== undefined) sealNode(this.#prefixes);
    if (this.#regexes === undefined) return;
    for (const { bucket } of this.#regexes.values()) bucket.seal();
    this.#regexes = new Map([...this.#regexes].sort(([a], [b]) => b.length - a.length));
  }

  find(view: RequestView): Entry | undefined {
    return (
      this.#exact?.get(view.head.path)?.find(view) ??
      this.#findByPrefix(view) ??
      this.#findByRegex(view) ??
      this.#any?.find(view)
    );
  }

  /** Walks down only as far as prefixes are configured, then back up. */
  #findByPrefix(view: RequestView): Entry | undefined {
    let node = this.#prefixes;
    if (node === undefined) return undefined;
    const { path } = view.head;
    const buckets: Bucket[] = [];
    let from = 1;
    while (node.children.size > 0 && from <= path.length) {
      const slash = path.indexOf('/', from);
      const end = slash === -1 ? path.length : slash;
      node = node.children.get(path.slice(from, end));
      if (node === undefined) break;
      if (node.bucket !== undefined) buckets.push(node.bucket);
      from = end + 1;
    }
    for (let i = buckets.length - 1; i >= 0; i -= 1) {
      const found = buckets[i]?.find(view);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  #findByRegex(view: RequestView): Entry | undefined {
    if (this.#regexes === undefined) return undefined;
    let found: Entry | undefined;
    let length = 0;
    for (const { regex, bucket } of this.#regexes.values()) {
      // Patterns of one length are equal in rank: what decides between their matches is method, headers and so on.
      if (found !== undefined && regex.pattern.length < length) break;
      const fitting = bucket.find(view);
      if (fitting === undefined || !regex.test(view.head.path)) continue;
      found = firstOf(found, fitting);
      length = regex.pattern.length;
    }
    return found;
  }
}

function childOf(node: Node, element: string): Node {
  let child = node.children.get(element);
  if (child === undefined) node.children.set(element, (child = { children: new Map(), bucket: undefined }));
  return child;
}

function sealNode(node: Node): void {
  node.bucket?.seal();
  for (const child of node.children.values()) sealNode(child);
}
