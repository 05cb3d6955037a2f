/** The maps of one instance, opened from their pins or pinned when new. */
import { closeFd } from '../libc.ts';
import { pinOf, type Layout, type MapName } from './instance-layout.ts';
import { COUNTERS, buffer, type Counter } from './layout.ts';
import { libbpf } from './libbpf.ts';
import { BpfMap } from './map.ts';
import type { PinFolder } from './pins.ts';

/** Those that fill up: of a fixed number of entries, for which pods and their connections compete. */
const FILLING: ReadonlySet<string> = new Set<MapName>([
  ...(['pods', 'enrolled', 'pod_uses', 'listeners', 'records', 'routes'] as const),
  ...(['guards', 'guard_drops', 'switched_off', 'probes', 'probe_ports'] as const),
]);

/** How full a map is. */
export interface Fill {
  readonly entries: number;
  readonly capacity: number;
}

/** Owns the descriptors. */
export class InstanceMaps implements Disposable {
  readonly layout: Layout;
  /** By their names in the objects. */
  readonly #fds: ReadonlyMap<string, number>;

  private constructor(layout: Layout, fds: ReadonlyMap<string, number>) {
    this.layout = layout;
    this.#fds = fds;
  }

  /** Descriptors of those that are pinned already, by whichever version of Loam. */
  static pinned(pins: PinFolder, layout: Layout): InstanceMaps {
    const fds = new Map<string, number>();
    for (const [name, map] of Object.entries(layout.maps)) {
      const fd = pins.get('maps', pinOf(name, map));
      if (fd !== undefined) fds.set(name, fd);
    }
    return new InstanceMaps(layout, fds);
  }

  /** Pins those of a loaded object that were not pinned yet, and opens all. */
  static pinMissing(
    pins: PinFolder,
    present: InstanceMaps,
    loaded: ReadonlyMap<string, number>,
  ): InstanceMaps {
    const { layout } = present;
    for (const [name, map] of Object.entries(layout.maps)) {
      const fd = loaded.get(name);
      if (fd !== undefined && !present.#fds.has(name)) pins.put('maps', pinOf(name, map), fd);
    }
    return InstanceMaps.pinned(pins, layout);
  }

  /**
   * Pins those again whose pin somebody removed: the next process would begin with empty ones, all pods switched off.
   *
   * @returns their names
   */
  pinLost(pins: PinFolder): string[] {
    const present = new Set(pins.list('maps'));
    const lost = Object.entries(this.layout.maps).filter(([name, map]) => !present.has(pinOf(name, map)));
    for (const [name, map] of lost) pins.put('maps', pinOf(name, map), this.#fd(name));
    return lost.map(([name]) => name);
  }

  /** Descriptors by name, as the loader takes them. */
  get descriptors(): ReadonlyMap<string, number> {
    return this.#fds;
  }

  /** A map. @throws Error when it is not there: the instance was only half made */
  map(name: MapName): BpfMap {
    return this.#open(name);
  }

  /** A map in all versions that the programs work with. */
  ofFamily(family: string): BpfMap[] {
    return Object.entries(this.layout.maps)
      .filter(([name, map]) => (map.family ?? name) === family)
      .map(([name]) => this.#open(name));
  }

  /** How full the maps are, by name, those of a version before too. */
  fill(): Record<string, Fill> {
    const filling = Object.entries(this.layout.maps).filter(([name, { family = name }]) =>
      FILLING.has(family),
    );
    return Object.fromEntries(
      filling.map(([name]) => {
        const map = this.#open(name);
        return [name, { entries: map.keys().length, capacity: map.capacity() }];
      }),
    );
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

  #open(name: string): BpfMap {
    const map = this.layout.maps[name];
    if (map === undefined) throw new Error(`there is no BPF map ${name}`);
    return new BpfMap(name, this.#fd(name), map.keyBytes, map.valueBytes);
  }

  #fd(name: string): number {
    const fd = this.#fds.get(name);
    if (fd === undefined) throw new Error(`BPF map ${name} is not open`);
    return fd;
  }
}
