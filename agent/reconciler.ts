/**
 * Brings the kernel to what the pod source wants, again and again: each pass reads the kernel, compares, and repairs
 * the differences. Nothing is concluded from what was done before. A pod that fails is tried again by itself, later.
 */
import { isEnrolled } from '../lib/enrolment.ts';
import { guardMode, type GuardMode } from '../lib/guard-mode.ts';
import { errorText, LoamError } from '../lib/loam-error.ts';
import { sameNetns } from '../lib/linux/netns.ts';
import { AgentError } from './agent-error.ts';
import type { Clock } from './clock.ts';
import type { Log } from './log.ts';
import { netnsKey, type NodePort, type OpenNetns, type ProcessCensus } from './node-port.ts';
import { PassTimer } from './pass-timer.ts';
import { PodJournal } from './pod-journal.ts';
import { handoverOf, newRecord, podName, type PodRecord } from './pod-record.ts';
import type { PodSource, PodSpec } from './pod-source.ts';
import type { Enrolment, KernelPod, RedirectionPort } from './redirection-port.ts';
import { Repairs } from './repairs.ts';
import { Sweeper } from './sweeper.ts';
import { WayOut } from './way-out.ts';
import type { WorkloadHandover } from './zds/workload.ts';

/** The kernel is read and compared at least this often. */
export const RESYNC_MS = 2000;
/** And this often while a pod's connections go to listeners of a former agent, which go with the proxy that holds them. */
export const RESYNC_ADOPTED_MS = 500;
/** Several causes in this time make one pass. */
const COALESCE_MS = 5;

export interface ReconcilerOptions {
  readonly source: PodSource;
  readonly redirection: RedirectionPort;
  readonly node: NodePort;
  readonly handover: WorkloadHandover;
  readonly clock: Clock;
  readonly log: Log;
  /** Called when a pod that was not redirected before is so now, and no proxy has it yet. */
  readonly onEnrolled?: (record: PodRecord) => void;
  /** Called after each complete pass. */
  readonly onPass?: (records: Iterable<PodRecord>) => void;
}

export class Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #repairs: Repairs;
  readonly #journal: PodJournal;
  readonly #timer: PassTimer;
  readonly #sweeper: Sweeper;
  readonly #wayOut: WayOut;
  readonly #records = new Map<string, PodRecord>();
  #passes = 0;
  #problems: readonly string[] = [];
  /** Closes descriptors that proxies were still to be given, once they are not any more. */
  readonly #closings: (() => void)[] = [];

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    this.#repairs = new Repairs(options.log);
    this.#journal = new PodJournal(options.log, options.clock);
    this.#sweeper = new Sweeper(options);
    this.#wayOut = new WayOut(options);
    this.#timer = new PassTimer(options.clock, () => this.reconcile());
  }

  /** The pods that belong in the mesh, as of the last pass. */
  get records(): ReadonlyMap<string, PodRecord> {
    return this.#records;
  }

  /** Complete passes since the source was first read. */
  get passes(): number {
    return this.#passes;
  }

  /** What is wrong with the whole, not with one pod. */
  get problems(): readonly string[] {
    return this.#problems;
  }

  /** What was put back, and how often. */
  get repairs(): Readonly<Record<string, number>> {
    return this.#repairs.counts;
  }

  /** Asks for a pass soon. */
  trigger(): void {
    this.#timer.schedule(COALESCE_MS);
  }

  /** Tells that a proxy has made progress: pods whose listeners it has now go to them. */
  progressed(): void {
    const isDue = (record: PodRecord): boolean =>
      record.adopted && this.#options.handover.stateOf(record.spec.uid).state === 'acknowledged';
    if ([...this.#records.values()].some(isDue)) this.trigger();
  }

  /** No more passes. The kernel stays as it is, so enforcement does. */
  stop(): void {
    this.#timer.stop();
  }

  /** One pass, at once. Never throws: what fails is logged, shown and tried again. */
  reconcile(): void {
    if (this.#timer.stopped || !this.#options.source.state.synced) return;
    const problems: string[] = [];
    try {
      this.#pass(problems);
      this.#passes += 1;
      this.#options.onPass?.(this.#records.values());
    } catch (error) {
      problems.push(errorText(error));
    }
    for (const problem of problems) {
      if (!this.#problems.includes(problem)) this.#options.log.error({ problem }, 'not all is in order');
    }
    this.#problems = problems;
    this.#timer.schedule(this.#nextDelay());
  }

  #pass(problems: string[]): void {
    const { node, redirection, handover } = this.#options;
    this.#adoptDesired();
    this.#repairHooks(problems);
    const census = node.census();
    for (const record of this.#records.values()) {
      if (record.retryAt > this.#options.clock.now()) continue;
      record.problem = undefined;
      this.#attempt(record, () => this.#resolve(record, census));
    }
    const kernel = new Map(redirection.enrolled().map((pod) => [pod.cookie, pod]));
    this.#sweeper.sweep(this.#records.values(), kernel, problems);
    for (const record of this.#records.values()) {
      if (record.netns !== undefined) this.#attempt(record, () => this.#converge(record, kernel));
    }
    this.#verify(census, problems);
    handover.sync(handoverOf(this.#records, this.#wayOut.left));
    this.#wayOut.tidy(this.#options.source.state.pods);
    // Only now is nobody given them any more; a pass that failed before this leaves them to the next.
    for (const close of this.#closings.splice(0)) close();
  }

  #repairHooks(problems: string[]): void {
    const { redirection } = this.#options;
    try {
      for (const what of redirection.repair())
        this.#repairs.note(
          what,
          {},
          'put back what somebody had detached or unpinned; pods may have been exposed meanwhile',
        );
    } catch (error) {
      problems.push(`cannot put back what was detached or unpinned: ${errorText(error)}`);
    }
  }

  /** Takes over what the source wants. */
  #adoptDesired(): void {
    const desired = new Map<string, PodSpec>();
    for (const [uid, pod] of this.#options.source.state.pods) {
      if (isEnrolled(pod.labels, pod.namespaceLabels)) desired.set(uid, pod);
    }
    for (const [uid, record] of this.#records) {
      if (desired.has(uid)) continue;
      const alive = this.#options.source.state.pods.get(uid);
      if (alive !== undefined) {
        record.spec = alive;
        if (this.#wayOut.isUnderWay(record)) continue;
      }
      this.#options.log.info({ uid, pod: podName(record.spec) }, 'the pod has left the mesh');
      this.#records.delete(uid);
      this.#leave(record, alive !== undefined);
    }
    for (const [uid, spec] of desired) {
      const record = this.#records.get(uid) ?? newRecord(spec, this.#options.clock.now());
      this.#records.set(uid, record);
      if (record.spec !== spec) record.retryAt = 0;
      record.spec = spec;
    }
  }

  /** Finds out which namespace the pod has now. */
  #resolve(record: PodRecord, census: ProcessCensus): void {
    const { node } = this.#options;
    const { netns: path } = record.spec;
    if (record.netns === undefined) {
      if (path === undefined) throw new AgentError('NETNS_MISSING', 'no process of it was found yet');
      this.#enter(record, node.openNetns(path));
      return;
    }
    const now = path === undefined ? undefined : node.inodeAt(path);
    if (now === undefined) {
      // Held open by us, the namespace does not die; whether anybody lives in it, the processes say.
      const inhabitants = census.get(netnsKey(record.netns.inode))?.pids.length ?? 0;
      if (inhabitants > 0) {
        const message = `${path ?? 'its network namespace'} is gone, but ${inhabitants} processes live in the namespace: it stays enrolled`;
        this.#journal.problem(record, { code: 'NETNS_LINGERS', message });
        return;
      }
      this.#leave(record);
      throw new AgentError(
        'NETNS_MISSING',
        `there is no network namespace at ${path ?? 'its place'} any more`,
      );
    }
    if (path === undefined || sameNetns(now, record.netns.inode)) return;
    this.#options.log.info({ pod: podName(record.spec) }, 'the pod has another network namespace');
    this.#leave(record);
    this.#enter(record, node.openNetns(path));
  }

  #enter(record: PodRecord, netns: OpenNetns): void {
    for (const other of this.#records.values()) {
      if (other.netns?.cookie !== netns.cookie) continue;
      this.#options.node.closeNetns(netns);
      const message = `${record.spec.netns ?? 'it'} is the network namespace of ${podName(other.spec)} already`;
      throw new AgentError('NETNS_SHARED', message);
    }
    record.netns = netns;
    record.generation += 1;
  }

  /** Lets go of a namespace; what the kernel has of it goes with the next sweep. @param alive the pod lives on outside of the mesh */
  #leave(record: PodRecord, alive = false): void {
    const { netns } = record;
    this.#dropListeners(record);
    if (netns !== undefined) {
      const routes = alive ? this.#wayOut.leaves(record) : 'go';
      this.#sweeper.released(netns.cookie, routes);
      if (routes === 'go') this.#closings.push(() => this.#options.node.closeNetns(netns));
    }
    record.netns = undefined;
    record.guard = undefined;
    this.#journal.state(record, 'waiting');
  }

  #dropListeners(record: PodRecord): void {
    const { listeners } = record;
    if (listeners !== undefined) this.#closings.push(() => this.#options.node.closeListeners(listeners));
    record.listeners = undefined;
    record.steeredTo = undefined;
    record.adopted = false;
  }

  /** Makes the kernel redirect one pod to our listeners, if it does not yet. */
  #converge(record: PodRecord, kernel: ReadonlyMap<bigint, KernelPod>): void {
    const { node, redirection, log } = this.#options;
    const { netns, spec } = record;
    if (netns === undefined) return;
    const { ips } = spec;
    if (record.listeners !== undefined && !node.areListening(record.listeners)) {
      log.warn({ pod: podName(spec) }, 'listeners were destroyed inside the pod; making new ones');
      this.#dropListeners(record);
    }
    if (record.listeners === undefined) {
      record.listeners = node.listen(netns);
      record.generation += 1;
    }
    const { listeners } = record;
    const found = kernel.get(netns.cookie);
    const guard = guardMode(spec.annotations);
    const lost = lostParts(found);
    if (isEnrolled(spec.labels, spec.namespaceLabels)) this.#wayOut.stays(record, found?.leaving === true);
    const complete =
      found !== undefined && sameIps(found.ips, ips) && lost.every((each) => each === 'listeners');
    if (!complete || !node.hasSources(netns, ips)) {
      // Not enrolled before its listeners stand: connections would be refused.
      redirection.enrol({ netnsFd: netns.fd, cookie: netns.cookie, ips, listeners, guard });
      log.info({ pod: podName(spec), ips, netns: String(netns.inode.ino) }, 'switched redirection on');
      // An entry that somebody took away is put back: what the pod is connected with then is the mesh's.
      if (found === undefined && record.given === undefined) this.#options.onEnrolled?.(record);
    } else if (record.steeredTo !== listeners || lost.includes('listeners')) {
      if (this.#adopts(record, lost)) return this.#follow(record, netns, guard);
      redirection.setListeners(netns.cookie, listeners);
      log.info({ pod: podName(spec), ips }, 'new connections go to new listeners');
    }
    for (const what of lost.filter((each) => each !== 'listeners' || record.given === listeners))
      this.#repairs.note(what, { pod: podName(spec) }, 'put back what somebody had taken away of a pod');
    record.adopted = false;
    record.steeredTo = listeners;
    record.given = listeners;
    this.#follow(record, netns, guard);
  }

  /**
   * Whether a pod's connections are still to go to the listeners of the agent before this one, which its proxy holds: until a
   * proxy has ours, only this process has them, and what waited in them would end with it.
   */
  #adopts(record: PodRecord, lost: readonly string[]): boolean {
    if (record.given !== undefined || lost.includes('listeners')) return false;
    if (this.#options.handover.stateOf(record.spec.uid).state === 'acknowledged') return false;
    if (!record.adopted) {
      const { ips } = record.spec;
      this.#options.log.info({ pod: podName(record.spec), ips }, 'took over redirection that was in force');
    }
    record.adopted = true;
    return true;
  }

  /** What is done in each pass for a pod that is redirected. */
  #follow(record: PodRecord, netns: OpenNetns, guard: GuardMode): void {
    const { redirection } = this.#options;
    const { ips } = record.spec;
    this.#guard(record, { netnsFd: netns.fd, cookie: netns.cookie, ips, guard });
    redirection.followRoutes({ netnsFd: netns.fd, cookie: netns.cookie, ips });
    redirection.setProbePorts(netns.cookie, record.spec.probePorts ?? []);
    record.backoff.reset();
  }

  /** Sees that the guard stands, which a process of the node may have taken away. */
  #guard(record: PodRecord, pod: Omit<Enrolment, 'listeners'>): void {
    for (const device of this.#journal.guard(record, this.#options.redirection.guard(pod)))
      this.#repairs.note(
        'guard',
        { pod: podName(record.spec), device },
        'put back a guard that somebody had taken away; the pod was unguarded',
      );
  }

  /** Compares once more, after all repairs: what counts is what the kernel says now. */
  #verify(census: ProcessCensus, problems: string[]): void {
    const { redirection } = this.#options;
    const kernel = new Map(redirection.enrolled().map((pod) => [pod.cookie, pod]));
    const found = redirection.verify();
    problems.push(...found.flatMap(({ cookie, message }) => (cookie === undefined ? [message] : [])));
    for (const record of this.#records.values()) {
      const { netns, spec } = record;
      if (netns === undefined) continue;
      this.#journal.uncovered(record, census.get(netnsKey(netns.inode))?.uncovered ?? []);
      const pod = kernel.get(netns.cookie);
      const wrong = found.filter(({ cookie }) => cookie === netns.cookie).map(({ message }) => message);
      if (pod === undefined) wrong.push('the kernel has no entry for it');
      else if (!sameIps(spec.ips, pod.ips)) wrong.push(`the kernel has ${pod.ips.join(', ')} as its address`);
      if (record.leaving !== undefined) {
        this.#journal.state(record, 'leaving');
        continue;
      }
      if (wrong.length === 0 && (record.steeredTo !== undefined || record.adopted)) {
        this.#journal.state(record, 'verified');
        if (record.problem === undefined) record.logged = undefined;
        continue;
      }
      this.#journal.state(record, pod === undefined ? 'waiting' : 'claimed');
      // Whatever it is, the listeners are put in once more by the next attempt.
      record.steeredTo = undefined;
      if (record.problem === undefined)
        this.#journal.problem(record, { code: 'NOT_VERIFIED', message: wrong.join('; ') });
    }
    this.#sweeper.removeStrays(this.#records.values(), found, kernel, problems);
  }

  /** Does something for one pod, unless it has to wait; its failure is that pod's alone. */
  #attempt(record: PodRecord, work: () => void): void {
    const now = this.#options.clock.now();
    if (record.retryAt > now) return;
    try {
      work();
    } catch (error) {
      const code = error instanceof LoamError ? String(error.code) : 'UNEXPECTED';
      record.retryAt = now + record.backoff.next();
      this.#journal.problem(record, { code, message: errorText(error) });
    }
  }

  #nextDelay(): number {
    const now = this.#options.clock.now();
    const retries = [...this.#records.values()].map(({ retryAt, adopted }) =>
      retryAt > now ? retryAt - now : adopted ? RESYNC_ADOPTED_MS : RESYNC_MS,
    );
    return Math.min(RESYNC_MS, ...retries);
  }
}

/** The kernel keeps addresses by family and does not know which is the primary. */
function sameIps(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((ip) => b.includes(ip));
}

/** What a pod that the kernel knows has lost. */
function lostParts(pod: KernelPod | undefined): readonly string[] {
  if (pod === undefined) return [];
  return [...(pod.lacks ?? []), ...(pod.steering === 'attached' ? [] : ['sk_lookup'])];
}
