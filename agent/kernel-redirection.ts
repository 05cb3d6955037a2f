/** {@link RedirectionPort} by lib/linux/bpf. */
import {
  cgroup2Root,
  Redirection,
  type Observer,
  type GuardMethod,
  type Kubelet,
} from '../lib/linux/bpf/index.ts';
import type { Layout } from '../lib/linux/bpf/instance-layout.ts';
import type {
  Enrolment,
  Guard,
  KernelPod,
  KernelProblem,
  Listeners,
  MapFill,
  RedirectionPort,
} from './redirection-port.ts';

const STEERING = { alive: 'attached', dead: 'dead', missing: 'missing' } as const;

export class KernelRedirection implements RedirectionPort {
  readonly cgroupPath: string;
  readonly #redirection: Redirection;

  /**
   * Loads the programs, or adopts those that an earlier agent of the instance left in force.
   *
   * @throws BpfError for example BPF_INSTANCE_IN_USE
   */
  constructor(options: {
    instance: string;
    cgroup: string | undefined;
    bpffs: string | undefined;
    /** `required` in a container, which cannot mount it for the node. */
    bpffsMounted: 'required' | 'by us';
    guard: GuardMethod | undefined;
    layout: Layout;
  }) {
    const { instance, cgroup, bpffs, bpffsMounted, guard, layout } = options;
    this.cgroupPath = cgroup ?? cgroup2Root();
    this.#redirection = Redirection.open({
      instance,
      layout,
      cgroupPath: this.cgroupPath,
      bpffsMounted,
      ...(bpffs === undefined ? {} : { bpffs }),
      // The veths of the pods end where the agent itself is.
      guard: guard === undefined ? {} : { method: guard },
    });
    // An agent that is started wants its pods in the mesh: an uninstall that was begun is not gone on with.
    this.#redirection.stayAll();
  }

  get ownSocketsMapFd(): number {
    return this.#redirection.ownSocketsMapFd;
  }

  get originalDstMapFd(): number {
    return this.#redirection.originalDstMapFd;
  }

  /** Observe mode's part of the kernel; to be disposed of before {@link close}. */
  observer(): Observer {
    return this.#redirection.observer();
  }

  enrol({ netnsFd, cookie, ips, listeners, guard }: Enrolment): void {
    this.#redirection.enrol({ netnsFd, cookie, ips, listeners: { ...listeners }, guard });
  }

  makeSpare(): boolean {
    return this.#redirection.makeSpare();
  }

  guard({ netnsFd, cookie, ips, guard }: Omit<Enrolment, 'listeners'>): Guard | undefined {
    return this.#redirection.guard({ netnsFd, cookie, ips }, guard);
  }

  followRoutes({ netnsFd, cookie, ips }: Pick<Enrolment, 'netnsFd' | 'cookie' | 'ips'>): void {
    this.#redirection.followRoutes({ netnsFd, cookie, ips });
  }

  setListeners(cookie: bigint, listeners: Listeners): void {
    const pod = this.#redirection.enrolled().find((each) => each.cookie === cookie);
    if (pod !== undefined) this.#redirection.setListeners(pod, { ...listeners });
  }

  leave(cookie: bigint): void {
    this.#redirection.leave({ cookie });
  }

  stay(cookie: bigint): void {
    this.#redirection.stay({ cookie });
  }

  unenrol(cookie: bigint, routes: 'go' | 'stay' = 'go'): void {
    this.#redirection.unenrol({ cookie }, routes);
  }

  enrolled(): KernelPod[] {
    return this.#redirection.enrolled().map(({ cookie, ips, link, lacks, leaving, guardDrops }) => ({
      cookie,
      ips,
      steering: STEERING[link],
      lacks,
      leaving,
      ...(guardDrops && { guardDrops }),
    }));
  }

  repair(): string[] {
    return this.#redirection.repair();
  }

  verify(): KernelProblem[] {
    return this.#redirection.verify().map(({ subject, problem }) => {
      const cookie = /^pod (\d+)$/.exec(subject)?.[1];
      if (cookie === undefined) return { cookie: undefined, message: `${subject}: ${problem}` };
      return { cookie: BigInt(cookie), message: problem };
    });
  }

  setKubelet(kubelet: Kubelet | undefined): void {
    this.#redirection.setKubelet(kubelet);
  }

  setProbePorts(cookie: bigint, ports: readonly number[]): void {
    this.#redirection.setProbePorts({ cookie }, ports);
  }

  switchedOff(): ReturnType<RedirectionPort['switchedOff']> {
    return this.#redirection.switchedOff();
  }

  stats(): Record<string, number> {
    const { counters, pods, records } = this.#redirection.stats();
    return { ...counters, pods, records };
  }

  fill(): Readonly<Record<string, MapFill>> {
    return this.#redirection.fill();
  }

  close(): void {
    this.#redirection.close();
  }
}
