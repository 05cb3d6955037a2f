import { setTimeout as sleep } from 'node:timers/promises';
import { errorText } from '../../lib/loam-error.ts';
import type { LogFile } from './log-file.ts';
import { DRAIN_MS } from './programs.ts';
import type { Waypoint } from './waypoint.ts';

/** How long one that is removed may serve what is open; then it cuts that, by a second SIGTERM. */
const REMOVAL_DRAIN_MS = 5_000;
/** The same for one that was replaced. */
const REPLACED_DRAIN_MS = DRAIN_MS + 1_000;
/** What it may take beyond that. */
const CUT_MS = 1_000;
/** When the mesh goes down: its pods are gone then, so that it has nothing left to serve. */
export const DOWN_GRACE_MS = 2_000;
/** In which everybody has heard that a former one is not to be dialled any more. As a preStop hook's sleep in Kubernetes. */
const LEAVING_MS = 3_000;

interface Ending {
  readonly waypoint: Waypoint;
  readonly ended: Promise<void>;
  readonly replaced: boolean;
}

export interface EndingOptions {
  readonly log: LogFile;
  /** Takes away what an instance had, its process being gone. */
  readonly release: (waypoint: Waypoint) => Promise<void>;
}

/** Instances of waypoints on their way out: nobody is sent to them any more. */
export class EndingWaypoints {
  readonly #options: EndingOptions;
  /** By the name of their network namespace: it is free for the next one afterwards. */
  readonly #ending = new Map<string, Ending>();
  readonly #stopping = new AbortController();

  constructor(options: EndingOptions) {
    this.#options = options;
  }

  /** Those that were replaced and still serve what was open then. */
  get replaced(): readonly Waypoint[] {
    return [...this.#ending.values()].flatMap(({ waypoint, replaced }) => (replaced ? [waypoint] : []));
  }

  /** Settles when a namespace is nobody's any more; undefined: it is free, or is of one that serves. */
  untilFree(netns: string): Promise<void> | undefined {
    return this.#ending.get(netns)?.ended;
  }

  /** Ends an instance. Never rejects. */
  end(waypoint: Waypoint, why: 'removed' | 'replaced'): Promise<void> {
    const { log, release } = this.#options;
    const ended = this.#endProcess(waypoint, why)
      .then(() => release(waypoint))
      // What is left over is found by its name when the mesh goes down.
      .catch((error: unknown) => log.line(`waypoint ${waypoint.gateway}: ${errorText(error)}`))
      .then(() => {
        this.#ending.delete(waypoint.netns);
      });
    this.#ending.set(waypoint.netns, { waypoint, ended, replaced: why === 'replaced' });
    return ended;
  }

  /** Cuts what they still serve. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    const ending = [...this.#ending.values()];
    await Promise.all(ending.map(({ waypoint }) => waypoint.stop(DOWN_GRACE_MS)));
    await Promise.all(ending.map(({ ended }) => ended));
  }

  async #endProcess(waypoint: Waypoint, why: 'removed' | 'replaced'): Promise<void> {
    const { signal } = this.#stopping;
    if (why === 'replaced') await sleep(LEAVING_MS, undefined, { signal }).catch(() => undefined);
    const drainMs = why === 'replaced' ? REPLACED_DRAIN_MS : REMOVAL_DRAIN_MS;
    await (signal.aborted ? waypoint.stop(DOWN_GRACE_MS) : waypoint.stop(drainMs + CUT_MS, drainMs));
  }
}
