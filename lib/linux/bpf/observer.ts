/**
 * Observe mode: one sockops program that keeps account of the connections of pods that are observed, and its maps, pinned
 * beside those of redirection. It is there while a pod is observed, and acts on nothing (bpf/observe.bpf.c, decision 0171).
 */
import { check, closeFd, O_CLOEXEC, O_RDONLY, sys } from '../libc.ts';
import type { Fill } from './instance-maps.ts';
import { cookieKey } from './layout.ts';
import { attach, detach, linkInfo, replaceProgram } from './link.ts';
import { BpfMap } from './map.ts';
import { walkConnections } from './observe-walk.ts';
import {
  decodeObservedUse,
  encodeObservedPod,
  OBSERVE_VERSION,
  OBSERVED_CONNECTION_BYTES,
  OBSERVED_POD_BYTES,
  OBSERVED_USE_BYTES,
  type ObservedConnection,
} from './observe-layout.ts';
import { loadObject, programOf, readObject, type LoadedObject, type ObjectFile } from './object.ts';
import type { PinFolder } from './pins.ts';

const OBJECT = 'observe.bpf.o';
const PROGRAM = 'loam_observe';
const LINK = 'link';
const MAPS = {
  observed_pods: OBSERVED_POD_BYTES,
  observed_uses: OBSERVED_USE_BYTES,
  observed_connections: OBSERVED_CONNECTION_BYTES,
} as const;
type ObserveMap = keyof typeof MAPS;
const MAP_NAMES = Object.keys(MAPS) as ObserveMap[];
/** Connections of one pod that are kept account of at a time, open ones and those that were not read yet. */
const POD_CAP = 8192;
/** What is written while a walk begins may be of a moment before. */
const SLACK_NS = 100_000_000n;

/** See the top of the file. Not safe beside another process's; whoever has the pins has the instance's lock. */
export class Observer implements Disposable {
  readonly #pins: PinFolder;
  readonly #switchedOff: number;
  readonly #cgroupPath: string;
  readonly #object: ObjectFile;
  /** Undefined: nothing is in force. */
  #maps: Readonly<Record<ObserveMap, BpfMap>> | undefined;
  #readAt = 0n;

  /**
   * Changes nothing yet.
   *
   * @param switchedOff descriptor of the instance's map of `loam off`, the caller's
   * @throws BpfError BPF_OBJECT
   */
  constructor(pins: PinFolder, switchedOff: number, cgroupPath: string) {
    this.#pins = pins;
    this.#switchedOff = switchedOff;
    this.#cgroupPath = cgroupPath;
    this.#object = readObject(OBJECT);
  }

  /** Whether something of it is in force, of this process or of one before. */
  get inForce(): boolean {
    return this.#maps !== undefined || this.#pins.list('observe').length > 0;
  }

  /**
   * Sees a pod's connections from now on; nothing changes for one that is observed.
   *
   * @returns whether it was not observed before
   * @throws BpfError BPF_VERIFIER, BPF_ATTACH and others: the next call tries again
   */
  observe(cookie: bigint, cap: number = POD_CAP): boolean {
    const { observed_pods: pods, observed_uses: uses } = (this.#maps ??= this.#open());
    uses.addZero(cookieKey(cookie));
    return pods.add(cookieKey(cookie), encodeObservedPod(cap, 0n));
  }

  /** Sees no more of a pod; what it has is taken out at the next {@link read}. @returns whether it was observed */
  forget(cookie: bigint): boolean {
    if (!this.inForce) return false;
    const { observed_pods: pods, observed_uses: uses } = (this.#maps ??= this.#open());
    const was = pods.delete(cookieKey(cookie));
    uses.delete(cookieKey(cookie));
    return was;
  }

  /** The pods that are observed, as the kernel has them. @throws BpfError */
  observed(): bigint[] {
    if (!this.inForce) return [];
    const { observed_pods: pods } = (this.#maps ??= this.#open());
    return pods.keys().map((key) => key.readBigUInt64LE(0));
  }

  /**
   * What changed since the last call, each connection as it is now, and takes out those that are over.
   *
   * @param now ns of the kernel's monotonic clock
   */
  read(now: bigint = process.hrtime.bigint()): ObservedConnection[] {
    if (this.#maps === undefined) return [];
    const { observed_pods: pods, observed_uses: uses, observed_connections: connections } = this.#maps;
    const caps = new Map<bigint, { cap: number; inserted: bigint }>();
    for (const key of pods.keys()) {
      const [pod, use] = [pods.get(key), uses.get(key)];
      if (pod === undefined || use === undefined) continue;
      const { inserted } = decodeObservedUse(use);
      caps.set(key.readBigUInt64LE(0), { cap: Number(pod.readBigUInt64LE(0)), inserted });
    }
    const since = this.#readAt - SLACK_NS;
    this.#readAt = now;
    const { changed, held } = walkConnections(connections.fd, since, (netns) => caps.has(netns));
    for (const [cookie, { cap, inserted }] of caps) {
      const here = BigInt(held.get(cookie) ?? 0);
      pods.set(cookieKey(cookie), encodeObservedPod(cap, inserted > here ? inserted - here : 0n));
    }
    return changed;
  }

  /** Connections of each observed pod that were not kept account of, for lack of room. */
  refused(): Map<bigint, number> {
    const uses = this.#maps?.observed_uses;
    return new Map(
      (uses?.keys() ?? []).flatMap((key) => {
        const use = uses?.get(key);
        return use === undefined ? [] : [[key.readBigUInt64LE(0), decodeObservedUse(use).refused] as const];
      }),
    );
  }

  /** How full the maps are, by name; none while nothing is in force. */
  fill(): Record<string, Fill> {
    const maps = Object.values(this.#maps ?? {});
    return Object.fromEntries(
      maps.map((map) => [map.name, { entries: map.keys().length, capacity: map.capacity() }]),
    );
  }

  /**
   * Puts back what somebody detached or unpinned.
   *
   * @returns what was put back
   */
  repair(): string[] {
    if (this.#maps === undefined) return [];
    const link = this.#pins.get('observe', LINK);
    const alive = link !== undefined && linkInfo(link).alive;
    if (link !== undefined) closeFd(link);
    const pins = new Set(this.#pins.list('observe'));
    if (alive && MAP_NAMES.every((name) => pins.has(pinOf(name)))) return [];
    const maps = this.#maps;
    for (const name of MAP_NAMES)
      if (!pins.has(pinOf(name))) this.#pins.put('observe', pinOf(name), maps[name].fd);
    closeMaps(maps);
    this.#maps = undefined;
    this.#maps = this.#open();
    return ['observe'];
  }

  /** Takes the program and its maps out of the kernel. */
  end(): void {
    closeMaps(this.#maps);
    this.#maps = undefined;
    removeObserver(this.#pins);
  }

  /** Ends this object; what is in force stays. */
  [Symbol.dispose](): void {
    closeMaps(this.#maps);
    this.#maps = undefined;
  }

  /** Loads the program and attaches it, over the maps and in the place of the program that an earlier process left. */
  #open(): Record<ObserveMap, BpfMap> {
    const wanted = new Set<string>([LINK, ...MAP_NAMES.map(pinOf)]);
    this.#pins.prepare();
    for (const name of this.#pins.list('observe')) if (!wanted.has(name)) this.#pins.drop('observe', name);
    const found = new Map<string, number>();
    const fds: number[] = [];
    try {
      for (const name of MAP_NAMES) {
        const fd = this.#pins.get('observe', pinOf(name));
        if (fd === undefined) continue;
        fds.push(fd);
        found.set(name, fd);
      }
      const shared = new Map(found).set('switched_off', this.#switchedOff);
      using loaded = loadObject({ object: this.#object, maps: shared });
      for (const name of MAP_NAMES) {
        const made = loaded.maps.get(name);
        if (!found.has(name) && made !== undefined) this.#pins.put('observe', pinOf(name), made);
      }
      this.#attach(loaded);
      return openMaps(this.#pins);
    } finally {
      fds.forEach(closeFd);
    }
  }

  #attach(loaded: LoadedObject): void {
    const program = programOf(loaded, this.#object, PROGRAM);
    const adopted = this.#pins.get('observe', LINK);
    if (adopted !== undefined) {
      const replaced = replaceProgram(adopted, program);
      closeFd(adopted);
      if (replaced) return;
      this.#pins.drop('observe', LINK);
    }
    const cgroup = check(sys.open(this.#cgroupPath, O_RDONLY | O_CLOEXEC, 0), 'open', this.#cgroupPath);
    try {
      const link = attach(program, cgroup, 'sockops', this.#cgroupPath);
      try {
        this.#pins.put('observe', LINK, link);
      } finally {
        closeFd(link);
      }
    } finally {
      closeFd(cgroup);
    }
  }
}

/** Takes what an observer left out of the kernel, whichever version left it. */
export function removeObserver(pins: PinFolder, shape?: string): void {
  // The program first: its maps are not written any more then.
  const names = pins.list('observe', shape).sort((a, b) => Number(b === LINK) - Number(a === LINK));
  for (const name of names) {
    const fd = pins.get('observe', name, shape);
    if (fd === undefined) continue;
    if (name === LINK) detach(fd);
    closeFd(fd);
    pins.drop('observe', name, shape);
  }
}

function pinOf(name: string): string {
  return `${name}-${OBSERVE_VERSION}`;
}

function openMaps(pins: PinFolder): Record<ObserveMap, BpfMap> {
  const maps: Partial<Record<ObserveMap, BpfMap>> = {};
  for (const name of MAP_NAMES) {
    const fd = pins.get('observe', pinOf(name));
    if (fd === undefined) {
      closeMaps(maps);
      throw new Error(`BPF map ${name} is not pinned`);
    }
    maps[name] = new BpfMap(name, fd, 8, MAPS[name]);
  }
  return maps as Record<ObserveMap, BpfMap>;
}

function closeMaps(maps: Partial<Readonly<Record<ObserveMap, BpfMap>>> | undefined): void {
  for (const { fd } of Object.values(maps ?? {})) closeFd(fd);
}
