/**
 * The programs that each pod has of its own: loaded when it is enrolled, or before. The kernel's check of both takes some
 * 80 ms of processor time, for which a new pod would wait; a spare one only has to be told whose it is.
 */
import { ConstantsMap } from './constants-map.ts';
import type { InstanceMaps } from './instance-maps.ts';
import { buffer, cookieKey, type PodEntry } from './layout.ts';
import { loadObject, programOf, type LoadedObject } from './object.ts';

/** Of each kind: as many pods as a node often starts at once. */
const SPARES = 6;
const NAMES = { skLookup: 'loam_sk_lookup', guard: 'loam_guard' } as const;
type Kind = keyof typeof NAMES;
const KINDS = Object.keys(NAMES) as Kind[];
const NO_POD: PodEntry = {
  generation: 0n,
  ips: [],
  cap: 0,
  portLow: 0,
  portCount: 0,
  deviceV4: 0,
  deviceV6: 0,
};

interface Spare {
  readonly object: LoadedObject;
  readonly constants: ConstantsMap;
}

/** See the top of the file. */
export class PodPrograms implements Disposable {
  readonly #maps: InstanceMaps;
  readonly #spares: Readonly<Record<Kind, Spare[]>> = { skLookup: [], guard: [] };
  /** A kernel that does not take a program whose constants it does not see yet; then they are loaded when they are needed. */
  #cannot = false;

  constructor(maps: InstanceMaps) {
    this.#maps = maps;
  }

  /**
   * Lends a pod's program, a spare one where there is one.
   *
   * @param constants whose it is
   * @param body may attach and pin it; its descriptor is closed afterwards
   * @throws BpfError BPF_VERIFIER and others; whatever body throws
   */
  lend<T>(kind: Kind, constants: Buffer, body: (program: number) => T): T {
    const object = this.#maps.layout.objects[kind];
    using loaded = this.#told(kind, constants) ?? this.#load(kind, constants);
    return body(programOf(loaded, object, NAMES[kind]));
  }

  /**
   * Loads one spare program, which takes this thread some tens of milliseconds.
   *
   * @returns whether there are fewer than there should be
   */
  makeSpare(): boolean {
    const kind = KINDS.find((each) => this.#spares[each].length < SPARES);
    if (kind === undefined || this.#cannot) return false;
    const constants = new ConstantsMap(this.#constantsOfNobody(kind).length);
    try {
      this.#spares[kind].push({ object: this.#load(kind, constants), constants });
      return true;
    } catch {
      constants[Symbol.dispose]();
      this.#cannot = true;
      return false;
    }
  }

  [Symbol.dispose](): void {
    for (const kind of KINDS) this.#spares[kind].splice(0).forEach(drop);
  }

  /** A spare that is this pod's now. */
  #told(kind: Kind, constants: Buffer): LoadedObject | undefined {
    const spare = this.#spares[kind].pop();
    if (spare === undefined) return undefined;
    try {
      spare.constants.fill(constants);
    } catch {
      drop(spare);
      return undefined;
    }
    spare.constants[Symbol.dispose]();
    return spare.object;
  }

  #load(kind: Kind, constants: Buffer | ConstantsMap): LoadedObject {
    const { layout, descriptors } = this.#maps;
    return loadObject({ object: layout.objects[kind], maps: descriptors, constants });
  }

  #constantsOfNobody(kind: Kind): Buffer {
    return kind === 'guard' ? buffer(cookieKey(0n).length) : this.#maps.layout.encodeSelf(0n, NO_POD);
  }
}

function drop({ object, constants }: Spare): void {
  object[Symbol.dispose]();
  constants[Symbol.dispose]();
}
