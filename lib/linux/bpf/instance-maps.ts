/** The maps of one instance, opened from their pins or pinned when new. */
import { closeFd } from '../libc.ts';
import {
  ADDRESS_BYTES,
  COUNTERS,
  LISTENER_KEY_BYTES,
  OWN_SOCKET_BYTES,
  POD_BYTES,
  POD_USE_BYTES,
  RECORD_BYTES,
  TUPLE_BYTES,
  buffer,
  type Counter,
} from './layout.ts';
import { GUARD_BYTES, GUARD_DROPS_BYTES } from './guard-layout.ts';
import { libbpf } from './libbpf.ts';
import { BpfMap } from './map.ts';
import type { PinFolder } from './pins.ts';

/** Key and value bytes of each map, as bpf/maps.h has them. Sizes of per-CPU values are of one CPU. */
const SIZES = {
  pods: [8, POD_BYTES],
  pod_uses: [8, POD_USE_BYTES],
  records: [TUPLE_BYTES, RECORD_BYTES],
  // User space reads the cookie of a socket in it, and writes a descriptor.
  listeners: [LISTENER_KEY_BYTES, 8],
  own_sockets: [4, OWN_SOCKET_BYTES],
  dialled: [4, ADDRESS_BYTES],
  original_dst: [4, ADDRESS_BYTES],
  true_peer: [4, ADDRESS_BYTES],
  guards: [8, GUARD_BYTES],
  guard_drops: [8, GUARD_DROPS_BYTES],
  switched_off: [8, 8],
  counters: [4, 8],
} as const;
export type MapName = keyof typeof SIZES;
const MAP_NAMES = Object.keys(SIZES) as MapName[];

/** Owns the descriptors. */
export class InstanceMaps implements Disposable {
  readonly #fds: ReadonlyMap<MapName, number>;

  private constructor(fds: ReadonlyMap<MapName, number>) {
    this.#fds = fds;
  }

  /** Descriptors of those that are pinned already. */
  static pinned(pins: PinFolder, layout?: string): InstanceMaps {
    const fds = new Map<MapName, number>();
    for (const name of MAP_NAMES) {
      const fd = pins.get('maps', name, layout);
      if (fd !== undefined) fds.set(name, fd);
    }
    return new InstanceMaps(fds);
  }

  /** Pins those of a loaded object that were not pinned yet, and opens all. */
  static pinMissing(
    pins: PinFolder,
    present: InstanceMaps,
    loaded: ReadonlyMap<string, number>,
  ): InstanceMaps {
    for (const name of MAP_NAMES) {
      const fd = loaded.get(name);
      if (fd !== undefined && !present.#fds.has(name)) pins.put('maps', name, fd);
    }
    return InstanceMaps.pinned(pins);
  }

  /**
   * Pins those again whose pin somebody removed: the next process would begin with empty ones, all pods switched off.
   *
   * @returns their names
   */
  pinLost(pins: PinFolder): string[] {
    const present = new Set(pins.list('maps'));
    const lost = [...this.#fds].filter(([name]) => !present.has(name));
    for (const [name, fd] of lost) pins.put('maps', name, fd);
    return lost.map(([name]) => name);
  }

  /** Descriptors by name, as the loader takes them. */
  get descriptors(): ReadonlyMap<string, number> {
    return this.#fds;
  }

  /** Are all of this layout here? */
  get complete(): boolean {
    return this.#fds.size === MAP_NAMES.length;
  }

  /** A map. @throws Error when it is not there: the instance was only half made */
  map(name: MapName): BpfMap {
    const fd = this.#fds.get(name);
    if (fd === undefined) throw new Error(`BPF map ${name} is not open`);
    return new BpfMap(name, fd, SIZES[name][0], SIZES[name][1]);
  }

  /** The counters, summed over all CPUs. */
  counters(): Record<Counter, number> {
    return InstanceMaps.countersOf(this.map('counters').fd);
  }

  /** The counters of a map by descriptor. */
  static countersOf(fd: number): Record<Counter, number> {
    const values = new BpfMap('counters', fd, 4, 8 * libbpf().possibleCpus());
    const key = buffer(4);
    const sums = COUNTERS.map((name, i) => {
      key.writeUInt32LE(i, 0);
      const perCpu = values.get(key) ?? buffer(0);
      let sum = 0n;
      for (let at = 0; at < perCpu.length; at += 8) sum += perCpu.readBigUInt64LE(at);
      return [name, Number(sum)] as const;
    });
    return Object.fromEntries(sums) as Record<Counter, number>;
  }

  [Symbol.dispose](): void {
    for (const fd of this.#fds.values()) closeFd(fd);
  }
}
