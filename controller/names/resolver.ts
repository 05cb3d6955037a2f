/** The addresses of names that ServiceEntries lead to, kept up to date (decision 0175). */
import { isDeepStrictEqual } from 'node:util';
import type { Logger } from 'pino';
import { errorText } from '../../lib/loam-error.ts';
import type { LookUp } from './look-up.ts';

/** What is known of a name. */
export interface ResolvedName {
  /** As DNS said last. */
  readonly now: readonly string[];
  /** Those, and what it said before, for some minutes: a client may have asked then. */
  readonly lately: readonly string[];
}

/** By name; a name without an entry was never answered for. */
export type ResolvedNames = ReadonlyMap<string, ResolvedName>;

export interface ResolverTimes {
  /** Between two look-ups of a name, whatever its records say. */
  readonly leastMs: number;
  readonly mostMs: number;
  /** For how long an address counts that DNS does not say any more, or cannot be asked for. */
  readonly keepMs: number;
  /** After a failure, doubled with each in a row. */
  readonly retryMs: number;
  /** Whoever waits for the first answers does not wait longer. */
  readonly settleMs: number;
  /** Between two tidings: each is a compilation of the whole. */
  readonly tellMs: number;
}

export interface NameResolverOptions {
  readonly lookUp: LookUp;
  /** `current` is another one, or `settled` has become true. */
  readonly onChange: () => void;
  readonly log: Logger;
  readonly times?: Partial<ResolverTimes>;
}

const TIMES: ResolverTimes = {
  ...{ leastMs: 5_000, mostMs: 300_000, keepMs: 600_000, retryMs: 5_000 },
  ...{ settleMs: 30_000, tellMs: 2_000 },
};
/** Of all entries; the rest is not looked up, and said. */
export const MAX_NAMES = 2_000;
/** Of one name, the latest: who answers for it may say others each time, and each is told to every node. */
export const MAX_LATELY = 256;
/** Names that nobody answers for keep their places for seconds: they must not hold up the others. */
const AT_ONCE = 64;
const MAX_DOUBLINGS = 4;

interface Followed {
  timer: NodeJS.Timeout | undefined;
  asked: boolean;
  /** In a row. */
  failures: number;
  /** By address: when DNS said it last; the latest at the end. */
  readonly seen: Map<string, number>;
  now: readonly string[];
  answeredMs: number | undefined;
  said: string;
}

export class NameResolver {
  readonly #options: NameResolverOptions;
  readonly #times: ResolverTimes;
  readonly #followed = new Map<string, Followed>();
  readonly #waiting: { readonly name: string; readonly followed: Followed }[] = [];
  #running = 0;
  #wanted: ReadonlySet<string> | undefined;
  /** As of now; of one name at a time something changes. */
  readonly #resolved = new Map<string, ResolvedName>();
  /** As last published. */
  #current: ResolvedNames = new Map();
  #isDirty = false;
  #telling: NodeJS.Timeout | undefined;
  #toldMs = -Infinity;
  #settled = false;
  #settling: NodeJS.Timeout | undefined;
  #closed = false;
  #said = false;

  constructor(options: NameResolverOptions) {
    this.#options = options;
    this.#times = { ...TIMES, ...options.times };
  }

  /** Another map whenever something in it is another. */
  get current(): ResolvedNames {
    return this.#current;
  }

  /**
   * Whether what was wanted first has been asked for once, or long enough. Until then it is not known what is true, and whoever tells nodes
   * should wait; a name that comes later holds nobody up.
   */
  get settled(): boolean {
    return this.#settled;
  }

  /** Says which names are needed, those first that count where there are too many; others are forgotten. The set is not to be changed afterwards. */
  want(names: ReadonlySet<string>): void {
    if (this.#closed || names === this.#wanted) return;
    this.#wanted = names;
    const chosen = new Set([...names].slice(0, MAX_NAMES));
    if (names.size > MAX_NAMES && !this.#said)
      this.#options.log.error({ names: names.size, allowed: MAX_NAMES }, 'more names than are looked up');
    this.#said = names.size > MAX_NAMES;
    for (const [name, { timer }] of this.#followed)
      if (!chosen.has(name)) {
        clearTimeout(timer);
        this.#followed.delete(name);
        if (this.#resolved.delete(name)) this.#isDirty = true;
      }
    for (const name of chosen) {
      if (this.#followed.has(name)) continue;
      const followed: Followed = {
        ...{ timer: undefined, asked: false, failures: 0, seen: new Map(), now: [], said: '' },
        answeredMs: undefined,
      };
      this.#followed.set(name, followed);
      this.#ask(name, followed);
    }
    if (!this.#settled) this.#settling ??= setTimeout(() => this.#settle(true), this.#times.settleMs).unref();
    this.#publish();
    this.#settle();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#settling);
    clearTimeout(this.#telling);
    for (const { timer } of this.#followed.values()) clearTimeout(timer);
    this.#followed.clear();
    this.#waiting.length = 0;
  }

  #ask(name: string, followed: Followed): void {
    this.#waiting.push({ name, followed });
    this.#next();
  }

  #next(): void {
    while (this.#running < AT_ONCE) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      const { name, followed } = next;
      // Forgotten meanwhile, and perhaps wanted anew: then it waits once more.
      if (this.#followed.get(name) !== followed) continue;
      this.#running += 1;
      void this.#lookUp(name, followed).finally(() => {
        this.#running -= 1;
        this.#next();
      });
    }
  }

  async #lookUp(name: string, followed: Followed): Promise<void> {
    const { lookUp, log } = this.#options;
    const { leastMs, mostMs, keepMs, retryMs } = this.#times;
    let waitMs = retryMs * 2 ** Math.min(followed.failures, MAX_DOUBLINGS);
    try {
      const { addresses, ttlMs } = await lookUp(name);
      const now = performance.now();
      remember(followed.seen, addresses, now);
      followed.failures = 0;
      followed.now = addresses;
      followed.answeredMs = now;
      followed.said = '';
      waitMs = Math.min(mostMs, Math.max(leastMs, ttlMs));
    } catch (error) {
      const reason = errorText(error);
      if (reason !== followed.said) log.warn({ name, reason }, 'a name cannot be looked up');
      followed.said = reason;
      followed.failures += 1;
    }
    followed.asked = true;
    if (this.#closed || this.#followed.get(name) !== followed) return;
    const oldest = performance.now() - keepMs;
    for (const [address, atMs] of followed.seen) if (atMs < oldest) followed.seen.delete(address);
    // What was true stays for a while where nobody can be asked, and then is not known any more.
    if (followed.answeredMs !== undefined && followed.answeredMs < oldest) {
      followed.answeredMs = undefined;
      followed.now = [];
    }
    followed.timer = setTimeout(() => this.#ask(name, followed), waitMs).unref();
    if (this.#take(name, followed)) this.#isDirty = true;
    this.#settle();
    if (this.#settled && this.#isDirty) this.#tell();
  }

  /** @returns whether it is another */
  #take(name: string, { now, seen, answeredMs }: Followed): boolean {
    if (answeredMs === undefined) return this.#resolved.delete(name);
    const next: ResolvedName = { now, lately: [...seen.keys()].sort() };
    if (isDeepStrictEqual(next, this.#resolved.get(name))) return false;
    this.#resolved.set(name, next);
    return true;
  }

  #publish(): void {
    if (this.#isDirty) this.#current = new Map(this.#resolved);
    this.#isDirty = false;
  }

  /** Soon, and with all that changes until then. */
  #tell(): void {
    const waitMs = Math.max(0, this.#toldMs + this.#times.tellMs - performance.now());
    this.#telling ??= setTimeout(() => {
      this.#telling = undefined;
      this.#toldMs = performance.now();
      this.#publish();
      this.#options.onChange();
    }, waitMs).unref();
  }

  #settle(isLate = false): void {
    if (this.#settled || (!isLate && [...this.#followed.values()].some(({ asked }) => !asked))) return;
    this.#settled = true;
    clearTimeout(this.#settling);
    this.#publish();
    // Whoever waited compiles again; not from within his own call.
    setImmediate(() => {
      if (!this.#closed) this.#options.onChange();
    });
  }
}

/** Keeps the latest. */
function remember(seen: Map<string, number>, addresses: readonly string[], now: number): void {
  for (const address of addresses) {
    seen.delete(address);
    seen.set(address, now);
  }
  for (const address of seen.keys()) {
    if (seen.size <= MAX_LATELY) return;
    seen.delete(address);
  }
}
