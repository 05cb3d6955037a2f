/**
 * `loam off`: which pods of an instance, or whether all of its node, have plain networking for now. The switches are in a
 * pinned map that the programs look into: they act at once, and while agent, ztunnel and controller are away. Whoever can open
 * the pin may turn them, which is root of the node alone (the BPF file system and the instance's folder are root's, mode 0700).
 */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { closeFd } from '../libc.ts';
import { BpfError } from './errors.ts';
import { readPin } from './instance-layout.ts';
import { buffer, cookieKey, decodePod, POD_BYTES, type PodEntry } from './layout.ts';
import { BpfMap, mapSizes } from './map.ts';
import { DEFAULT_BPFFS, openPinned, SHAPE } from './pins.ts';

/** The key that stands for the whole node: OFF_NODE in bpf/off.h. */
const NODE_KEY = 0n;
/** The key that lets plaintext in to all pods of the node: OFF_INBOUND in bpf/off.h. */
const INBOUND_KEY = 0xffff_ffff_ffff_ffffn;
/** In the place of a time: the agent's own switch, of a pod that is on its way out of the mesh. Nobody is told of it as off. */
const LEAVING = 0n;

/** What is off since when. */
export interface SwitchedOff {
  /** Of the whole node; undefined: it is on. */
  readonly node: Date | undefined;
  /** By netns cookie, whether or not the node is off. */
  readonly pods: ReadonlyMap<bigint, Date>;
}

/** Names of the instances that have pins on this machine. */
export function pinnedInstances(bpffs: string = DEFAULT_BPFFS): string[] {
  const folder = join(bpffs, 'loam');
  return existsSync(folder) ? readdirSync(folder) : [];
}

/** Reads the switches of a map. */
export function readSwitches(map: BpfMap): SwitchedOff {
  let node: Date | undefined;
  const pods = new Map<bigint, Date>();
  for (const key of map.keys()) {
    const value = map.get(key);
    if (value === undefined) continue;
    const since = new Date(Number(value.readBigUInt64LE(0)));
    const cookie = key.readBigUInt64LE(0);
    if (isLeaving(value) || cookie === INBOUND_KEY) continue;
    if (cookie === NODE_KEY) node = since;
    else pods.set(cookie, since);
  }
  return { node, pods };
}

/**
 * Gives a pod that leaves the mesh plain networking for what it dials, and for what reaches it otherwise than by HBONE: its
 * peers' tunnels are still taken. A pod that is off already stays so.
 */
export function beginLeaving(map: BpfMap, cookie: bigint): void {
  map.add(cookieKey(cookie), timeValue(LEAVING));
}

/** Takes that back, and nothing that `loam off` did. */
export function endLeaving(map: BpfMap, cookie: bigint): void {
  if (isLeaving(map.get(cookieKey(cookie)))) map.delete(cookieKey(cookie));
}

/** Whether a switch of this key stands for no pod. */
export function isOfNode(key: bigint): boolean {
  return key === NODE_KEY || key === INBOUND_KEY;
}

/** Takes back what {@link OffSwitches.beginNodeLeaving} did, and nothing that `loam off` did. */
export function endNodeLeaving(map: BpfMap): void {
  for (const key of [NODE_KEY, INBOUND_KEY]) endLeaving(map, key);
}

/** Whether a pod is on its way out by the value of its switch. */
export function isLeaving(value: Buffer | undefined): boolean {
  return value?.readBigUInt64LE(0) === LEAVING;
}

function timeValue(time: bigint): Buffer {
  const value = buffer(8);
  value.writeBigUInt64LE(time, 0);
  return value;
}

/** The switches of one instance, opened without its agent. */
export class OffSwitches implements Disposable {
  readonly #switches: BpfMap;
  readonly #pods: BpfMap;

  private constructor(switches: BpfMap, pods: BpfMap) {
    this.#switches = switches;
    this.#pods = pods;
  }

  /**
   * @returns undefined when nothing of this instance is pinned
   * @throws BpfError BPF_LAYOUT when what is pinned is of another version of Loam, whose own command has to be used: of any
   *   other than by the layout of its maps, which the switches do not depend on
   */
  static open(instance: string, bpffs: string = DEFAULT_BPFFS): OffSwitches | undefined {
    const folder = join(bpffs, 'loam', instance);
    if (!existsSync(folder)) return undefined;
    const switches = openNewest(join(folder, SHAPE, 'maps'), 'switched_off');
    const pods = openNewest(join(folder, SHAPE, 'maps'), 'pods');
    if (switches === undefined || pods === undefined) {
      for (const map of [switches, pods]) if (map !== undefined) closeFd(map.fd);
      throw new BpfError('BPF_LAYOUT', `${folder} has no switches in ${SHAPE}`);
    }
    return new OffSwitches(switches, pods);
  }

  read(): SwitchedOff {
    return readSwitches(this.#switches);
  }

  /** Is a pod of this cookie enrolled with this instance? */
  isEnrolled(cookie: bigint): boolean {
    return this.#pods.get(cookieKey(cookie)) !== undefined;
  }

  /** A pod's entry as this version lays it out; undefined: it has none, or one of another layout. */
  entry(cookie: bigint): PodEntry | undefined {
    const value = this.#pods.get(cookieKey(cookie));
    return value?.length === POD_BYTES ? decodePod(value) : undefined;
  }

  /**
   * Plain networking for new connections from now on; those that exist go on as they are.
   *
   * @param cookie of an enrolled pod, or `node`
   * @returns false when it was off already: its time stays
   */
  turnOff(cookie: bigint | 'node', since: Date = new Date()): boolean {
    const key = cookieKey(cookie === 'node' ? NODE_KEY : cookie);
    const value = timeValue(BigInt(since.getTime()));
    if (this.#switches.add(key, value)) return true;
    if (!isLeaving(this.#switches.get(key))) return false;
    this.#switches.set(key, value);
    return true;
  }

  /**
   * The node leaves the mesh for good, in two steps so that no call between nodes fails on the way. First its pods take plaintext,
   * whatever policy says. When those of all nodes do, what they dial goes plain; HBONE of others is still taken. The next agent that
   * starts takes both back.
   */
  beginNodeLeaving(step: 'takes-plaintext' | 'plain'): void {
    beginLeaving(this.#switches, INBOUND_KEY);
    if (step === 'plain') beginLeaving(this.#switches, NODE_KEY);
  }

  /** Back into the mesh. @returns false when it was not off */
  turnOn(cookie: bigint | 'node'): boolean {
    return this.#switches.delete(cookieKey(cookie === 'node' ? NODE_KEY : cookie));
  }

  [Symbol.dispose](): void {
    closeFd(this.#switches.fd);
    closeFd(this.#pods.fd);
  }
}

/** A map in the version that was pinned last. During an upgrade there may be two, which say the same of our keys. */
function openNewest(folder: string, family: string): BpfMap | undefined {
  if (!existsSync(folder)) return undefined;
  const versions = readdirSync(folder).flatMap((pin) => {
    const found = readPin(pin);
    return found?.family === family ? [{ pin, version: found.version }] : [];
  });
  const [newest] = versions.sort((a, b) => b.version - a.version);
  const fd = newest && openPinned(join(folder, newest.pin));
  if (fd === undefined) return undefined;
  const { keyBytes, valueBytes } = mapSizes(fd);
  return new BpfMap(family, fd, keyBytes, valueBytes);
}
