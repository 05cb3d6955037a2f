/** Lets a pod's containers be made once the kernel redirects the pod, and not before: fail closed. */
import { statSync } from 'node:fs';
import { sameNetns, type NetnsInode } from '../../lib/linux/netns.ts';
import { AgentError } from '../agent-error.ts';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import type { PodRecord } from '../pod-record.ts';
import type { KubernetesPodSource } from './kubernetes-pod-source.ts';
import type { HeldPod } from './nri/plugin.ts';

/** Between looks at what has become of a pod that is held. */
const LOOK_MS = 5;

export interface PodGateOptions {
  readonly source: Pick<KubernetesPodSource, 'membership'>;
  /** The pods that belong in the mesh, by the API's uid. */
  readonly records: () => ReadonlyMap<string, PodRecord>;
  readonly clock: Clock;
  readonly log: Log;
  /** A pod may not start; the reason is for the person who made it. */
  readonly onRefused: (pod: HeldPod, reason: string) => void;
  /** For tests. */
  readonly netnsOf?: (pid: number) => NetnsInode | undefined;
}

/** How many pods were held for how long. */
export interface GateCounts {
  readonly passed: number;
  readonly refused: number;
  /** Of those that passed, altogether, in milliseconds. */
  readonly heldMs: number;
}

export class PodGate {
  readonly #options: PodGateOptions;
  readonly #netnsOf: (pid: number) => NetnsInode | undefined;
  #counts = { passed: 0, refused: 0, heldMs: 0 };

  constructor(options: PodGateOptions) {
    this.#options = options;
    this.#netnsOf = options.netnsOf ?? netnsOfProcess;
  }

  get counts(): GateCounts {
    return this.#counts;
  }

  /**
   * Resolves when a container of the pod may be made: at once for a pod that is not in the mesh.
   *
   * @throws AgentError NOT_ENROLLED with the reason, when it may not within the time
   */
  async hold(pod: HeldPod, atMostMs: number): Promise<void> {
    const { clock, log, onRefused } = this.#options;
    const began = clock.now();
    for (;;) {
      const why = this.#whyNot(pod);
      const heldMs = clock.now() - began;
      if (why === undefined) {
        this.#counts.passed += 1;
        this.#counts.heldMs += heldMs;
        log.debug({ pod: `${pod.namespace}/${pod.name}`, heldMs }, 'a container may be made');
        return;
      }
      if (heldMs >= atMostMs) {
        this.#counts.refused += 1;
        const reason = `Loam holds the pod until it is in the mesh: ${why}`;
        log.warn({ pod: `${pod.namespace}/${pod.name}`, reason: why }, 'a pod may not start');
        onRefused(pod, reason);
        throw new AgentError('NOT_ENROLLED', reason);
      }
      await new Promise<void>((resolve) => void clock.after(LOOK_MS, resolve));
    }
  }

  #whyNot(pod: HeldPod): string | undefined {
    if (pod.hostNetwork) return undefined;
    const membership = this.#options.source.membership(pod);
    if (membership.kind === 'outside') return undefined;
    if (membership.kind === 'unknown') return membership.why;
    const record = this.#options.records().get(membership.uid);
    if (record?.netns === undefined)
      return record?.problem?.message ?? 'its network namespace was not found yet';
    const now = pod.netns ?? (pod.pid === undefined ? undefined : this.#netnsOf(pod.pid));
    // The kernel may still redirect an earlier sandbox of the pod.
    if (now !== undefined && !sameNetns(now, record.netns.inode))
      return 'its new network namespace was not entered yet';
    if (record.state !== 'verified') return record.problem?.message ?? 'the kernel does not redirect it yet';
    return undefined;
  }
}

function netnsOfProcess(pid: number): NetnsInode | undefined {
  try {
    return statSync(`/proc/${pid}/ns/net`, { bigint: true });
  } catch {
    return undefined;
  }
}
