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
  readonly retryMs: number;
}

export interface NameResolverOptions {
  readonly lookUp: LookUp;
  /** `current` is another one, or `settled` has become true. */
  readonly onChange: () => void;
  readonly log: Logger;
  readonly times?: Partial<ResolverTimes>;
}

const TIMES: ResolverTimes = { leastMs: 5_000, mostMs: 300_000, keepMs: 600_000, retryMs: 5_000 };
/** Of all entries; the rest is not looked up, and said. */
export const MAX_NAMES = 2_000;
const AT_ONCE = 16;

interface Followed {
  timer: NodeJS.Timeout | undefined;
  asked: boolean;
  /** By address: when DNS said it last. */
  readonly seen: Map<string, number>;
  now: readonly string[];
  answeredMs: number | undefined;
  said: string;
}

export class NameResolver {
  readonly #options: NameResolverOptions;
  readonly #times: ResolverTimes;
  readonly #followed = new Map<string, Followed>();
  readonly #waiting: string[] = [];
  #running = 0;
  #wanted: ReadonlySet<string> | undefined;
  #current: ResolvedNames = new Map();
  #settled = false;
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
   * Whether what was wanted first has been asked for once. Until then it is not known what is true, and whoever tells nodes should wait;
   * a name that comes later holds nobody up.
   */
  get settled(): boolean {
    return this.#settled;
  }

  /** Says which names are needed; others are forgotten. The set is not to be changed afterwards. */
  want(names: ReadonlySet<string>): void {
    if (this.#closed || names === this.#wanted) return;
    this.#wanted = names;
    for (const [name, { timer }] of this.#followed)
      if (!names.has(name)) {
        clearTimeout(timer);
        this.#followed.delete(name);
      }
    for (const name of names) {
      if (this.#followed.has(name)) continue;
      if (this.#followed.size >= MAX_NAMES) {
        if (!this.#said)
          this.#options.log.error({ names: names.size, allowed: MAX_NAMES }, 'more names than are looked up');
        this.#said = true;
        break;
      }
      this.#followed.set(name, {
        ...{ timer: undefined, asked: false, seen: new Map(), now: [], answeredMs: undefined, said: '' },
      });
      this.#ask(name);
    }
    this.#rebuild();
    this.#settle();
  }

  close(): void {
    this.#closed = true;
    for (const { timer } of this.#followed.values()) clearTimeout(timer);
    this.#followed.clear();
    this.#waiting.length = 0;
  }

  #ask(name: string): void {
    this.#waiting.push(name);
    this.#next();
  }

  #next(): void {
    while (this.#running < AT_ONCE) {
      const name = this.#waiting.shift();
      if (name === undefined) return;
      const followed = this.#followed.get(name);
      if (followed === undefined) continue;
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
    let waitMs = retryMs;
    try {
      const { addresses, ttlMs } = await lookUp(name);
      const now = performance.now();
      for (const address of addresses) followed.seen.set(address, now);
      followed.now = addresses;
      followed.answeredMs = now;
      followed.said = '';
      waitMs = Math.min(mostMs, Math.max(leastMs, ttlMs));
    } catch (error) {
      const reason = errorText(error);
      if (reason !== followed.said) log.warn({ name, reason }, 'a name cannot be looked up');
      followed.said = reason;
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
    followed.timer = setTimeout(() => this.#ask(name), waitMs).unref();
    const changed = this.#rebuild();
    if (!this.#settle() && changed) this.#options.onChange();
  }

  /** @returns whether it is another */
  #rebuild(): boolean {
    const next = new Map<string, ResolvedName>();
    for (const [name, { now, seen, answeredMs }] of this.#followed)
      if (answeredMs !== undefined) next.set(name, { now, lately: [...seen.keys()].sort() });
    if (isDeepStrictEqual(next, this.#current)) return false;
    this.#current = next;
    return true;
  }

  /** @returns whether it has told so just now */
  #settle(): boolean {
    if (this.#settled || [...this.#followed.values()].some(({ asked }) => !asked)) return false;
    this.#settled = true;
    // Whoever waited compiles again; not from within his own call.
    setImmediate(() => {
      if (!this.#closed) this.#options.onChange();
    });
    return true;
  }
}
