import { hash, randomBytes } from 'node:crypto';
import type { BucketRate, RuleBuckets } from './local-buckets.ts';

/** Places of a set: where a key may have its bucket. */
const WAYS = 8;
const SETS = 8_192;
const SALT_BYTES = 16;

/** Lock of each set, then tag and time of each place, then the salt. */
const TAGS_AT = SETS * Int32Array.BYTES_PER_ELEMENT;
const TIMES_AT = TAGS_AT + SETS * WAYS * Float64Array.BYTES_PER_ELEMENT;
const SALT_AT = TIMES_AT + SETS * WAYS * Float64Array.BYTES_PER_ELEMENT;

/** After so many looks the holder of a lock is taken for dead: a thread can be ended anywhere. */
const MOST_SPINS = 100_000;

/** Rounding of times in the order of the machine's uptime. */
const EPSILON_MS = 1e-3;

/** The clock that all threads of a process share: milliseconds, forward only. */
export const SHARED_NOW = (): number => Number(process.hrtime.bigint()) / 1e6;

/**
 * Token buckets that all threads of a process share, so that a limit is the process's and not that of each worker. A fixed
 * table in shared memory: each key has eight places where its bucket may be, and takes one whose bucket is full, for a full
 * bucket can be forgotten.
 *
 * A bucket is one number, the time at which it is full again (the generic cell rate algorithm, ITU-T I.371).
 */
export class SharedBuckets {
  readonly #locks: Int32Array;
  /** Digest of rule and key; 0: never used. */
  readonly #tags: Float64Array;
  readonly #fullAt: Float64Array;
  readonly #salt: string;

  /** @param buffer made by {@link SharedBuckets.allocate}, the same in every thread */
  constructor(buffer: SharedArrayBuffer) {
    this.#locks = new Int32Array(buffer, 0, SETS);
    this.#tags = new Float64Array(buffer, TAGS_AT, SETS * WAYS);
    this.#fullAt = new Float64Array(buffer, TIMES_AT, SETS * WAYS);
    this.#salt = Buffer.from(new Uint8Array(buffer, SALT_AT, SALT_BYTES)).toString('base64');
  }

  /** About 1 MiB. */
  static allocate(): SharedArrayBuffer {
    const buffer = new SharedArrayBuffer(SALT_AT + SALT_BYTES);
    // A salt, so that nobody can choose keys that crowd one set.
    new Uint8Array(buffer, SALT_AT, SALT_BYTES).set(randomBytes(SALT_BYTES));
    return buffer;
  }

  /** @param scope names the rule; equal ones share their buckets */
  ofRule(scope: string, rate: BucketRate): RuleBuckets {
    return {
      take: (key, now) =>
        this.#take(`${scope}\0${key}`, rate, now) ??
        this.#take(`${scope}\0overflow\0`, rate, now) ??
        rate.per,
      giveBack: (key, now) => {
        if (!this.#giveBack(`${scope}\0${key}`, rate, now)) this.#giveBack(`${scope}\0overflow\0`, rate, now);
      },
    };
  }

  /** Undefined when there is no place for it: none of its set is full. */
  #take(name: string, { requests, per, burst }: BucketRate, now: number): number | undefined {
    const { set, tag } = this.#digest(name);
    return this.#locked(set, () => {
      const place = this.#find(set, tag) ?? this.#claim(set, tag, now);
      if (place === undefined) return undefined;
      const fullAt = Math.max(now, this.#fullAt[place] ?? 0);
      const each = per / requests;
      const waitMs = fullAt - now - (burst - 1) * each;
      if (waitMs > EPSILON_MS) return waitMs;
      this.#fullAt[place] = fullAt + each;
      return 0;
    });
  }

  #giveBack(name: string, { requests, per }: BucketRate, now: number): boolean {
    const { set, tag } = this.#digest(name);
    return this.#locked(set, () => {
      const place = this.#find(set, tag);
      if (place === undefined) return false;
      this.#fullAt[place] = Math.max(now, (this.#fullAt[place] ?? 0) - per / requests);
      return true;
    });
  }

  #find(set: number, tag: number): number | undefined {
    for (let place = set * WAYS; place < (set + 1) * WAYS; place++) {
      if (this.#tags[place] === tag) return place;
    }
    return undefined;
  }

  #claim(set: number, tag: number, now: number): number | undefined {
    for (let place = set * WAYS; place < (set + 1) * WAYS; place++) {
      if (this.#tags[place] !== 0 && (this.#fullAt[place] ?? 0) > now) continue;
      this.#tags[place] = tag;
      this.#fullAt[place] = now;
      return place;
    }
    return undefined;
  }

  #locked<T>(set: number, run: () => T): T {
    for (let spins = 0; spins < MOST_SPINS && Atomics.compareExchange(this.#locks, set, 0, 1) !== 0; spins++);
    try {
      return run();
    } finally {
      Atomics.store(this.#locks, set, 0);
    }
  }

  #digest(name: string): { readonly set: number; readonly tag: number } {
    const digest = hash('sha256', this.#salt + name, 'buffer');
    // 48 bits, never 0.
    return { set: digest.readUInt32LE(0) % SETS, tag: digest.readUIntLE(4, 6) + 1 };
  }
}
