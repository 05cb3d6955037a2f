/** The enrolled pods of an instance: entries, listeners, links and records, read from the kernel and kept right. */
import type { GuardMode } from '../../guard-mode.ts';
import { addressesOf } from '../interfaces.ts';
import { ipFamily, type IpFamily } from '../ip.ts';
import { closeFd } from '../libc.ts';
import { BpfError } from './errors.ts';
import type { GuardDrops } from './guard-layout.ts';
import type { GuardRequest, GuardState, GuardStore } from './guard-store.ts';
import type { InstanceMaps } from './instance-maps.ts';
import type { BpfMap } from './map.ts';
import {
  buffer,
  cookieKey,
  cookieOfRoute,
  encodeProbePorts,
  LISTENER_ROLES,
  listenerKey,
  type ListenerRole,
  type PodEntry,
  type PodUse,
} from './layout.ts';
import {
  attach,
  ATTACH_TYPES,
  attachedPrograms,
  detach,
  linkInfo,
  programName,
  replaceProgram,
  type LinkInfo,
} from './link.ts';
import { beginLeaving, endLeaving, isLeaving, isOfNode } from './off-switches.ts';
import { checkPod } from './pod-check.ts';
import type { PinFolder } from './pins.ts';
import { PodEntries } from './pod-entries.ts';
import type { PodPrograms } from './pod-programs.ts';
import { PodRoutes } from './pod-routes.ts';
import { routeSources, unrouteSources } from './pod-sources.ts';
import { portSpread } from './port-spread.ts';
import { pause, waitForPrograms } from './quiesce.ts';
import type { Problem } from './redirection.ts';

/**
 * Connections of each kind that one pod may have under way to its listeners whatever others do: those that a listener's full backlog
 * keeps out, so beside the thousands in there; more for as long as all pods together have few (bpf/shares.h). A hostile pod can hold so
 * many for as long as it likes (TCP_REPAIR, or an application that never accepts). 110 pods, as many as Kubernetes puts on a node by
 * default, do not by one kind fill the map of records (MAX_RECORDS in bpf/maps.h), which would cost the others their connections.
 */
export const DEFAULT_CAP = 512;
/** A link of our own whose pin somebody removed is freed by the kernel a moment later: RCU, then a work queue. */
const DYING_MS = 200;
const DYING_STEP_MS = 5;
const ROLES = Object.keys(LISTENER_ROLES) as ListenerRole[];

/** A pod to enrol. Descriptors stay the caller's. */
export interface PodRequest {
  readonly netnsFd: number;
  /** Its netns cookie (`netnsCookie(netnsFd)`). */
  readonly cookie: bigint;
  /** One or two, at most one of each family, the primary first. */
  readonly ips: readonly string[];
  readonly listeners: Readonly<Record<ListenerRole, number>>;
  /** Most connections of each direction under way; {@link DEFAULT_CAP} by default. */
  readonly cap?: number;
  /** Whether its packets are judged on the host side of its veth (bpf/guard.bpf.c); `on` by default. */
  readonly guard?: GuardMode;
}

/** An enrolled pod. */
export interface PodHandle {
  readonly cookie: bigint;
  /** IPv4 first, whichever is the primary. Of a pod that has lost its entry, none. */
  readonly ips: readonly string[];
}

/** The maps that every enrolled pod is in. */
export type PodMap = 'pods' | 'enrolled' | 'pod_uses' | 'listeners';

/** A pod as the kernel has it. */
export interface EnrolledPod extends PodHandle {
  /** `dead`: its namespace is gone; `missing`: no link is pinned, so it must be enrolled again. */
  readonly link: 'alive' | 'dead' | 'missing';
  /** Inode of the namespace, where the link is alive. */
  readonly netnsInode?: number;
  /** Roles whose listener is open somewhere. */
  readonly listeners: readonly ListenerRole[];
  /** Maps that it should have an entry in and has none, or not all of them: such connections are refused. */
  readonly lacks: readonly PodMap[];
  readonly use: PodUse;
  /** Packets that its guard dropped; undefined: it has none. */
  readonly guardDrops?: GuardDrops;
  /** It was told to leave ({@link PodStore.leave}) and is still enrolled. */
  readonly leaving: boolean;
}

/** Index of the interface that has the pod's address of a family; 0: none. */
function deviceOf(pod: PodRequest, family: IpFamily): number {
  const ip = pod.ips.find((each) => ipFamily(each) === family);
  return addressesOf(pod.netnsFd).find((each) => each.ip === ip)?.index ?? 0;
}

function incomplete(listeners: readonly ListenerRole[]): PodMap[] {
  return listeners.length < ROLES.length ? ['listeners'] : [];
}

function ofPod(map: BpfMap, cookie: bigint): Buffer[] {
  return map.keys().filter((key) => key.readBigUInt64LE(0) === cookie);
}

/** See the top of the file. */
export class PodStore {
  readonly #pins: PinFolder;
  readonly #maps: InstanceMaps;
  readonly #guards: GuardStore;
  readonly #programs: PodPrograms;
  readonly #entries: PodEntries;
  readonly #routes: PodRoutes;

  constructor(pins: PinFolder, maps: InstanceMaps, guards: GuardStore, programs: PodPrograms) {
    this.#pins = pins;
    this.#maps = maps;
    this.#guards = guards;
    this.#programs = programs;
    this.#entries = new PodEntries(maps);
    this.#routes = new PodRoutes(maps);
  }

  /** Brings what an earlier process left to this version: programs replaced, dead and half-made pods removed. */
  adopt(): void {
    const known = new Set(this.#entries.cookies());
    for (const cookie of this.#pinnedCookies()) {
      const entry = this.#entries.get(cookie);
      // A link without an entry: the process died while it enrolled or unenrolled this pod, or the entry was lost.
      if ((!entry && !known.has(cookie)) || this.#linkState(cookie) !== 'alive') this.unenrol(cookie);
      // The namespace may also go between the look and the update.
      else if (entry && !this.#attachLookup(cookie, entry, undefined)) this.unenrol(cookie);
      // A version before this one did not write it.
      else if (entry) this.#entries.mark(cookie, entry);
    }
    const stale = this.#strayCookies().filter((cookie) => !known.has(cookie));
    for (const cookie of stale) this.#forget(cookie);
    this.#guards.adopt(new Set(this.#entries.cookies()));
  }

  enrol(pod: PodRequest): PodHandle {
    checkPod(pod);
    // Whatever is wrong with its link, an entry stays: without it the pod's connections would leave in plaintext. The
    // cookie was just checked, so the entry is this namespace's. Of a pod without one, a link that is left may stay:
    // having no listeners, it drops.
    const before = this.#entries.generation(pod.cookie);
    if (before === undefined) this.#forget(pod.cookie);
    const spread = portSpread(pod.netnsFd);
    const entry: PodEntry = {
      // Never used twice, so that nothing recorded in an earlier enrolment of this namespace is valid in this one.
      generation: before ?? process.hrtime.bigint(),
      ips: pod.ips,
      cap: pod.cap ?? DEFAULT_CAP,
      portLow: spread.low,
      portCount: spread.count,
      deviceV4: deviceOf(pod, 4),
      deviceV6: deviceOf(pod, 6),
    };
    this.#refuseTaken(pod, before === undefined ? 0 : DYING_MS);
    try {
      this.#entries.addUse(pod.cookie);
      this.setListeners(pod.cookie, pod.listeners);
      this.#attachLookup(pod.cookie, entry, pod.netnsFd);
      routeSources(pod);
      this.#entries.set(pod.cookie, entry);
      // Not before: of a pod that runs, what it dialled a moment ago would be dropped, as often as its SYN is repeated.
      this.guard(pod, pod.guard ?? 'on');
    } catch (error) {
      // A pod that was enrolled stays so: better redirected the old way than not at all.
      if (before === undefined) this.unenrol(pod.cookie);
      throw error;
    }
    return { cookie: pod.cookie, ips: pod.ips };
  }

  /** Puts right what is missing of a pod's guard. */
  guard(pod: GuardRequest, mode: GuardMode): GuardState | undefined {
    if (mode === 'on') return this.#guards.ensure(pod);
    this.#guards.remove(pod.cookie);
    return undefined;
  }

  /** Brings the map of routes to what the pod has now. */
  followRoutes(pod: GuardRequest): void {
    this.#routes.follow(pod);
  }

  /** Where the kubelet's probes may pass: at the ports that the pod itself has probed. */
  setProbePorts(cookie: bigint, ports: readonly number[]): void {
    const map = this.#maps.map('probe_ports');
    const [key, wanted] = [cookieKey(cookie), encodeProbePorts(ports)];
    if (ports.length === 0) map.delete(key);
    else if (map.get(key)?.equals(wanted) !== true) map.set(key, wanted);
  }

  setListeners(cookie: bigint, listeners: Readonly<Record<ListenerRole, number>>): void {
    const map = this.#maps.map('listeners');
    for (const role of ROLES) {
      const value = buffer(8);
      value.writeBigUInt64LE(BigInt(listeners[role]), 0);
      map.set(listenerKey(cookie, role), value);
    }
  }

  /** Begins a pod's way out: see {@link beginLeaving}. {@link unenrol} ends it, {@link stay} takes it back. */
  leave(cookie: bigint): void {
    beginLeaving(this.#maps.map('switched_off'), cookie);
  }

  stay(cookie: bigint): void {
    endLeaving(this.#maps.map('switched_off'), cookie);
  }

  /** @param routes `stay`: connections of ztunnel's to its applications go on, whose sources they route */
  unenrol(cookie: bigint, routes: 'go' | 'stay' = 'go'): void {
    // Before redirection ends: what the pod dials from then on leaves it, and would be dropped.
    this.#guards.remove(cookie);
    this.#entries.delete(cookie);
    // From here on no program begins to record for this pod; those that are running must end before the purge.
    waitForPrograms();
    const link = this.#pins.get('pods', String(cookie));
    if (link !== undefined) {
      detach(link);
      closeFd(link);
      this.#pins.drop('pods', String(cookie));
    }
    this.#forget(cookie);
    if (routes === 'go') unrouteSources(new Set([cookie]));
  }

  list(): EnrolledPod[] {
    return this.#entries.cookies().map((cookie) => {
      const link = this.#link(cookie);
      const listeners = ROLES.filter(
        (role) => this.#maps.map('listeners').get(listenerKey(cookie, role)) !== undefined,
      );
      const guardDrops = this.#guards.drops(cookie);
      return {
        cookie,
        ips: this.#entries.get(cookie)?.ips ?? [],
        link: this.#linkState(cookie),
        ...(link?.kind === 'netns' && link.alive ? { netnsInode: link.netnsInode } : {}),
        listeners,
        lacks: [...this.#entries.lacks(cookie), ...incomplete(listeners)],
        use: this.#entries.use(cookie),
        leaving: isLeaving(this.#maps.map('switched_off').get(cookieKey(cookie))),
        ...(guardDrops && { guardDrops }),
      };
    });
  }

  /** @param links all links of the machine */
  problems(links: readonly LinkInfo[]): Problem[] {
    const problems: Problem[] = [];
    for (const pod of this.list()) {
      const subject = `pod ${pod.cookie}`;
      if (pod.link !== 'alive') problems.push({ subject, problem: `its sk_lookup link is ${pod.link}` });
      for (const map of pod.lacks.filter((each) => each !== 'listeners'))
        problems.push({ subject, problem: `its entry in map ${map} is gone: its connections are refused` });
      for (const role of ROLES.filter((role) => !pod.listeners.includes(role))) {
        problems.push({ subject, problem: `it has no ${role} listener: such connections are refused` });
      }
      const lookups = links.filter(
        (link) =>
          link.kind === 'netns' &&
          link.attachType === ATTACH_TYPES.sk_lookup &&
          link.netnsInode === pod.netnsInode,
      );
      if (lookups.length > 1) {
        problems.push({
          subject,
          problem: `${lookups.length} sk_lookup links on its namespace: ${lookups.map((l) => l.id).join(', ')}`,
        });
      }
    }
    problems.push(...this.#guards.problems());
    for (const cookie of this.#strayCookies()) {
      problems.push({ subject: `pod ${cookie}`, problem: 'entries of a pod that is not enrolled' });
    }
    return problems;
  }

  /**
   * Attaches the pod's sk_lookup program, or replaces it where one is attached.
   *
   * @param netnsFd undefined for a pod of a process before this one: then only its link can be taken on
   * @returns false when its namespace went meanwhile, with the link
   */
  #attachLookup(cookie: bigint, entry: PodEntry, netnsFd: number | undefined): boolean {
    return this.#programs.lend('skLookup', this.#maps.layout.encodeSelf(cookie, entry), (program) => {
      const adopted = this.#pins.get('pods', String(cookie));
      if (adopted !== undefined) {
        const replaced = replaceProgram(adopted, program);
        closeFd(adopted);
        if (replaced) return true;
        this.#pins.drop('pods', String(cookie));
      }
      if (netnsFd === undefined) return false;
      const link = attach(program, netnsFd, 'sk_lookup', `the network namespace with cookie ${cookie}`);
      try {
        this.#pins.put('pods', String(cookie), link);
      } finally {
        closeFd(link);
      }
      return true;
    });
  }

  /**
   * Programs of an sk_lookup hook are asked in turn: another's could take our connections, or we another's.
   *
   * @param patienceMs how long to wait for others to go
   */
  #refuseTaken(pod: PodRequest, patienceMs: number): void {
    const own = this.#link(pod.cookie)?.program;
    const others = attachedPrograms(pod.netnsFd, 'sk_lookup').filter((id) => id !== own);
    if (others.length === 0) return;
    if (patienceMs > 0) {
      pause(DYING_STEP_MS);
      this.#refuseTaken(pod, patienceMs - DYING_STEP_MS);
      return;
    }
    const names = others.map((id) => `${programName(id) ?? 'gone'} (id ${id})`).join(', ');
    throw new BpfError(
      'BPF_POD_TAKEN',
      `the network namespace with cookie ${pod.cookie} has other sk_lookup programs: ${names}; ` +
        'it is enrolled with another instance, or another product steers it',
    );
  }

  /** Tells the programs how many records there are: they count their own, not what others add and remove. */
  countRecords(): void {
    const value = buffer(8);
    const records = this.#maps.ofFamily('records').reduce((sum, map) => sum + map.keys().length, 0);
    value.writeBigInt64LE(BigInt(records), 0);
    this.#maps.map('records_held').set(buffer(4), value);
  }

  /** Deletes everything about a namespace but its link. */
  #forget(cookie: bigint): void {
    const listeners = this.#maps.map('listeners');
    for (const role of ROLES) listeners.delete(listenerKey(cookie, role));
    const removed = this.#maps
      .ofFamily('records')
      .flatMap((records) => ofPod(records, cookie).filter((key) => records.delete(key)));
    if (removed.length > 0) this.countRecords();
    this.#maps.map('pod_uses').delete(cookieKey(cookie));
    this.#routes.forget(cookie);
    this.#maps.map('switched_off').delete(cookieKey(cookie));
    this.#maps.map('probe_ports').delete(cookieKey(cookie));
    this.#guards.remove(cookie);
  }

  /** Namespaces that have entries somewhere without being enrolled. */
  #strayCookies(): bigint[] {
    const enrolled = new Set(this.#entries.cookies());
    const named = ['pod_uses', 'listeners', 'records', 'switched_off', 'probe_ports'].flatMap((family) =>
      this.#maps
        .ofFamily(family)
        .flatMap((map) => map.keys().map((key) => key.readBigUInt64LE(0)))
        // Only there it means something; elsewhere nobody of ours wrote it.
        .filter((cookie) => family !== 'switched_off' || !isOfNode(cookie)),
    );
    const routed = this.#maps.map('routes').keys().map(cookieOfRoute);
    const strays = [...named, ...routed].filter((cookie) => !enrolled.has(cookie));
    return [...new Set([...strays, ...this.#guards.strayCookies(enrolled)])];
  }

  #pinnedCookies(): bigint[] {
    return this.#pins.list('pods').map(BigInt);
  }

  #link(cookie: bigint): LinkInfo | undefined {
    const fd = this.#pins.get('pods', String(cookie));
    if (fd === undefined) return undefined;
    try {
      return linkInfo(fd);
    } finally {
      closeFd(fd);
    }
  }

  #linkState(cookie: bigint): EnrolledPod['link'] {
    const link = this.#link(cookie);
    if (!link) return 'missing';
    return link.alive ? 'alive' : 'dead';
  }
}
