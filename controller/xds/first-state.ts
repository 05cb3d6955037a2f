import type { VersionedResource } from './snapshot.ts';

/** What a resource takes on the wire beside its bytes. */
export const RESOURCE_OVERHEAD_BYTES = 256;
/** gRPC clients accept messages of 4 MiB unless told otherwise; less is encoded and held at once for each client. */
export const MAX_RESPONSE_BYTES = 512 * 1024;
/** After the last use: clients that begin together, as after a controller's start, go on sooner. */
const KEPT_MS = 10_000;

/** As much of a first state as one response holds. */
export interface FirstPart {
  readonly of: FirstState;
  /** The place of the first name that comes after it. */
  readonly to: number;
  readonly upserts: readonly VersionedResource[];
  readonly removed: readonly string[];
  readonly shared: SharedWire;
}

/** What many clients are sent together. */
export interface SharedWire {
  /** As it stands in a response; made when it is sent first (encode.ts). */
  wire?: Uint8Array;
  /** The same compressed, for those who read that. */
  packed?: Uint8Array | 'as it is';
}

/**
 * All resources of a type in the order in which clients that begin are sent them, in parts that are chosen and encoded once for all of
 * them: a controller that starts has a hundred such clients, and each gets megabytes.
 */
export class FirstState {
  readonly names: readonly string[];
  readonly #parts = new Map<number, FirstPart>();
  /** Of each name, where something has changed while parts are kept. */
  #places: Map<string, number> | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(names: readonly string[]) {
    this.names = names;
  }

  /** @param resources as they are now: each of the names, no others */
  partFrom(from: number, resources: ReadonlyMap<string, VersionedResource>): FirstPart {
    this.#timer ??= setTimeout(() => this.#forget(), KEPT_MS).unref();
    this.#timer.refresh();
    const known = this.#parts.get(from);
    if (known !== undefined) return known;
    const upserts: VersionedResource[] = [];
    let bytes = 0;
    let to = from;
    for (; to < this.names.length; to += 1) {
      const resource = resources.get(this.names[to] ?? '');
      if (resource === undefined) throw new Error(`${this.names[to]} is not there`);
      bytes += resource.bytes.length + RESOURCE_OVERHEAD_BYTES;
      if (upserts.length > 0 && bytes > MAX_RESPONSE_BYTES) break;
      upserts.push(resource);
    }
    const part: FirstPart = { of: this, to, upserts, removed: [], shared: {} };
    this.#parts.set(from, part);
    return part;
  }

  /** Some of the resources are others from now on. */
  changed(names: readonly string[]): void {
    if (this.#parts.size === 0) return;
    this.#places ??= new Map(this.names.map((name, at) => [name, at]));
    for (const name of names) {
      const at = this.#places.get(name) ?? -1;
      for (const [from, { to }] of this.#parts) if (from <= at && at < to) this.#parts.delete(from);
    }
  }

  #forget(): void {
    this.#timer = undefined;
    this.#parts.clear();
    this.#places = undefined;
  }
}
