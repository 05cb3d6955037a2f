/**
 * What an instance's objects and user space have to agree on: the objects, and how each map is laid out. Each map has a
 * version of its own, and is pinned as `<family>-<version>`: so a new version of Loam shares with what is in force the maps
 * that are laid out alike, and only those that are not have to be brought over (docs/decisions/0111).
 */
import {
  decodeGuardDrops,
  encodeGuard,
  GUARD_BYTES,
  GUARD_DROPS_BYTES,
  type GuardDrops,
} from './guard-layout.ts';
import {
  ADDRESS_BYTES,
  decodePod,
  decodePodUse,
  encodePod,
  encodePodUse,
  encodeSelf,
  kindOfRecord,
  KUBELET_BYTES,
  LISTENER_KEY_BYTES,
  OWN_SOCKET_BYTES,
  POD_BYTES,
  POD_USE_BYTES,
  PROBE_BYTES,
  PROBE_KEY_BYTES,
  PROBE_PORTS_BYTES,
  RECORD_BYTES,
  ROUTE_BYTES,
  ROUTE_KEY_BYTES,
  TUPLE_BYTES,
  type PodEntry,
  type PodUse,
} from './layout.ts';
import { readObject, type ObjectFile } from './object.ts';

/** An entry of a map. */
export interface MapEntry {
  readonly key: Buffer;
  readonly value: Buffer;
}

/** A version of a map that an instance may have been left with, and how its entries are said in the present one. */
export interface FormerMap {
  readonly keyBytes: number;
  readonly valueBytes: number;
  /** @returns undefined for an entry that says nothing any more */
  convert(entry: MapEntry): MapEntry | undefined;
}

/** One map of the objects. Sizes of per-CPU values are of one CPU. */
export interface MapLayout {
  /** Which map this is, whatever its version; by default its name in the objects. */
  readonly family?: string;
  /** Counts up with each change of key or value; never used again. */
  readonly version: number;
  readonly keyBytes: number;
  readonly valueBytes: number;
  /** By their versions. */
  readonly former?: Readonly<Record<number, FormerMap>>;
  /** It may begin empty: what another version of it holds is not missed, or the programs read that one as well. */
  readonly fresh?: true;
}

/** Names of the maps that user space works with, as bpf/maps.h has them. */
export type MapName =
  | 'pods'
  | 'enrolled'
  | 'pod_uses'
  | 'records'
  | 'records_held'
  | 'routes'
  | 'listeners'
  | 'own_sockets'
  | 'dialled'
  | 'original_dst'
  | 'true_peer'
  | 'guards'
  | 'guard_drops'
  | 'switched_off'
  | 'kubelets'
  | 'probes'
  | 'probe_ports'
  | 'probing'
  | 'counters';

/** See the top of the file. Keys of all maps that have entries for pods begin with the netns cookie. */
export interface Layout {
  readonly objects: {
    readonly redirect: ObjectFile;
    readonly skLookup: ObjectFile;
    readonly guard: ObjectFile;
  };
  /** By their names in the objects. */
  readonly maps: Readonly<Record<MapName, MapLayout>> & Readonly<Record<string, MapLayout>>;
  encodePod(pod: PodEntry): Buffer;
  decodePod(bytes: Buffer): PodEntry;
  /** The constants of one pod's sk_lookup program. */
  encodeSelf(cookie: bigint, pod: PodEntry): Buffer;
  decodePodUse(bytes: Buffer): PodUse;
  /** @param outstanding by number of the kind */
  encodePodUse(outstanding: readonly number[]): Buffer;
  /** The number of a record's kind. */
  kindOfRecord(bytes: Buffer): number;
  encodeGuard(sources: readonly string[]): Buffer;
  decodeGuardDrops(bytes: Buffer): GuardDrops;
}

/**
 * The maps of this version. Whoever changes one counts its version up, and says under `former` how an entry of each
 * version before is brought over, or lets the programs read both (bpf/stored.h). `pod_uses` counts what is in `records`:
 * they change together.
 */
const MAPS = {
  pods: { version: 1, keyBytes: 8, valueBytes: POD_BYTES },
  enrolled: { version: 1, keyBytes: 8, valueBytes: 8, fresh: true },
  pod_uses: { version: 1, keyBytes: 8, valueBytes: POD_USE_BYTES },
  records: { version: 1, keyBytes: TUPLE_BYTES, valueBytes: RECORD_BYTES },
  // An array of one number, not of a pod's.
  records_held: { version: 1, keyBytes: 4, valueBytes: 8, fresh: true },
  // A longest-prefix map: its keys begin with their number of bits, and then the cookie.
  routes: { version: 1, keyBytes: ROUTE_KEY_BYTES, valueBytes: ROUTE_BYTES, fresh: true },
  // For ever: user space cannot read a socket out of it. It reads its cookie, and writes a descriptor.
  listeners: { version: 1, keyBytes: LISTENER_KEY_BYTES, valueBytes: 8 },
  // For ever, both: ztunnels of other versions work with them. What else they need is a map of another name.
  own_sockets: { version: 1, keyBytes: 4, valueBytes: OWN_SOCKET_BYTES },
  original_dst: { version: 1, keyBytes: 4, valueBytes: ADDRESS_BYTES },
  dialled: { version: 1, keyBytes: 4, valueBytes: ADDRESS_BYTES },
  true_peer: { version: 1, keyBytes: 4, valueBytes: ADDRESS_BYTES },
  guards: { version: 1, keyBytes: 8, valueBytes: GUARD_BYTES },
  guard_drops: { version: 1, keyBytes: 8, valueBytes: GUARD_DROPS_BYTES },
  // For ever: `loam off` of any version works with it, and at any moment.
  switched_off: { version: 1, keyBytes: 8, valueBytes: 8 },
  kubelets: { version: 1, keyBytes: 8, valueBytes: KUBELET_BYTES, fresh: true },
  probes: { version: 1, keyBytes: PROBE_KEY_BYTES, valueBytes: PROBE_BYTES, fresh: true },
  probe_ports: { version: 1, keyBytes: 8, valueBytes: PROBE_PORTS_BYTES, fresh: true },
  probing: { version: 1, keyBytes: 4, valueBytes: 4, fresh: true },
  counters: { version: 3, keyBytes: 4, valueBytes: 8, fresh: true },
} as const satisfies Layout['maps'];

/**
 * The layout of this version, with the objects as they are on disk now: held in memory, so that a running agent goes
 * on when its files are replaced.
 *
 * @param folder of the objects, bpf/ by default
 * @throws BpfError BPF_OBJECT
 */
export function currentLayout(folder?: string): Layout {
  return {
    objects: {
      redirect: readObject('redirect.bpf.o', folder),
      skLookup: readObject('sk_lookup.bpf.o', folder),
      guard: readObject('guard.bpf.o', folder),
    },
    maps: MAPS,
    encodePod,
    decodePod,
    encodeSelf,
    decodePodUse,
    encodePodUse,
    kindOfRecord,
    encodeGuard,
    decodeGuardDrops,
  };
}

/** The pin of a map in an instance's folder. A dot is not allowed in the BPF file system. */
export function pinOf(name: string, { family = name, version }: MapLayout): string {
  return `${family}-${version}`;
}

/** Reads {@link pinOf}; undefined for a name that is none. */
export function readPin(pin: string): { readonly family: string; readonly version: number } | undefined {
  const [, family, version] = /^([a-z_]+)-([0-9]+)$/.exec(pin) ?? [];
  return family === undefined ? undefined : { family, version: Number(version) };
}
