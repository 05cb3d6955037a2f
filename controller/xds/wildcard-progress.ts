import { type FirstPart, RESOURCE_OVERHEAD_BYTES } from './first-state.ts';
import type { TypeSnapshot, VersionedResource } from './snapshot.ts';
import type { Delta } from './type-subscription.ts';

/**
 * How far a client that follows all resources of a type is: what is left of the first state, and what has changed since. Holds
 * nothing of a client that has everything: a controller has hundreds of them, and each has everything.
 */
export class WildcardProgress {
  /** What is left of all that there was at the beginning: from `#at` on. */
  #first: readonly string[];
  #at = 0;
  /** Beside that: names that the client may have another state of, or none; with whether it has one. */
  readonly #changed = new Map<string, boolean>();

  /** @param known name to version of what the client has already */
  constructor(snapshot: TypeSnapshot, known: ReadonlyMap<string, string>) {
    this.#first = snapshot.names;
    for (const name of known.keys()) if (!snapshot.resources.has(name)) this.#changed.set(name, true);
  }

  /** Whether something of the first state is left. */
  get isBeginning(): boolean {
    return this.#at < this.#first.length;
  }

  advance(from: TypeSnapshot, to: TypeSnapshot): void {
    const { changes } = to;
    if (changes?.since === from.serial) {
      for (const name of changes.names) this.#note(name, !changes.added.has(name));
      return;
    }
    for (const [name, resource] of to.resources)
      if (from.resources.get(name) !== resource) this.#note(name, from.resources.has(name));
    for (const name of from.resources.keys()) if (!to.resources.has(name)) this.#note(name, true);
  }

  /** The client asks for it, whether or not it has it. */
  again(name: string): void {
    this.#changed.set(name, true);
  }

  /**
   * What is to be sent next.
   *
   * @param known name to version of what the client has and was not sent by us
   * @param maxBytes ends the list after the resource with which it has more
   */
  next(snapshot: TypeSnapshot, known: ReadonlyMap<string, string>, maxBytes: number): Delta {
    // All who begin with nothing get the same. Whoever wants all of it at once sorts it.
    if (known.size === 0 && this.isBeginning && snapshot.first.names === this.#first && maxBytes < Infinity)
      return snapshot.first.partFrom(this.#at, snapshot.resources);
    const upserts: VersionedResource[] = [];
    let bytes = 0;
    const add = (resource: VersionedResource): boolean => {
      upserts.push(resource);
      bytes += resource.bytes.length + RESOURCE_OVERHEAD_BYTES;
      return bytes > maxBytes;
    };
    for (let at = this.#at; at < this.#first.length; at += 1) {
      const name = this.#first[at] ?? '';
      const resource = snapshot.resources.get(name);
      if (resource === undefined || known.get(name) === resource.version) {
        // What needs nothing is not looked at again.
        if (upserts.length === 0) this.#at = at + 1;
      } else if (add(resource)) return { upserts, removed: [] };
    }
    const removed: string[] = [];
    const sending = new Set(upserts);
    for (const [name, has] of this.#changed) {
      const resource = snapshot.resources.get(name);
      if (resource === undefined) {
        if (has) removed.push(name);
        else this.#changed.delete(name);
      } else if (known.get(name) === resource.version) this.#changed.delete(name);
      else if (!sending.has(resource) && add(resource)) return { upserts, removed: [] };
    }
    return { upserts, removed };
  }

  /** @param known as for {@link next} */
  markSent(delta: Delta | FirstPart, known: ReadonlyMap<string, string>): void {
    const { upserts, removed } = delta;
    if (this.#changed.size > 0) for (const { name } of upserts) this.#changed.delete(name);
    if ('of' in delta && delta.of.names === this.#first) {
      this.#at = delta.to;
      if (!this.isBeginning) this.#first = [];
      return;
    }
    for (const name of removed) this.#changed.delete(name);
    if (this.#first.length === 0) return;
    const sent = new Set(upserts.map(({ name }) => name));
    let passed: string[] = [];
    for (let at = this.#at; at < this.#first.length && sent.size > 0; at += 1) {
      const name = this.#first[at] ?? '';
      if (!sent.delete(name)) {
        passed.push(name);
        continue;
      }
      // What was passed by goes out later: the order was another one, or it needs nothing.
      for (const each of passed) this.#note(each, known.has(each));
      passed = [];
      this.#at = at + 1;
    }
    if (this.#at >= this.#first.length) this.#first = [];
  }

  /** Name to version of what the client has; an empty version where it is an older one. */
  *held(snapshot: TypeSnapshot, known: ReadonlyMap<string, string>): Iterable<[string, string]> {
    const left = new Set(this.#first.slice(this.#at));
    for (const [name, { version }] of snapshot.resources) {
      if (this.#changed.get(name) === true) yield [name, ''];
      else if (!this.#changed.has(name) && (!left.has(name) || known.get(name) === version))
        yield [name, version];
    }
    for (const [name, has] of this.#changed) if (has && !snapshot.resources.has(name)) yield [name, ''];
  }

  #note(name: string, had: boolean): void {
    if (!this.#changed.has(name)) this.#changed.set(name, had);
  }
}
