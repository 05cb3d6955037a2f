/** A kernel, a machine, a clock and a pod source in memory. */
import type { GuardMode } from '../../../lib/guard-mode.ts';
import type { Kubelet } from '../../../lib/linux/bpf/index.ts';
import type { Clock } from '../../../agent/clock.ts';
import { AgentError } from '../../../agent/agent-error.ts';
import type { Log } from '../../../agent/log.ts';
import type { NodePort, OpenNetns, ProcessCensus, UncoveredProcess } from '../../../agent/node-port.ts';
import type { PodSource, PodSpec, SourceState } from '../../../agent/pod-source.ts';
import type {
  Enrolment,
  Guard,
  KernelPod,
  KernelProblem,
  Listeners,
  MapFill,
  RedirectionPort,
} from '../../../agent/redirection-port.ts';
import type { Handover, HandoverState, WorkloadHandover } from '../../../agent/zds/workload.ts';

/** Time that stands still until it is moved. */
export class FakeClock implements Clock {
  #now = 1_000_000;
  readonly #timers = new Set<{ at: number; run: () => void }>();

  now(): number {
    return this.#now;
  }

  after(delayMs: number, run: () => void): Disposable {
    const timer = { at: this.#now + delayMs, run };
    this.#timers.add(timer);
    return { [Symbol.dispose]: () => this.#timers.delete(timer) };
  }

  /** Moves time, running what becomes due, in order. */
  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const due = [...this.#timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (due === undefined) break;
      this.#timers.delete(due);
      this.#now = Math.max(this.#now, due.at);
      due.run();
    }
    this.#now = end;
  }
}

/** Keeps what was logged: level and message. */
export class FakeLog implements Log {
  readonly lines: string[] = [];
  readonly debug = this.#level('debug');
  readonly info = this.#level('info');
  readonly warn = this.#level('warn');
  readonly error = this.#level('error');

  count(part: string): number {
    return this.lines.filter((line) => line.includes(part)).length;
  }

  #level(level: string): Log['info'] {
    return (fields: unknown, message?: string) => {
      this.lines.push(`${level} ${message ?? ''} ${JSON.stringify(fields)}`);
    };
  }
}

export function pod(name: string, change: Partial<PodSpec> = {}): PodSpec {
  return {
    uid: `uid-${name}`,
    name,
    namespace: 'shop',
    serviceAccount: 'default',
    netns: `/run/netns/${name}`,
    ips: ['198.18.0.1'],
    labels: {},
    annotations: {},
    namespaceLabels: { 'loam.dev/dataplane-mode': 'ambient' },
    ...change,
  };
}

export class FakeSource implements PodSource {
  state: SourceState = { synced: false, complete: true, pods: new Map(), problems: [] };

  set(...pods: PodSpec[]): void {
    this.state = { ...this.state, synced: true, pods: new Map(pods.map((each) => [each.uid, each])) };
  }

  start(): void {
    // Tests set the state themselves.
  }

  close(): void {
    // Nothing is open.
  }
}

/** Namespaces by path; each has an inode, which is its cookie too. */
export class FakeNode implements NodePort {
  readonly netns = new Map<string, bigint>();
  readonly inhabitants = new Map<bigint, number[]>();
  readonly uncovered = new Map<bigint, UncoveredProcess[]>();
  readonly open = new Set<number>();
  readonly listeners = new Set<number>();
  /** Listeners that a process of the pod destroyed. */
  readonly destroyed = new Set<number>();
  failListen = false;
  /** Namespaces in which something goes on over the private sources. */
  readonly usingSources = new Set<bigint>();
  /** Namespaces in which somebody took the private sources away. */
  readonly unrouted = new Set<bigint>();
  #nextFd = 100;

  openNetns(path: string): OpenNetns {
    const ino = this.netns.get(path);
    if (ino === undefined) throw new AgentError('NETNS_MISSING', `there is no network namespace at ${path}`);
    const fd = this.#nextFd++;
    this.open.add(fd);
    return { fd, inode: { dev: 4n, ino }, cookie: ino };
  }

  inodeAt(path: string): { dev: bigint; ino: bigint } | undefined {
    const ino = this.netns.get(path);
    return ino === undefined ? undefined : { dev: 4n, ino };
  }

  closeNetns({ fd }: OpenNetns): void {
    if (!this.open.delete(fd)) throw new Error(`descriptor ${fd} closed twice`);
  }

  listen(): Listeners {
    if (this.failListen) throw new Error('no listeners today');
    const [outbound, plaintext, hbone] = [this.#nextFd++, this.#nextFd++, this.#nextFd++];
    for (const fd of [outbound, plaintext, hbone]) this.listeners.add(fd);
    return { outbound, plaintext, hbone };
  }

  areListening(listeners: Listeners): boolean {
    return !Object.values(listeners).some((fd) => this.destroyed.has(fd as number));
  }

  closeListeners(listeners: Listeners): void {
    for (const fd of Object.values(listeners) as number[]) {
      if (!this.listeners.delete(fd)) throw new Error(`listener ${fd} closed twice`);
    }
  }

  hasSources({ cookie }: OpenNetns): boolean {
    return !this.unrouted.has(cookie);
  }

  usesSources({ cookie }: OpenNetns): boolean {
    return this.usingSources.has(cookie);
  }

  dropSources({ cookie }: OpenNetns): void {
    this.unrouted.add(cookie);
  }

  census(): ProcessCensus {
    const inodes = new Set([...this.inhabitants.keys(), ...this.uncovered.keys()]);
    return new Map(
      [...inodes].map((ino) => [
        `4:${ino}`,
        { pids: this.inhabitants.get(ino) ?? [], uncovered: this.uncovered.get(ino) ?? [] },
      ]),
    );
  }
}

/** The kernel's side; tests change `pods` behind the agent's back. */
export class FakeRedirection implements RedirectionPort {
  readonly ownSocketsMapFd = 50;
  readonly originalDstMapFd = 51;
  readonly cgroupPath = '/sys/fs/cgroup';
  readonly pods = new Map<bigint, KernelPod & { listeners?: Listeners }>();
  readonly problems: KernelProblem[] = [];
  /** Hooks that somebody detached. */
  readonly detached: string[] = [];
  /** Interfaces that somebody took the guard from. */
  readonly unguarded: string[] = [];
  readonly guards = new Map<bigint, GuardMode>();
  readonly calls: string[] = [];
  /** Throws for calls whose text (for example `enrol 7`) contains this. */
  failing: string | undefined;

  enrol({ cookie, ips, listeners }: Enrolment): void {
    this.#call(`enrol ${cookie}`);
    this.pods.set(cookie, { cookie, ips, steering: 'attached', listeners });
  }

  /** So many calls of makeSpare do something. */
  sparesMissing = 0;

  makeSpare(): boolean {
    if (this.sparesMissing === 0) return false;
    this.sparesMissing -= 1;
    return true;
  }

  guard({ cookie, guard }: Omit<Enrolment, 'listeners'>): Guard | undefined {
    this.guards.set(cookie, guard);
    const attached = this.unguarded.splice(0);
    if (attached.length > 0) this.#call(`guard ${cookie}`);
    if (guard === 'none') return undefined;
    return { guarded: [{ name: 'eth0', by: 'tcx' }], unguarded: [], attached };
  }

  readonly routed: bigint[] = [];

  followRoutes({ cookie }: Pick<Enrolment, 'cookie'>): void {
    this.routed.push(cookie);
  }

  setListeners(cookie: bigint, listeners: Listeners): void {
    this.#call(`setListeners ${cookie}`);
    const found = this.pods.get(cookie);
    if (found !== undefined) this.pods.set(cookie, { ...found, listeners });
  }

  leave(cookie: bigint): void {
    this.#call(`leave ${cookie}`);
    const found = this.pods.get(cookie);
    if (found !== undefined) this.pods.set(cookie, { ...found, leaving: true });
  }

  stay(cookie: bigint): void {
    this.#call(`stay ${cookie}`);
    const found = this.pods.get(cookie);
    if (found !== undefined) this.pods.set(cookie, { ...found, leaving: false });
  }

  unenrol(cookie: bigint, routes: 'go' | 'stay' = 'go'): void {
    this.#call(`unenrol ${cookie}${routes === 'stay' ? ', but its routes' : ''}`);
    this.pods.delete(cookie);
  }

  enrolled(): KernelPod[] {
    this.#call('enrolled');
    return [...this.pods.values()];
  }

  repair(): string[] {
    if (this.detached.length > 0) this.#call('repair');
    return this.detached.splice(0);
  }

  verify(): KernelProblem[] {
    return this.problems;
  }

  readonly off: { node: Date | undefined; pods: Map<bigint, Date> } = { node: undefined, pods: new Map() };

  switchedOff(): { node: Date | undefined; pods: Map<bigint, Date> } {
    return this.off;
  }

  kubelet: Kubelet | undefined;

  setKubelet(kubelet: Kubelet | undefined): void {
    this.kubelet = kubelet;
  }

  readonly probePorts = new Map<bigint, readonly number[]>();

  setProbePorts(cookie: bigint, ports: readonly number[]): void {
    this.probePorts.set(cookie, ports);
  }

  stats(): Record<string, number> {
    return { pods: this.pods.size };
  }

  readonly maps: Record<string, MapFill> = {};

  fill(): Record<string, MapFill> {
    return this.maps;
  }

  close(): void {
    this.#call('close');
  }

  #call(text: string): void {
    if (text !== 'enrolled') this.calls.push(text);
    if (this.failing !== undefined && text.includes(this.failing))
      throw new Error(`${text}: refused by the test`);
  }
}

export class FakeHandover implements WorkloadHandover {
  last: Handover = { workloads: new Map(), keep: new Set(), released: new Set() };
  /** Of every workload. */
  state: HandoverState = { state: 'no-proxy' };

  sync(handover: Handover): void {
    this.last = handover;
  }

  stateOf(): HandoverState {
    return this.state;
  }
}
