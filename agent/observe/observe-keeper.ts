/**
 * Which pods are observed: brings the kernel to what the labels say, in each pass anew, as the reconciler does for redirection.
 * Beside it, and never in its way: what fails here is told, and leaves the mesh as it is.
 */
import { isObserved } from '../../lib/enrolment.ts';
import { errorText } from '../../lib/loam-error.ts';
import type { Log } from '../log.ts';
import type { NodePort } from '../node-port.ts';
import { podName } from '../pod-record.ts';
import type { PodSource, PodSpec } from '../pod-source.ts';
import type { ObservePort } from './observe-port.ts';

/** A pod that is observed, or is to be. */
export interface ObservedPod {
  readonly spec: PodSpec;
  /** Of its network namespace; undefined: `problem` says why not. */
  readonly cookie: bigint | undefined;
  readonly problem: string | undefined;
}

export interface ObserveKeeperOptions {
  readonly source: Pick<PodSource, 'state'>;
  readonly port: ObservePort;
  readonly node: Pick<NodePort, 'openNetns' | 'closeNetns'>;
  readonly log: Log;
}

export class ObserveKeeper {
  readonly #options: ObserveKeeperOptions;
  #pods: ReadonlyMap<string, ObservedPod> = new Map();
  #problem: string | undefined;

  constructor(options: ObserveKeeperOptions) {
    this.#options = options;
  }

  /** By uid, as of the last look. */
  get pods(): ReadonlyMap<string, ObservedPod> {
    return this.#pods;
  }

  /** What is wrong with the whole. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Never throws: what fails is logged, shown and tried again. */
  look(): void {
    const { source, port, log } = this.#options;
    if (!source.state.synced) return;
    const wanted = [...source.state.pods.values()].filter((pod) =>
      isObserved(pod.labels, pod.namespaceLabels),
    );
    try {
      if (wanted.length === 0 && !port.inForce) this.#pods = new Map();
      else this.#converge(wanted);
      if (this.#problem !== undefined) log.info('observe mode is in order again');
      this.#problem = undefined;
    } catch (error) {
      const problem = errorText(error);
      if (problem !== this.#problem) log.error({ problem }, 'pods cannot be observed');
      this.#problem = problem;
    }
  }

  #converge(wanted: readonly PodSpec[]): void {
    const { source, port, log } = this.#options;
    for (const what of port.repair())
      log.warn(
        { what },
        'put back what somebody had detached or unpinned; connections went unseen meanwhile',
      );
    const pods = new Map<string, ObservedPod>();
    for (const spec of wanted) {
      const before = this.#pods.get(spec.uid);
      const pod = this.#find(spec);
      pods.set(spec.uid, pod);
      if (pod.problem !== undefined && pod.problem !== before?.problem)
        log.warn({ pod: podName(spec), problem: pod.problem }, 'the pod cannot be observed yet');
      if (pod.cookie !== undefined && port.observe(pod.cookie))
        log.info({ pod: podName(spec), ips: spec.ips }, 'observes the pod');
    }
    this.#pods = pods;
    // A pod whose entry cannot be read may be one of those.
    if (!source.state.complete) return;
    const cookies = new Set([...pods.values()].map(({ cookie }) => cookie));
    for (const cookie of port.observed()) {
      if (cookies.has(cookie)) continue;
      port.forget(cookie);
      log.info({ cookie: String(cookie) }, 'observes a pod no more');
    }
    if (wanted.length > 0) return;
    port.end();
    log.info('observes nothing any more: the program is out of the kernel');
  }

  #find(spec: PodSpec): ObservedPod {
    const { node } = this.#options;
    if (spec.netns === undefined)
      return { spec, cookie: undefined, problem: 'no process of it was found yet' };
    try {
      const netns = node.openNetns(spec.netns);
      node.closeNetns(netns);
      return { spec, cookie: netns.cookie, problem: undefined };
    } catch (error) {
      return { spec, cookie: undefined, problem: errorText(error) };
    }
  }
}
