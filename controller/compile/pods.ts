import { create } from '@bufbuild/protobuf';
import { AddressSchema } from '../../proto/gen/istio/workload/workload_pb.js';
import type { Authorization } from '../../proto/gen/istio/security/authorization_pb.js';
import { spiffeUri } from '../../lib/spiffe.ts';
import { type KubeObject, type Namespace, namespaceOf, type Pod, type Service } from '../model/objects.ts';
import { isAttached, policyName } from './authorization.ts';
import { Memo, sameItems } from './memo.ts';
import type { Note, Noting } from './outcomes.ts';
import type { PeerAuthenticationPlan } from './peer-authentication.ts';
import { type CompiledResource, encodeAddress } from './resources.ts';
import { ServiceIndex, type WaypointLookup } from './services.ts';
import type { EntryIndex } from './service-entries.ts';
import type { SliceIndex } from './slices.ts';
import { guardPod, type PolicyAtPods } from './waypoints/guard-pod.ts';
import type { World } from './waypoints/world.ts';
import { compileWorkload, identityOf, isMeshPod, type Placement, workloadUid } from './workloads.ts';

/** What all pods are compiled with. */
export interface PodContext {
  readonly clusterId: string;
  readonly trustDomain: string;
  readonly world: World;
  readonly slices: SliceIndex;
  readonly entries: EntryIndex;
  readonly policies: readonly PolicyAtPods[];
  readonly peers: PeerAuthenticationPlan;
  readonly gateways: WaypointLookup;
  /** All that can be looked up by `gateways`. */
  readonly gatewaysText: string;
}

/** What a pod that runs somewhere comes to. Of nothing else's making: who may have its addresses is settled elsewhere. */
export interface CompiledPod {
  readonly uid: string;
  readonly node: string;
  /** Canonical; none for a pod on its node's network, which shares its address. */
  readonly ips: readonly string[];
  readonly inMesh: boolean;
  readonly resource: CompiledResource;
  /** That its node may have a certificate of; undefined for a pod that gets none. */
  readonly identity: string | undefined;
  /** Whether the policy counts that forbids plaintext and is shared by many. */
  readonly usesStaticStrict: boolean;
  /** Policies made for it, which other pods may have, too. */
  readonly guards: readonly Authorization[];
  readonly notes: readonly Note[];
  /** Whether a slice or a ServiceEntry names one of its addresses, and so may be about it. */
  readonly isInSlice: boolean;
  /** What it means for others: its Services and policies. */
  readonly notesOfOthers: readonly (readonly [KubeObject, Note])[];
}

/** All that goes into the resource of a pod. */
interface PodInput {
  readonly pod: Pod;
  readonly placement: Placement;
  readonly namespace: Namespace | undefined;
  readonly services: readonly Service[];
  readonly foreignServices: readonly Service[];
  /** What it serves of ServiceEntries, as text. */
  readonly entries: string;
  readonly locality: string;
  readonly policies: readonly string[];
  /** All that is looked up of Gateways. */
  readonly gateways: string;
}

/** What was encoded for pods. Objects that are the same object are unchanged. */
export class PodMemo extends Memo<PodInput> {
  constructor() {
    super(
      (a, b) =>
        a.pod === b.pod &&
        a.namespace === b.namespace &&
        a.gateways === b.gateways &&
        samePlacement(a.placement, b.placement) &&
        sameItems(a.policies, b.policies) &&
        a.locality === b.locality &&
        a.entries === b.entries &&
        sameItems(a.services, b.services) &&
        sameItems(a.foreignServices, b.foreignServices),
    );
  }
}

function samePlacement(a: Placement, b: Placement): boolean {
  return a.node === b.node && a.ready === b.ready && sameItems(a.addresses, b.addresses);
}

/** Compiles pods one by one; everything that is not of one pod is prepared once. */
export class PodCompiler {
  readonly #context: PodContext;
  readonly #memo: PodMemo;
  readonly #services = new Map<string, ServiceIndex>();
  /** By namespace: the policies that may be attached to a pod there by name, in their order. */
  readonly #attachable = new Map<string, readonly PolicyAtPods[]>();
  readonly #waypointIdentities: ReadonlyMap<string, string>;

  constructor(context: PodContext, memo: PodMemo) {
    this.#context = context;
    this.#memo = memo;
    const { waypoints } = context.world;
    this.#waypointIdentities = new Map([...waypoints.values()].map(({ identity, key }) => [identity, key]));
  }

  compile(pod: Pod, placement: Placement): CompiledPod {
    const { clusterId, trustDomain, world, slices, policies, peers, gateways, gatewaysText } = this.#context;
    const namespaceName = namespaceOf(pod);
    const namespace = world.objects.namespaces.get(namespaceName);
    const uid = workloadUid(clusterId, namespaceName, pod.metadata.name);
    const selecting = this.#servicesOf(namespaceName).selecting(pod);
    const bySlices = slices.membershipOf(pod, placement.addresses, selecting);
    const services = [...selecting, ...bySlices.own];
    const foreignServices = bySlices.foreign;
    const entries = this.#context.entries.membershipsOf(pod, placement.addresses);
    const inMesh = isMeshPod(pod, namespace);
    const attached = this.#attached(pod, services);
    const peer = peers.policyFor(namespaceName, pod.metadata.labels ?? {});
    if (peer !== undefined) attached.push(policyName(peer));
    const notesOfOthers: (readonly [KubeObject, Note])[] = [];
    const others: Noting = { add: (object, note) => void notesOfOthers.push([object, note]) };
    const guards = inMesh ? guardPod(pod, services, policies, world, others) : [];
    attached.push(...guards.map(policyName));
    const names = attached.sort();
    const ips = pod.spec.hostNetwork === true ? [] : placement.addresses;
    const { localities } = world;
    const { region = '', zone = '' } = localities.get(placement.node) ?? {};
    const from = {
      ...{ pod, placement, namespace, services, foreignServices, policies: names },
      locality: `${region}/${zone}`,
      entries: entries.length === 0 ? '' : JSON.stringify(entries),
      gateways: gatewaysText,
    };
    const resource = this.#memo.get(uid, from, () => {
      const context = {
        ...{ clusterId, trustDomain, namespace, services, foreignServices, entries, localities },
        ...{ policies: names, gateways },
      };
      const value = compileWorkload(pod, placement, context);
      const address = create(AddressSchema, { type: { case: 'workload', value } });
      return encodeAddress(uid, address, ips, Object.keys(value.services), placement.node);
    });
    const identity = inMesh ? spiffeUri(identityOf(pod, trustDomain)) : undefined;
    const taken = identity === undefined ? undefined : this.#waypointIdentities.get(identity);
    const notes: Note[] = [{ compiledTo: [`Address ${uid}`] }];
    if (!inMesh) notes.push({ message: 'not in the mesh' });
    // With it the pod could reach what only the waypoint may reach.
    if (taken !== undefined)
      notes.push({ pending: `gets no certificate: ${identity} is the identity of Gateway ${taken}` });
    return {
      ...{ uid, node: placement.node, ips, inMesh, resource, guards, notes, notesOfOthers },
      isInSlice: placement.addresses.some(
        (address) => slices.names(address) || this.#context.entries.names(address),
      ),
      identity: taken === undefined ? identity : undefined,
      usesStaticStrict: peer !== undefined && peer === peers.staticStrict,
    };
  }

  /** A pod is gone. */
  forget(uid: string): void {
    this.#memo.forget(uid);
  }

  #servicesOf(namespace: string): ServiceIndex {
    let index = this.#services.get(namespace);
    if (index === undefined) {
      index = new ServiceIndex(this.#context.world.objects.servicesByNamespace.get(namespace) ?? []);
      this.#services.set(namespace, index);
    }
    return index;
  }

  #attached(pod: Pod, services: readonly Service[]): string[] {
    const namespace = namespaceOf(pod);
    let policies = this.#attachable.get(namespace);
    if (policies === undefined) {
      policies = this.#context.policies.filter(
        ({ authorization, attachment }) =>
          authorization !== undefined &&
          attachment.by !== 'scope' &&
          (attachment.namespace ?? namespace) === namespace,
      );
      this.#attachable.set(namespace, policies);
    }
    if (policies.length === 0) return [];
    const names = new Set(services.map(({ metadata }) => metadata.name));
    return policies.flatMap(({ authorization, attachment }) =>
      authorization !== undefined && isAttached(attachment, namespace, pod.metadata.labels ?? {}, names)
        ? [policyName(authorization)]
        : [],
    );
  }
}
