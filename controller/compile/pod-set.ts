import { toBinary } from '@bufbuild/protobuf';
import { type Authorization, AuthorizationSchema } from '../../proto/gen/istio/security/authorization_pb.js';
import { type KubeObject, namespaceOf, type Pod } from '../model/objects.ts';
import { policyName } from './authorization.ts';
import type { PlacedPod } from './egress/compile.ts';
import type { Outcomes } from './outcomes.ts';
import type { CompiledPod, PodCompiler } from './pods.ts';
import type { Claims, CompiledResource } from './resources.ts';
import type { Assignments, PodAssignment } from '../sources/assignments.ts';
import { type Placed, placementOf, workloadUid } from './workloads.ts';

/** What pods are compiled into, together with everything else. */
export interface PodTargets {
  readonly clusterId: string;
  readonly compiler: PodCompiler;
  readonly addresses: Map<string, CompiledResource>;
  readonly authorizations: Map<string, CompiledResource>;
  readonly outcomes: Outcomes;
  readonly claims: Claims;
}

export interface PodEntry {
  readonly pod: Pod;
  /** Where it is, as a kubelet says it. */
  readonly assigned: PodAssignment | undefined;
  /** Absent for a pod that is not in force. */
  readonly compiled?: CompiledPod;
}

/** The pods of a mesh as they are compiled, and all that they add to it: one can be taken out again, or put in another's place. */
export class PodSet {
  readonly #targets: PodTargets;
  readonly #entries = new Map<string, PodEntry>();
  /** By node, then identity: how many pods there have it. */
  readonly #identities = new Map<string, Map<string, number>>();
  readonly #identitySets = new Map<string, Set<string>>();
  #strict = 0;

  constructor(targets: PodTargets) {
    this.#targets = targets;
  }

  /** By node: the identities of the mesh pods that run there. */
  get identities(): ReadonlyMap<string, ReadonlySet<string>> {
    return this.#identitySets;
  }

  /** Whether the policy that forbids plaintext counts for any pod. */
  get usesStaticStrict(): boolean {
    return this.#strict > 0;
  }

  get(key: string): PodEntry | undefined {
    return this.#entries.get(key);
  }

  /** Those that run somewhere in a network of their own. */
  *placed(): Iterable<PlacedPod> {
    for (const { pod, compiled } of this.#entries.values()) {
      const placed = placedPod(pod, compiled);
      if (placed !== undefined) yield placed;
    }
  }

  /** @param key `<namespace>/<name>`, of which there is none in the set */
  add(key: string, pod: Pod, assignments: Assignments): PodEntry {
    const compiled = this.#enter(pod, placementOf(pod, assignments));
    const assigned = assignments.pods[key];
    const entry = { pod, assigned, ...(compiled !== undefined && { compiled }) };
    this.#entries.set(key, entry);
    return entry;
  }

  remove(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    const { outcomes, claims, addresses, compiler } = this.#targets;
    outcomes.forget(entry.pod);
    const { compiled } = entry;
    if (compiled === undefined) return;
    claims.release(compiled.ips);
    addresses.delete(compiled.uid);
    compiler.forget(compiled.uid);
    if (compiled.usesStaticStrict) this.#strict -= 1;
    if (compiled.identity !== undefined) this.#dropIdentity(compiled.node, compiled.identity);
  }

  #enter(pod: Pod, placed: Placed): CompiledPod | undefined {
    const { clusterId, compiler, addresses, authorizations, outcomes, claims } = this.#targets;
    if (placed.state === 'pending') {
      outcomes.add(pod, { pending: placed.reason });
      return undefined;
    }
    const uid = workloadUid(clusterId, namespaceOf(pod), pod.metadata.name);
    // Pods in their node's network share its address: it names none of them.
    const ips = pod.spec.hostNetwork === true ? [] : placed.placement.addresses;
    const pending = addresses.has(uid)
      ? `an instance of a waypoint has its name: ${uid}`
      : claims.claim(ips, refText(pod));
    if (pending !== undefined) {
      outcomes.add(pod, { pending });
      return undefined;
    }
    const compiled = compiler.compile(pod, placed.placement);
    addresses.set(uid, compiled.resource);
    for (const guard of compiled.guards) addPolicy(authorizations, guard);
    for (const note of compiled.notes) outcomes.add(pod, note);
    for (const [object, note] of compiled.notesOfOthers) outcomes.add(object, note);
    if (compiled.usesStaticStrict) this.#strict += 1;
    if (compiled.identity !== undefined) this.#addIdentity(compiled.node, compiled.identity);
    return compiled;
  }

  #addIdentity(node: string, identity: string): void {
    const counts = this.#identities.get(node) ?? new Map<string, number>();
    this.#identities.set(node, counts.set(identity, (counts.get(identity) ?? 0) + 1));
    const set = this.#identitySets.get(node) ?? new Set();
    this.#identitySets.set(node, set.add(identity));
  }

  #dropIdentity(node: string, identity: string): void {
    const counts = this.#identities.get(node);
    const left = (counts?.get(identity) ?? 1) - 1;
    if (left > 0) {
      counts?.set(identity, left);
      return;
    }
    counts?.delete(identity);
    const set = this.#identitySets.get(node);
    set?.delete(identity);
    if (set?.size !== 0) return;
    this.#identities.delete(node);
    this.#identitySets.delete(node);
  }
}

/** Undefined for a pod that is not in force, or is in its node's network. */
export function placedPod(pod: Pod, compiled: CompiledPod | undefined): PlacedPod | undefined {
  if (compiled === undefined || pod.spec.hostNetwork === true) return undefined;
  const { uid, node, inMesh } = compiled;
  return { pod, uid, node, inMesh };
}

export function refText(object: KubeObject): string {
  return `${object.kind} ${namespaceOf(object)}/${object.metadata.name}`;
}

export function addPolicy(resources: Map<string, CompiledResource>, authorization: Authorization): string {
  const name = policyName(authorization);
  const bytes = toBinary(AuthorizationSchema, authorization);
  resources.set(name, { name, bytes, aliases: [], members: [] });
  return `Authorization ${name}`;
}
