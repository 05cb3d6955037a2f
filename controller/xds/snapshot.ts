import { createHash } from 'node:crypto';
import type { Principal } from '../auth/principal.ts';
import type { CompiledMesh, CompiledResource } from '../compile/mesh.ts';

export const ADDRESS_TYPE = 'type.googleapis.com/istio.workload.Address';
export const AUTHORIZATION_TYPE = 'type.googleapis.com/istio.security.Authorization';
/** What a waypoint does (proto/loam/waypoint/v1), for waypoints alone. */
export const WAYPOINT_TYPE = 'type.googleapis.com/loam.waypoint.v1.Resource';
/** What the pods of a node may call (proto/loam/egress/v1), for nodes alone. */
export const EGRESS_TYPE = 'type.googleapis.com/loam.egress.v1.Resource';
export const TYPES = [ADDRESS_TYPE, AUTHORIZATION_TYPE, EGRESS_TYPE, WAYPOINT_TYPE] as const;
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

/** The state of the mesh that nodes and waypoints should come to have. */
export interface Snapshot {
  readonly generation: number;
  readonly addresses: TypeSnapshot;
  readonly authorizations: TypeSnapshot;
  /** By node: who may call what there. */
  readonly egress: ReadonlyMap<string, TypeSnapshot>;
  /** By Gateway (`<namespace>/<name>`): what its waypoint gets. */
  readonly waypoints: ReadonlyMap<string, TypeSnapshot>;
}

const EMPTY_TYPE = new TypeSnapshot(new Map());

export const EMPTY_SNAPSHOT: Snapshot = {
  generation: 0,
  addresses: EMPTY_TYPE,
  authorizations: EMPTY_TYPE,
  egress: new Map(),
  waypoints: new Map(),
};

/** What one client may see: a type that is not there is not served to it. */
export interface View {
  readonly generation: number;
  readonly types: ReadonlyMap<TypeUrl, TypeSnapshot>;
}

/**
 * All see the mesh; a node moreover what its own pods may call, and a waypoint what is compiled for its own Gateway, and
 * for no other.
 */
export function viewOf(snapshot: Snapshot, who: Principal): View {
  const { generation, addresses, authorizations, egress, waypoints } = snapshot;
  const types = new Map<TypeUrl, TypeSnapshot>([
    [ADDRESS_TYPE, addresses],
    [AUTHORIZATION_TYPE, authorizations],
  ]);
  if (who.kind === 'node') types.set(EGRESS_TYPE, egress.get(who.node) ?? EMPTY_TYPE);
  if (who.kind === 'gateway') types.set(WAYPOINT_TYPE, waypoints.get(who.gateway) ?? EMPTY_TYPE);
  return { generation, types };
}

/** Gives each resource its version; what is unchanged since `before` is taken over as it is. */
export function makeSnapshot(generation: number, mesh: CompiledMesh, before: Snapshot): Snapshot {
  return {
    generation,
    addresses: version(mesh.addresses, before.addresses),
    authorizations: version(mesh.authorizations, before.authorizations),
    egress: versionEach(mesh.egress.byNode, before.egress),
    waypoints: versionEach(mesh.waypoints, before.waypoints),
  };
}

/** Whether two snapshots that follow each other have the same content. */
export function sameContent(a: Snapshot, b: Snapshot): boolean {
  return (
    a.addresses === b.addresses &&
    a.authorizations === b.authorizations &&
    sameEach(a.egress, b.egress) &&
    sameEach(a.waypoints, b.waypoints)
  );
}

function sameEach(a: ReadonlyMap<string, TypeSnapshot>, b: ReadonlyMap<string, TypeSnapshot>): boolean {
  return a.size === b.size && [...a].every(([who, resources]) => b.get(who) === resources);
}

function versionEach(
  compiled: ReadonlyMap<string, ReadonlyMap<string, CompiledResource>>,
  before: ReadonlyMap<string, TypeSnapshot>,
): Map<string, TypeSnapshot> {
  return new Map(
    [...compiled].map(([who, resources]) => [who, version(resources, before.get(who) ?? EMPTY_TYPE)]),
  );
}

function version(compiled: ReadonlyMap<string, CompiledResource>, before: TypeSnapshot): TypeSnapshot {
  let same = compiled.size === before.resources.size;
  const resources = new Map<string, VersionedResource>();
  for (const [name, resource] of compiled) {
    const old = before.resources.get(name);
    if (
      old !== undefined &&
      (old.bytes === resource.bytes || Buffer.compare(old.bytes, resource.bytes) === 0)
    ) {
      resources.set(name, old);
      continue;
    }
    same = false;
    const hash = createHash('sha256').update(resource.bytes).digest('hex').slice(0, 16);
    resources.set(name, { ...resource, version: hash });
  }
  return same ? before : new TypeSnapshot(resources);
}
