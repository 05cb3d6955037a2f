import { createHash } from 'node:crypto';
import type { Principal } from '../auth/principal.ts';
import { FirstState } from './first-state.ts';
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
  /** As it stands in a response; made when it is sent first (encode.ts). */
  wire?: Uint8Array;
}

/** What a type's resources differ in from the state before. */
export interface TypeChanges {
  /** The serial of the state before. */
  readonly since: number;
  /** Names of all resources that came, changed or went. */
  readonly names: readonly string[];
  /** Those of them that came. */
  readonly added: ReadonlySet<string>;
}

let lastSerial = 0;

/**
 * All resources of one type at one moment. A state that was made from another by {@link patched} has taken over its resources:
 * the former is not to be looked at any more.
 */
export class TypeSnapshot {
  /** Of no other state. */
  readonly serial = (lastSerial += 1);
  readonly resources: ReadonlyMap<string, VersionedResource>;
  readonly changes: TypeChanges | undefined;
  #first: FirstState | undefined;
  #index: ResourceIndex | undefined;

  constructor(resources: ReadonlyMap<string, VersionedResource>, changes?: TypeChanges) {
    this.resources = resources;
    this.changes = changes;
  }

  /** Names of all resources, the same list for all who ask. */
  get names(): readonly string[] {
    return this.first.names;
  }

  /** What clients that have nothing begin with. */
  get first(): FirstState {
    this.#first ??= new FirstState([...this.resources.keys()]);
    return this.#first;
  }

  /**
   * The resources that a name asked for on demand stands for: a resource's own name or "network/ip". With a service come
   * its workloads, since without them it leads nowhere.
   */
  lookUp(name: string): readonly string[] {
    this.#index ??= new ResourceIndex(this.resources.values());
    const direct = this.resources.has(name) ? [name] : this.#index.named(name);
    return direct.flatMap((found) => [found, ...(this.#index?.membersOf(found) ?? [])]);
  }

  /** The pods of a node. */
  ofNode(node: string): readonly string[] {
    this.#index ??= new ResourceIndex(this.resources.values());
    return this.#index.ofNode(node);
  }

  /**
   * The state in which some resources are others, or gone (undefined); itself where nothing of that is new. Costs what the
   * changes cost, whatever the size of the whole.
   */
  patched(changes: ReadonlyMap<string, CompiledResource | undefined>): TypeSnapshot {
    // The empty state is the first one of several types.
    const resources =
      this.resources.size === 0
        ? new Map<string, VersionedResource>()
        : (this.resources as Map<string, VersionedResource>);
    const names: string[] = [];
    const added = new Set<string>();
    let removed = false;
    for (const [name, resource] of changes) {
      const old = resources.get(name);
      if (resource === undefined ? old === undefined : old !== undefined && sameBytes(old, resource))
        continue;
      names.push(name);
      if (old !== undefined) this.#index?.remove(old);
      if (resource === undefined) {
        resources.delete(name);
        removed = true;
        continue;
      }
      if (old === undefined) added.add(name);
      const versioned = withVersion(resource);
      resources.set(name, versioned);
      this.#index?.add(versioned);
    }
    if (names.length === 0) return this;
    const next = new TypeSnapshot(resources, { since: this.serial, names, added });
    // Where none came and none went, who begins goes on in the same order.
    if (added.size === 0 && !removed) {
      this.#first?.changed(names);
      next.#first = this.#first;
    }
    next.#index = this.#index;
    this.#index = undefined;
    return next;
  }
}

/** Finds resources by what else they are called than by their names. */
class ResourceIndex {
  readonly #byAlias = new Map<string, string[]>();
  readonly #members = new Map<string, string[]>();
  readonly #byNode = new Map<string, string[]>();

  constructor(resources: Iterable<VersionedResource>) {
    for (const resource of resources) this.add(resource);
  }

  named(alias: string): readonly string[] {
    return this.#byAlias.get(alias) ?? [];
  }

  membersOf(service: string): readonly string[] {
    return this.#members.get(service) ?? [];
  }

  ofNode(node: string): readonly string[] {
    return this.#byNode.get(node) ?? [];
  }

  add({ name, aliases, members, node }: VersionedResource): void {
    if (node !== undefined) addTo(this.#byNode, node, name);
    for (const alias of aliases) addTo(this.#byAlias, alias, name);
    for (const service of members) addTo(this.#members, service, name);
  }

  remove({ name, aliases, members, node }: VersionedResource): void {
    if (node !== undefined) dropFrom(this.#byNode, node, name);
    for (const alias of aliases) dropFrom(this.#byAlias, alias, name);
    for (const service of members) dropFrom(this.#members, service, name);
  }
}

function addTo(index: Map<string, string[]>, key: string, name: string): void {
  const names = index.get(key);
  if (names === undefined) index.set(key, [name]);
  else names.push(name);
}

function dropFrom(index: Map<string, string[]>, key: string, name: string): void {
  const rest = (index.get(key) ?? []).filter((each) => each !== name);
  if (rest.length === 0) index.delete(key);
  else index.set(key, rest);
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
  /** The client's own, of whose pods it is told without asking. */
  readonly node?: string;
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
  return { generation, types, ...(who.kind === 'node' && { node: who.node }) };
}

/** The parts of a mesh that may differ from the state before, by resource name; undefined: it is gone. */
export interface MeshPatch {
  readonly addresses: ReadonlyMap<string, CompiledResource | undefined>;
  /** By node. */
  readonly egress: ReadonlyMap<string, ReadonlyMap<string, CompiledResource | undefined>>;
}

/** The state that follows when only a part of the mesh was compiled anew; `before` is not to be looked at any more. */
export function patchSnapshot(generation: number, before: Snapshot, patch: MeshPatch): Snapshot {
  const egress = new Map(before.egress);
  for (const [node, changes] of patch.egress) {
    const next = (egress.get(node) ?? new TypeSnapshot(new Map())).patched(changes);
    if (next.resources.size === 0) egress.delete(node);
    else egress.set(node, next);
  }
  return { ...before, generation, addresses: before.addresses.patched(patch.addresses), egress };
}

/** Gives each resource its version; what is unchanged since `before` is taken over as it is. */
export function makeSnapshot(
  generation: number,
  mesh: Pick<CompiledMesh, 'addresses' | 'authorizations' | 'egress' | 'waypoints'>,
  before: Snapshot,
): Snapshot {
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
  const resources = new Map<string, VersionedResource>();
  const names: string[] = [];
  const added = new Set<string>();
  for (const [name, resource] of compiled) {
    const old = before.resources.get(name);
    if (old !== undefined && sameBytes(old, resource)) {
      resources.set(name, old);
      continue;
    }
    names.push(name);
    if (old === undefined) added.add(name);
    resources.set(name, withVersion(resource));
  }
  for (const name of before.resources.keys()) if (!compiled.has(name)) names.push(name);
  if (names.length === 0) return before;
  return new TypeSnapshot(resources, { since: before.serial, names, added });
}

function sameBytes(a: CompiledResource, b: CompiledResource): boolean {
  return a.bytes === b.bytes || Buffer.compare(a.bytes, b.bytes) === 0;
}

function withVersion(resource: CompiledResource): VersionedResource {
  const version = createHash('sha256').update(resource.bytes).digest('hex').slice(0, 16);
  return { ...resource, version };
}
