/** Tells in the log what `loam off` has switched off, whoever did it and whether or not this agent was there. */
import type { Log } from './log.ts';
import { podName, type PodRecord } from './pod-record.ts';
import type { RedirectionPort } from './redirection-port.ts';

/** Said again so often while something is off: it is not to be forgotten. */
const REMIND_MS = 10 * 60_000;
const WARNING = 'plain networking, no mTLS and no policy, until `loam on`';

export class OffWatch {
  readonly #redirection: Pick<RedirectionPort, 'switchedOff'>;
  readonly #log: Log;
  /** What was told, and when. */
  readonly #told = new Map<bigint | 'node', number>();

  constructor(redirection: Pick<RedirectionPort, 'switchedOff'>, log: Log) {
    this.#redirection = redirection;
    this.#log = log;
  }

  /** Compares the kernel with what was told. @param now ms since the epoch */
  look(records: Iterable<PodRecord>, now: number): void {
    const { node, pods } = this.#redirection.switchedOff();
    const off = new Map<bigint | 'node', Date>(pods);
    if (node !== undefined) off.set('node', node);
    for (const [key, since] of off) {
      const told = this.#told.get(key);
      if (told !== undefined && now - told < REMIND_MS) continue;
      this.#told.set(key, now);
      this.#log.warn(
        { ...subject(key, records), off: true, offSince: since.toISOString() },
        `switched off: ${WARNING}`,
      );
    }
    for (const key of this.#told.keys()) {
      if (off.has(key)) continue;
      this.#told.delete(key);
      this.#log.warn({ ...subject(key, records), off: false }, 'switched on again, or gone');
    }
  }
}

function subject(key: bigint | 'node', records: Iterable<PodRecord>): Record<string, string> {
  if (key === 'node') return { what: 'the whole node' };
  for (const { netns, spec } of records)
    if (netns?.cookie === key) return { what: 'pod', pod: podName(spec) };
  return { what: 'pod', cookie: String(key) };
}
