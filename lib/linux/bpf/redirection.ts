/**
 * One instance of redirection: its programs at the cgroup root and in each enrolled pod, and its maps, all pinned, so
 * that they stay in force without this process and a later one adopts them.
 */
import { statSync } from 'node:fs';
import type { GuardMode } from '../../guard-mode.ts';
import { check, closeFd, O_CLOEXEC, O_RDONLY, sys } from '../libc.ts';
import { cgroup2Root } from './cgroup.ts';
import { BpfError } from './errors.ts';
import { removeGuards, type GuardMethod } from './guard-pins.ts';
import { GuardStore, type GuardRequest, type GuardState } from './guard-store.ts';
import { currentLayout, type Layout } from './instance-layout.ts';
import { InstanceMaps, type Fill } from './instance-maps.ts';
import { cookieKey, encodeKubelet, type Counter, type Kubelet, type ListenerRole } from './layout.ts';
import { allLinks, attach, attachedPrograms, detach, linkInfo, replaceProgram } from './link.ts';
import { endNodeLeaving, OffSwitches, readSwitches, type SwitchedOff } from './off-switches.ts';
import { checkMaps, dropSuperseded, fillFrom, supersededMaps } from './map-versions.ts';
import { loadObject, programOf, type LoadedObject, type ObjectFile } from './object.ts';
import { Observer, removeObserver } from './observer.ts';
import { DEFAULT_BPFFS, PinFolder, SHAPE } from './pins.ts';
import { unrouteSources } from './pod-sources.ts';
import { PodPrograms } from './pod-programs.ts';
import { PodStore, type EnrolledPod, type PodHandle, type PodRequest } from './pod-store.ts';

/** Program and hook of each link at the cgroup root. */
const HOOKS = {
  getpeername4: 'loam_peer4',
  getpeername6: 'loam_peer6',
  sockops: 'loam_sockops',
  connect4: 'loam_connect4',
  connect6: 'loam_connect6',
} as const;
type Hook = keyof typeof HOOKS;
const HOOK_NAMES = Object.keys(HOOKS) as Hook[];

/** How to open an instance. */
export interface OpenOptions {
  /** Name, `[a-z0-9-]{1,32}`; several instances may run on one machine. */
  readonly instance: string;
  /** The cgroup v2 folder to attach at; by default the topmost that this process sees. */
  readonly cgroupPath?: string;
  /** Mount point of the BPF file system, by default /sys/fs/bpf. */
  readonly bpffs?: string;
  /** Where it is missing: `required` refuses it, else it is mounted. */
  readonly bpffsMounted?: 'required' | 'by us';
  /** Where the pods' veths end, and how the guards are attached there; see {@link GuardStore}. */
  readonly guard?: { readonly hostNetnsFd?: number; readonly method?: GuardMethod };
  /** The objects and what they agree on with user space; those of this version by default. */
  readonly layout?: Layout;
}

/** Something that is not as it must be, for the agent to repair and to show. */
export interface Problem {
  /** The hook or, for a pod, its netns cookie. */
  readonly subject: string;
  readonly problem: string;
}

/** What the programs did. */
export interface Stats {
  readonly counters: Readonly<Record<Counter, number>>;
  readonly pods: number;
  /** Connections on their way to a listener at this moment. */
  readonly records: number;
}

/** See the top of the file. One live object for each instance name on a machine. */
export class Redirection {
  readonly #pins: PinFolder;
  readonly #maps: InstanceMaps;
  readonly #cgroupPath: string;
  readonly #guards: GuardStore;
  readonly #programs: PodPrograms;
  readonly #pods: PodStore;
  #closed = false;

  private constructor(
    pins: PinFolder,
    maps: InstanceMaps,
    programs: PodPrograms,
    guards: GuardStore,
    cgroupPath: string,
  ) {
    this.#pins = pins;
    this.#maps = maps;
    this.#cgroupPath = cgroupPath;
    this.#programs = programs;
    this.#guards = guards;
    this.#pods = new PodStore(pins, maps, guards, programs);
  }

  /**
   * Loads and attaches the instance's programs, or adopts what an earlier process of the same instance left in force:
   * its programs are then replaced by this version's without a gap, pods included, and what its maps say is brought over
   * to this version's where they are laid out otherwise. Links of network namespaces that are gone are forgotten.
   *
   * @throws BpfError BPF_INSTANCE_IN_USE, BPF_LAYOUT, BPF_VERIFIER, BPF_ATTACH and others; what was in force stays
   */
  static open(options: OpenOptions): Redirection {
    const cgroupPath = options.cgroupPath ?? cgroup2Root();
    const layout = options.layout ?? currentLayout();
    const pins = PinFolder.open(options.instance, options.bpffs ?? DEFAULT_BPFFS, options.bpffsMounted);
    let maps: InstanceMaps | undefined;
    let guards: GuardStore | undefined;
    try {
      refuseOtherShapes(pins, options.instance);
      const superseded = supersededMaps(pins, options.instance, layout);
      pins.prepare();
      using present = InstanceMaps.pinned(pins, layout);
      checkMaps(layout, present.descriptors);
      const { redirect } = layout.objects;
      using object = loadObject({ object: redirect, maps: present.descriptors });
      checkMaps(layout, object.maps);
      if (superseded.length > 0) tryOut(layout, present);
      maps = InstanceMaps.pinMissing(pins, present, object.maps);
      fillFrom(superseded, pins, maps);
      const programs = new PodPrograms(maps);
      guards = new GuardStore(pins, maps, programs, options.guard ?? {});
      const redirection = new Redirection(pins, maps, programs, guards, cgroupPath);
      // Who reads stands before who writes: sk_lookup and guards, then the hooks in their order.
      redirection.#pods.adopt();
      attachHooks(pins, redirect, object, cgroupPath, HOOK_NAMES);
      redirection.#refuseUnattached();
      redirection.#pods.countRecords();
      dropSuperseded(superseded, pins);
      return redirection;
    } catch (error) {
      guards?.close();
      maps?.[Symbol.dispose]();
      pins.close();
      throw error;
    }
  }

  /** Descriptor of the map that {@link markOwnSocket} writes; valid until {@link close}. To be given to ztunnel. */
  get ownSocketsMapFd(): number {
    return this.#maps.map('own_sockets').fd;
  }

  /** Descriptor of the map that {@link originalDst} reads; valid until {@link close}. To be given to ztunnel. */
  get originalDstMapFd(): number {
    return this.#maps.map('original_dst').fd;
  }

  /**
   * Switches redirection on for a pod: listeners, then the pod's sk_lookup program, then the entry that makes its
   * connections be redirected, and last its guard. For a pod that is enrolled already, everything is made as asked without a gap.
   *
   * @throws BpfError BPF_POD_TAKEN when another instance or program steers this pod; nothing is left behind then
   */
  enrol(pod: PodRequest): PodHandle {
    return this.#pods.enrol(pod);
  }

  /**
   * Loads a program for a pod that is to come, whose enrolment is then quicker: this thread works some tens of milliseconds.
   *
   * @returns whether another call would load another
   */
  makeSpare(): boolean {
    return this.#programs.makeSpare();
  }

  /**
   * Attaches an enrolled pod's guard where it is missing, follows its addresses, or takes the guard away.
   *
   * @returns what stands now; undefined for `none`
   * @throws BpfError BPF_ATTACH and others; the next call tries again
   */
  guard(pod: GuardRequest, mode: GuardMode): GuardState | undefined {
    return this.#pods.guard(pod, mode);
  }

  /**
   * Brings what connect() knows of a pod's IPv6 routes to what the pod has now: without a route it is refused, as
   * without a mesh, so that clients go on to IPv4.
   *
   * @throws BpfError BPF_MAP when there is no room: all that the pod dials is captured then; SystemCallError
   */
  followRoutes(pod: GuardRequest): void {
    this.#pods.followRoutes(pod);
  }

  /** Replaces a pod's listeners, each in one step. What waits in the old ones' backlog must be accepted there. */
  setListeners(pod: PodHandle, listeners: Readonly<Record<ListenerRole, number>>): void {
    this.#pods.setListeners(pod.cookie, listeners);
  }

  /**
   * Begins a pod's way out of the mesh: plain networking for new connections from now on, except that its peers' HBONE is
   * still taken, since they learn of it later. {@link unenrol} ends it.
   */
  leave(pod: Pick<PodHandle, 'cookie'>): void {
    this.#pods.leave(pod.cookie);
  }

  /** Takes {@link leave} back. */
  stay(pod: Pick<PodHandle, 'cookie'>): void {
    this.#pods.stay(pod.cookie);
  }

  /**
   * Switches redirection off for a pod, gone or not, and leaves nothing of it in any map.
   *
   * @param routes `stay`: the routes of the private sources stay, for connections that go on
   */
  unenrol(pod: Pick<PodHandle, 'cookie'>, routes: 'go' | 'stay' = 'go'): void {
    this.#pods.unenrol(pod.cookie, routes);
  }

  /** The pods as the kernel has them. */
  enrolled(): EnrolledPod[] {
    return this.#pods.list();
  }

  /** What is not as it must be. Empty when all is well. */
  verify(): Problem[] {
    return [...this.#hookProblems(), ...this.#pods.problems(allLinks())];
  }

  /**
   * Attaches the hooks whose link somebody detached or unpinned: until then what their pods dial is not redirected.
   * Pins maps whose pin somebody removed.
   *
   * @returns the hooks and maps that were put back
   * @throws BpfError BPF_ATTACH, BPF_PIN and others; the next call tries again
   */
  repair(): string[] {
    this.#pins.ensureInPlace();
    this.#pins.prepare();
    const maps = this.#maps.pinLost(this.#pins);
    const hooks = HOOK_NAMES.filter((hook) => !isLinked(this.#pins, hook));
    if (hooks.length === 0) return maps;
    const { redirect } = this.#maps.layout.objects;
    using object = loadObject({ object: redirect, maps: this.#maps.descriptors });
    attachHooks(this.#pins, redirect, object, this.#cgroupPath, hooks);
    return [...hooks, ...maps];
  }

  /**
   * Whose connections, besides those of the mesh, pass to the applications of enrolled pods: the kubelet's, for its probes.
   * Nobody's: undefined.
   */
  setKubelet(kubelet: Kubelet | undefined): void {
    const map = this.#maps.map('kubelets');
    const wanted = kubelet && cookieKey(kubelet.netns);
    if (kubelet && wanted) map.set(wanted, encodeKubelet(kubelet));
    for (const key of map.keys()) if (!wanted?.equals(key)) map.delete(key);
  }

  /**
   * At which ports of an enrolled pod the kubelet's probes pass; nowhere, before this was said.
   *
   * @param ports at most {@link PROBE_PORTS}
   * @throws BpfError BPF_MAP
   */
  setProbePorts(pod: Pick<PodHandle, 'cookie'>, ports: readonly number[]): void {
    this.#pods.setProbePorts(pod.cookie, ports);
  }

  /** Takes back what a removal did that was begun and not ended, so that its pods are in the mesh again. */
  stayAll(): void {
    endNodeLeaving(this.#maps.map('switched_off'));
  }

  /** What sees the connections of pods that are observed, and does nothing to them. The caller's to close, before this. */
  observer(): Observer {
    return new Observer(this.#pins, this.#maps.map('switched_off').fd, this.#cgroupPath);
  }

  /** What `loam off` switched off: read from the kernel, whoever wrote it. */
  switchedOff(): SwitchedOff {
    return readSwitches(this.#maps.map('switched_off'));
  }

  /** Counters of all programs, and what is under way. */
  stats(): Stats {
    return {
      counters: this.#maps.counters(),
      pods: this.#maps.map('pods').keys().length,
      records: this.#maps.ofFamily('records').reduce((sum, map) => sum + map.keys().length, 0),
    };
  }

  /** How full the maps are, by name. */
  fill(): Readonly<Record<string, Fill>> {
    return this.#maps.fill();
  }

  /** Ends this object and gives up the lock. Everything stays in force. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#programs[Symbol.dispose]();
    this.#guards.close();
    this.#maps[Symbol.dispose]();
    this.#pins.close();
  }

  /**
   * Makes sure that no live process has an instance.
   *
   * @throws BpfError BPF_INSTANCE_IN_USE
   */
  static requireUnused(instance: string, bpffs = DEFAULT_BPFFS): void {
    if (PinFolder.exists(instance, bpffs)) PinFolder.open(instance, bpffs).close();
  }

  /**
   * Prepares a removal: see {@link OffSwitches.beginNodeLeaving}. Nothing happens where nothing is in force, or only what an
   * interrupted removal left.
   *
   * @throws BpfError BPF_INSTANCE_IN_USE while a live process has it
   */
  static beginRemoval(instance: string, step: 'takes-plaintext' | 'plain', bpffs = DEFAULT_BPFFS): void {
    if (!PinFolder.exists(instance, bpffs)) return;
    const pins = PinFolder.open(instance, bpffs);
    try {
      using switches = OffSwitches.open(instance, bpffs);
      switches?.beginNodeLeaving(step);
    } catch (error) {
      if (!(error instanceof BpfError && error.code === 'BPF_LAYOUT')) throw error;
    } finally {
      pins.close();
    }
  }

  /**
   * Detaches and removes everything of an instance, whatever its last process left, of any version.
   *
   * @throws BpfError BPF_INSTANCE_IN_USE while a live process has it
   */
  static remove(instance: string, options: { readonly bpffs?: string } = {}): void {
    const bpffs = options.bpffs ?? DEFAULT_BPFFS;
    if (!PinFolder.exists(instance, bpffs)) return;
    const pins = PinFolder.open(instance, bpffs);
    for (const shape of pins.shapes()) {
      const end = (kind: 'links' | 'pods', name: string): void => {
        const fd = pins.get(kind, name, shape);
        if (fd === undefined) return;
        detach(fd);
        closeFd(fd);
        pins.drop(kind, name, shape);
      };
      removeObserver(pins, shape);
      // Guards would drop what is no longer redirected.
      removeGuards(pins, shape);
      // connect first: from then on nothing is redirected to listeners that are no longer steered to.
      const links = pins.list('links', shape).sort((a, b) => order(a) - order(b));
      for (const name of links) end('links', name);
      const pods = pins.list('pods', shape);
      for (const name of pods) end('pods', name);
      unrouteSources(new Set(pods.map(BigInt)));
    }
    pins.removeAll();
  }

  #refuseUnattached(): void {
    const [first] = this.#hookProblems();
    if (first) throw new BpfError('BPF_ATTACH', `${first.subject}: ${first.problem}`);
  }

  #hookProblems(): Problem[] {
    const cgroupId = statSync(this.#cgroupPath, { bigint: true }).ino;
    return withCgroup(this.#cgroupPath, (cgroup) =>
      HOOK_NAMES.flatMap((hook) => {
        const problem = hookProblem(this.#pins, hook, cgroup, cgroupId);
        return problem === undefined ? [] : [{ subject: hook, problem }];
      }),
    );
  }
}

/** `connect` ends first and begins last. */
function order(hook: string): number {
  return hook.startsWith('connect') ? 0 : 1;
}

function refuseOtherShapes(pins: PinFolder, instance: string): void {
  const other = pins.shapes().filter((shape) => shape !== SHAPE);
  if (other.length === 0) return;
  throw new BpfError(
    'BPF_LAYOUT',
    `instance ${instance} has pins in ${other.join(', ')}, this version of Loam has ${SHAPE}, and does not know the other; ` +
      'run the version that made them, or take the pods off the node, and then what is pinned: agent --cleanup',
  );
}

/** Does the kernel take the other objects as well? Asked before anything that is in force is touched. */
function tryOut({ objects }: Layout, maps: InstanceMaps): void {
  for (const object of [objects.skLookup, objects.guard])
    loadObject({ object, maps: maps.descriptors })[Symbol.dispose]();
}

function isLinked(pins: PinFolder, hook: Hook): boolean {
  const fd = pins.get('links', hook);
  if (fd === undefined) return false;
  try {
    return linkInfo(fd).alive;
  } finally {
    closeFd(fd);
  }
}

/** In the order of HOOKS: what names peers and keeps records stands before anything is redirected. */
function attachHooks(
  pins: PinFolder,
  file: ObjectFile,
  object: LoadedObject,
  cgroupPath: string,
  hooks: readonly Hook[],
): void {
  withCgroup(cgroupPath, (cgroup) => {
    for (const hook of hooks) {
      const program = programOf(object, file, HOOKS[hook]);
      const adopted = pins.get('links', hook);
      if (adopted !== undefined) {
        const replaced = replaceProgram(adopted, program);
        closeFd(adopted);
        if (replaced) continue;
        pins.drop('links', hook);
      }
      const link = attach(program, cgroup, hook, cgroupPath);
      try {
        pins.put('links', hook, link);
      } finally {
        closeFd(link);
      }
    }
  });
}

function hookProblem(pins: PinFolder, hook: Hook, cgroup: number, cgroupId: bigint): string | undefined {
  const fd = pins.get('links', hook);
  if (fd === undefined) return 'its link is not pinned';
  try {
    const info = linkInfo(fd);
    if (info.kind !== 'cgroup' || !info.alive) return 'its link is detached';
    if (info.cgroupId !== cgroupId) return `attached to cgroup ${info.cgroupId}, not to the root ${cgroupId}`;
    const attached = attachedPrograms(cgroup, hook).filter((id) => id === info.program);
    if (attached.length === 0) return `program ${info.program} is not among those that run at the root`;
    return attached.length > 1 ? `program ${info.program} is attached ${attached.length} times` : undefined;
  } finally {
    closeFd(fd);
  }
}

function withCgroup<T>(path: string, body: (fd: number) => T): T {
  const fd = check(sys.open(path, O_RDONLY | O_CLOEXEC, 0), 'open', path);
  try {
    return body(fd);
  } finally {
    closeFd(fd);
  }
}
