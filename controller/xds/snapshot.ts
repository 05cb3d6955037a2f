import { createHash } from 'node:crypto';
import type { CompiledMesh, CompiledResource } from '../compile/mesh.ts';

export const ADDRESS_TYPE = 'type.googleapis.com/istio.workload.Address';
export const AUTHORIZATION_TYPE = 'type.googleapis.com/istio.security.Authorization';
export const TYPES = [ADDRESS_TYPE, AUTHORIZATION_TYPE] as const;
export type TypeUrl = (typeof TYPES)[number];

export interface VersionedResource extends CompiledResource {
  /** From the content alone: equal after a restart and on every replica. */
  readonly version: string;
}

/** All resources of one type. */
export class TypeSnapshot {
  readonly resources: ReadonlyMap<string, VersionedResource>;
  #index: Map<string, string[]> | undefined;

  constructor(resources: ReadonlyMap<string, VersionedResource>) {
    this.resources = resources;
  }

  /**
   * The resources that a name asked for on demand stands for: a resource's own name or "network/ip". With a service come
   * its workloads, since without them it leads nowhere.
   */
  lookUp(name: string): readonly string[] {
    this.#index ??= this.#buildIndex();
    const direct = this.resources.has(name) ? [name] : (this.#index.get(`alias ${name}`) ?? []);
    return direct.flatMap((found) => [found, ...(this.#index?.get(`member ${found}`) ?? [])]);
  }

  #buildIndex(): Map<string, string[]> {
    const index = new Map<string, string[]>();
    const add = (key: string, name: string): void => {
      const names = index.get(key);
      if (names === undefined) index.set(key, [name]);
      else names.push(name);
    };
    for (const { name, aliases, members } of this.resources.values()) {
      for (const alias of aliases) add(`alias ${alias}`, name);
      for (const service of members) add(`member ${service}`, name);
    }
    return index;
  }
}

/** The state of the mesh that nodes should come to have. */
export interface Snapshot {
  readonly generation: number;
  readonly types: Readonly<Record<TypeUrl, TypeSnapshot>>;
}

export const EMPTY_SNAPSHOT: Snapshot = {
  generation: 0,
  types: { [ADDRESS_TYPE]: new TypeSnapshot(new Map()), [AUTHORIZATION_TYPE]: new TypeSnapshot(new Map()) },
};

/** Gives each resource its version; resources unchanged since `before` are taken over as they are. */
export function makeSnapshot(generation: number, mesh: CompiledMesh, before: Snapshot): Snapshot {
  return {
    generation,
    types: {
      [ADDRESS_TYPE]: version(mesh.addresses, before.types[ADDRESS_TYPE]),
      [AUTHORIZATION_TYPE]: version(mesh.authorizations, before.types[AUTHORIZATION_TYPE]),
    },
  };
}

function version(compiled: ReadonlyMap<string, CompiledResource>, before: TypeSnapshot): TypeSnapshot {
  let same = compiled.size === before.resources.size;
  const resources = new Map<string, VersionedResource>();
  for (const [name, resource] of compiled) {
    const old = before.resources.get(name);
    if (old !== undefined && Buffer.compare(old.bytes, resource.bytes) === 0) {
      resources.set(name, old);
      continue;
    }
    same = false;
    const hash = createHash('sha256').update(resource.bytes).digest('hex').slice(0, 16);
    resources.set(name, { ...resource, version: hash });
  }
  return same ? before : new TypeSnapshot(resources);
}
