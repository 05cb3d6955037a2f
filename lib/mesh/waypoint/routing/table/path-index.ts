import type { FullMatch } from '../compile-matches.ts';
import { assertNever } from '../../../../assert-never.ts';
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

/** Entries of one hostname, by path. */
export class PathIndex {
  readonly #exact = new Map<string, Bucket>();
  readonly #prefixes: Node = { children: new Map(), bucket: undefined };
  readonly #byPattern = new Map<string, RegexGroup>();
  /** The longest first. */
  #regexes: RegexGroup[] = [];
  #any: Bucket | undefined;

  add(entry: Entry): void {
    this.#bucketFor(entry).add(entry);
  }

  #bucketFor(entry: Entry): Bucket {
    const { path } = entry.match;
    switch (path.kind) {
      case 'exact': {
        let bucket = this.#exact.get(path.path);
        if (bucket === undefined) this.#exact.set(path.path, (bucket = new Bucket()));
        return bucket;
      }
      case 'prefix': {
        const node = path.prefix.slice(1).split('/').reduce(childOf, this.#prefixes);
        return (node.bucket ??= new Bucket());
      }
      case 'regex': {
        let group = this.#byPattern.get(path.regex.pattern);
        if (group === undefined) {
          group = { regex: path.regex, bucket: new Bucket() };
          this.#byPattern.set(path.regex.pattern, group);
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
    for (const bucket of this.#exact.values()) bucket.seal();
    sealNode(this.#prefixes);
    for (const { bucket } of this.#byPattern.values()) bucket.seal();
    this.#any?.seal();
    this.#regexes = [...this.#byPattern.values()].sort(
      (a, b) => b.regex.pattern.length - a.regex.pattern.length,
    );
  }

  find(view: RequestView): Entry | undefined {
    return (
      this.#exact.get(view.head.path)?.find(view) ??
      this.#findByPrefix(view) ??
      this.#findByRegex(view) ??
      this.#any?.find(view)
    );
  }

  /** Walks down only as far as prefixes are configured, then back up. */
  #findByPrefix(view: RequestView): Entry | undefined {
    const { path } = view.head;
    const buckets: Bucket[] = [];
    let node: Node | undefined = this.#prefixes;
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
    let found: Entry | undefined;
    let length = 0;
    for (const { regex, bucket } of this.#regexes) {
      // Patterns of one length are equal in rank: what decides between their matches is method, headers and so on.
      if (found !== undefined && regex.pattern.length < length) break;
      const fitting = bucket.find(view);
      if (fitting === undefined || !view.test(regex, view.head.path)) continue;
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
