/** Takes away what the kernel has of pods that nobody wants in the mesh. */
import { errorText } from '../lib/loam-error.ts';
import type { Log } from './log.ts';
import type { PodRecord } from './pod-record.ts';
import type { PodSource } from './pod-source.ts';
import type { KernelPod, KernelProblem, RedirectionPort } from './redirection-port.ts';

export interface SweeperOptions {
  readonly source: PodSource;
  readonly redirection: RedirectionPort;
  readonly log: Log;
}

export class Sweeper {
  readonly #options: SweeperOptions;
  /** Namespaces that this process had enrolled and let go of, and what becomes of their routes. */
  readonly #released = new Map<bigint, 'go' | 'stay'>();

  constructor(options: SweeperOptions) {
    this.#options = options;
  }

  /** This process has let go of a namespace: there is no doubt that it is not wanted. */
  released(cookie: bigint, routes: 'go' | 'stay' = 'go'): void {
    this.#released.set(cookie, routes);
  }

  /**
   * Switches off whatever the kernel redirects and nobody wants.
   *
   * @param kernel the pods that it redirects, without those that were switched off afterwards
   */
  sweep(records: Iterable<PodRecord>, kernel: Map<bigint, KernelPod>, problems: string[]): void {
    const { source, redirection, log } = this.#options;
    const wanted = new Set<bigint>();
    const unresolved = new Set<string>();
    for (const { netns, spec } of records) {
      if (netns !== undefined) wanted.add(netns.cookie);
      else spec.ips.forEach((ip) => unresolved.add(ip));
    }
    for (const [cookie, pod] of kernel) {
      if (wanted.has(cookie)) {
        this.#released.delete(cookie);
        continue;
      }
      // It may be a wanted pod whose namespace cannot be opened just now, or one whose entry in the source cannot be
      // read, enrolled by an earlier process of ours: to be kept while anything may live in it.
      const doubt = pod.ips.some((ip) => unresolved.has(ip)) || !source.state.complete;
      if (doubt && pod.steering !== 'dead' && !this.#released.has(cookie)) continue;
      try {
        redirection.unenrol(cookie, this.#released.get(cookie));
        kernel.delete(cookie);
        this.#released.delete(cookie);
        log.info({ cookie: String(cookie), ips: pod.ips }, 'switched redirection off');
      } catch (error) {
        problems.push(
          `cannot switch redirection of ${pod.ips.join(', ')} (netns cookie ${cookie}) off: ${errorText(error)}`,
        );
      }
    }
  }

  /** Removes what is in the kernel of namespaces that are neither enrolled nor wanted. */
  removeStrays(
    records: Iterable<PodRecord>,
    found: readonly KernelProblem[],
    kernel: ReadonlyMap<bigint, KernelPod>,
    problems: string[],
  ): void {
    const own = new Set([...records].map(({ netns }) => netns?.cookie));
    for (const cookie of new Set(found.map((problem) => problem.cookie))) {
      if (cookie === undefined || own.has(cookie) || kernel.has(cookie)) continue;
      try {
        this.#options.redirection.unenrol(cookie);
      } catch (error) {
        problems.push(`cannot remove what is left of netns cookie ${cookie}: ${errorText(error)}`);
      }
    }
  }
}
