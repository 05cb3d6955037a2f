/** What the maps say of each enrolled pod: its entry, the mark beside it that outlives it, and its use. */
import type { InstanceMaps } from './instance-maps.ts';
import { buffer, cookieKey, type PodEntry, type PodUse } from './layout.ts';

const MARKS = ['pods', 'enrolled', 'pod_uses'] as const;

/** See the top of the file. Nothing is remembered here. */
export class PodEntries {
  readonly #maps: InstanceMaps;

  constructor(maps: InstanceMaps) {
    this.#maps = maps;
  }

  /** The pods that are enrolled, also those that have lost their entry. */
  cookies(): bigint[] {
    const keys = (['pods', 'enrolled'] as const).flatMap((name) => this.#maps.map(name).keys());
    return [...new Set(keys.map((key) => key.readBigUInt64LE(0)))];
  }

  get(cookie: bigint): PodEntry | undefined {
    const value = this.#maps.map('pods').get(cookieKey(cookie));
    return value && this.#maps.layout.decodePod(value);
  }

  /** The generation of an enrolled pod, also of one that has lost its entry; undefined: it is not enrolled. */
  generation(cookie: bigint): bigint | undefined {
    return (
      this.get(cookie)?.generation ?? this.#maps.map('enrolled').get(cookieKey(cookie))?.readBigUInt64LE(0)
    );
  }

  /** Makes sure that a pod's use is counted: of one whose count was lost, with what it has under way. */
  addUse(cookie: bigint): void {
    if (this.#maps.map('pod_uses').get(cookieKey(cookie)) !== undefined) return;
    const outstanding: number[] = [];
    // Those that a version before wrote are not counted.
    const records = this.#maps.map('records');
    for (const key of records.keys()) {
      const record = key.readBigUInt64LE(0) === cookie ? records.get(key) : undefined;
      if (record === undefined) continue;
      const kind = this.#maps.layout.kindOfRecord(record);
      outstanding[kind] = (outstanding[kind] ?? 0) + 1;
    }
    this.#maps.map('pod_uses').add(cookieKey(cookie), this.#maps.layout.encodePodUse(outstanding));
  }

  /** Redirection is on from here. The mark comes last: it means that the entry was there. */
  set(cookie: bigint, entry: PodEntry): void {
    this.#maps.map('pods').set(cookieKey(cookie), this.#maps.layout.encodePod(entry));
    this.mark(cookie, entry);
  }

  /** Says beside the entry that there is one. */
  mark(cookie: bigint, entry: PodEntry): void {
    const generation = buffer(8);
    generation.writeBigUInt64LE(entry.generation, 0);
    this.#maps.map('enrolled').set(cookieKey(cookie), generation);
  }

  /** Redirection is off from here. The mark goes first: without the entry it would have all refused. */
  delete(cookie: bigint): void {
    this.#maps.map('enrolled').delete(cookieKey(cookie));
    this.#maps.map('pods').delete(cookieKey(cookie));
  }

  use(cookie: bigint): PodUse {
    const uses = this.#maps.map('pod_uses');
    return this.#maps.layout.decodePodUse(uses.get(cookieKey(cookie)) ?? uses.zero());
  }

  /** The maps in which an enrolled pod should be and is not. */
  lacks(cookie: bigint): (typeof MARKS)[number][] {
    return MARKS.filter((name) => this.#maps.map(name).get(cookieKey(cookie)) === undefined);
  }
}
