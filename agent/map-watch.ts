/** Tells in the log, by the map's name, when a map of the kernel part fills up and what was refused for it. */
import type { Log } from './log.ts';
import type { RedirectionPort } from './redirection-port.ts';

/** A map that is as full as this is told of, once, until it has emptied to the second. */
const NEARLY_FULL = 0.9;
const EMPTIED = 0.8;
/** Refusals that go on are told so often. */
const REPEAT_MS = 60_000;

/** Counters of refusals (lib/linux/bpf/layout.ts), with the map that would have had to give room. */
const REFUSALS: Readonly<Record<string, { readonly map: string; readonly message: string }>> = {
  recordsFull: { map: 'records', message: 'connections were refused: the map is full' },
  recordCap: {
    map: 'records',
    message: 'connections were refused: their pod has as many under way as it may',
  },
  refusedCap: {
    map: 'records',
    message: 'connections were refused: their pod has as many under way as it may',
  },
  refusedStorage: {
    map: 'dialled',
    message: 'connections were refused: no memory to write down their destination',
  },
  consumeStorageFailed: {
    map: 'original_dst, true_peer',
    message: 'connections were accepted whose destination or client could not be written down',
  },
  refusedEntry: {
    map: 'pods, pod_uses',
    message: 'connections were refused: the entry of their pod is gone',
  },
};

export class MapWatch {
  readonly #redirection: Pick<RedirectionPort, 'fill' | 'stats'>;
  readonly #log: Log;
  readonly #full = new Set<string>();
  /** The count of each refusal that was told last, and when. */
  readonly #told = new Map<string, { count: number; at: number }>();

  constructor(redirection: Pick<RedirectionPort, 'fill' | 'stats'>, log: Log) {
    this.#redirection = redirection;
    this.#log = log;
  }

  /** Compares the kernel with what was told. @param now ms since the epoch */
  look(now: number): void {
    for (const [map, { entries, capacity }] of Object.entries(this.#redirection.fill())) {
      const fill = entries / capacity;
      if (fill >= NEARLY_FULL && !this.#full.has(map)) {
        this.#full.add(map);
        this.#log.warn({ map, entries, capacity }, 'a map of the kernel part is nearly full');
      } else if (fill < EMPTIED && this.#full.delete(map)) {
        this.#log.info({ map, entries, capacity }, 'a map of the kernel part has room again');
      }
    }
    const counters = this.#redirection.stats();
    for (const [counter, { map, message }] of Object.entries(REFUSALS)) {
      const count = counters[counter] ?? 0;
      // What an earlier agent had seen is not told again.
      const told = this.#told.get(counter) ?? { count, at: -REPEAT_MS };
      if (!this.#told.has(counter)) this.#told.set(counter, told);
      if (count <= told.count || now - told.at < REPEAT_MS) continue;
      this.#told.set(counter, { count, at: now });
      this.#log.error({ map, counter, refused: count - told.count, inAll: count }, message);
    }
  }
}
