import { create, toBinary } from '@bufbuild/protobuf';
import { type Authorization, AuthorizationSchema } from '../../proto/gen/istio/security/authorization_pb.js';
import { AddressSchema } from '../../proto/gen/istio/workload/workload_pb.js';
import { spiffeUri } from '../../lib/spiffe.ts';
import { WAYPOINT_CLASS } from '../model/gateway-api.ts';
import { type KubeObject, namespaceOf, type Pod, type Service } from '../model/objects.ts';
import type { Assignments } from '../sources/assignments.ts';
import { compileAuthorization, type CompiledPolicy, isAttached, policyName } from './authorization.ts';
import { compileEgress, type EgressPlan, type PlacedPod } from './egress/compile.ts';
import { group } from './group.ts';
import { type Outcome, Outcomes } from './outcomes.ts';
import { planPeerAuthentication } from './peer-authentication.ts';
import { conditionsAtPods } from './policy-conditions.ts';
import { nodeAddresses } from './localities.ts';
import { addAddress, Claims, type CompiledResource } from './resources.ts';
import { compileSlice, SliceIndex } from './slices.ts';
import {
  compileService,
  serviceAddresses,
  serviceKey,
  servicePending,
  type WaypointLookup,
} from './services.ts';
import { planWaypoint } from './waypoints/address.ts';
import { compileWaypoints, type WaypointResources } from './waypoints/compile.ts';
import { gatewayConditions } from './waypoints/conditions.ts';
import { guardPod, type PolicyAtPods } from './waypoints/guard-pod.ts';
import { keyOf, makeWorld, waypointOfService, type World } from './waypoints/world.ts';
import {
  compileWorkload,
  identityOf,
  isMeshPod,
  placementOf,
  selectingServices,
  workloadUid,
} from './workloads.ts';

export type { Outcome } from './outcomes.ts';
export type { CompiledResource } from './resources.ts';

export interface CompileInput {
  readonly objects: Iterable<KubeObject>;
  readonly assignments: Assignments;
  readonly clusterId: string;
  readonly trustDomain: string;
  readonly rootNamespace: string;
  /** What the keys of sessions at waypoints are derived from; absent: each instance has a key of its own. */
  readonly sessionSecret?: Uint8Array;
}

export interface CompiledMesh {
  readonly addresses: ReadonlyMap<string, CompiledResource>;
  readonly authorizations: ReadonlyMap<string, CompiledResource>;
  /** What each waypoint gets, by `<namespace>/<name>` of its Gateway. */
  readonly waypoints: WaypointResources;
  /** By Gateway: the Services that its waypoint stands before. */
  readonly served: ReadonlyMap<string, readonly Service[]>;
  /** Who may call what, by node. */
  readonly egress: EgressPlan;
  readonly outcomes: ReadonlyMap<string, Outcome>;
  /** By node: the identities (SPIFFE URIs) of the mesh pods that run there. Never that of a waypoint. */
  readonly identities: ReadonlyMap<string, ReadonlySet<string>>;
  /** By Gateway: the identity of its waypoint. */
  readonly waypointIdentities: ReadonlyMap<string, string>;
}

/** What has been compiled so far. */
interface Build {
  readonly input: CompileInput;
  readonly world: World;
  readonly slices: SliceIndex;
  readonly addresses: Map<string, CompiledResource>;
  readonly authorizations: Map<string, CompiledResource>;
  readonly identities: Map<string, Set<string>>;
  readonly outcomes: Outcomes;
  readonly claims: Claims;
  readonly gateways: WaypointLookup;
}

/** Compiles the whole mesh. Pure: equal input gives equal bytes, so that an unchanged resource keeps its version. */
export function compileMesh(input: CompileInput): CompiledMesh {
  const world = makeWorld(group(input.objects), input);
  const build: Build = {
    input,
    world,
    slices: new SliceIndex(world.objects.slices, world.services),
    addresses: new Map(),
    authorizations: new Map(),
    identities: new Map(),
    outcomes: new Outcomes(),
    claims: new Claims(),
    gateways: (key) => {
      const gateway = world.waypoints.get(key)?.gateway;
      return gateway === undefined ? undefined : { labels: gateway.metadata.labels ?? {} };
    },
  };
  const policies = world.objects.policies.map((policy) => {
    const compiled = compileAuthorization(policy, input.rootNamespace, (key) => {
      const service = world.services.get(key);
      return service !== undefined && waypointOfService(service, world).state !== 'none';
    });
    const { authorization, pending, message } = compiled;
    build.outcomes.add(policy, {
      ...(pending === undefined ? { message } : { pending: message }),
      compiledTo: authorization === undefined ? [] : [addPolicy(build.authorizations, authorization)],
      conditions: conditionsAtPods(compiled),
    });
    return { policy, ...compiled };
  });
  // What is assigned is known to be true, a manifest only claims.
  addGateways(build);
  addServices(build);
  const pods = addPods(build, policies);
  addSlices(build);
  const waypoints = compileWaypoints(world, build.outcomes);
  const egress = compileEgress(world.objects, pods, input.rootNamespace, build.outcomes);
  return {
    addresses: build.addresses,
    authorizations: build.authorizations,
    waypoints: waypoints.resources,
    served: waypoints.served,
    egress,
    outcomes: build.outcomes.all(),
    identities: build.identities,
    waypointIdentities: new Map([...world.waypoints].map(([key, { identity }]) => [key, identity])),
  };
}

function addGateways({ input, world, addresses, outcomes, claims }: Build): void {
  for (const gateway of world.objects.gateways) {
    const waypoint = world.waypoints.get(keyOf(gateway));
    const assignment = input.assignments.gateways?.[keyOf(gateway)];
    if (waypoint === undefined) {
      const { gatewayClassName } = gateway.spec;
      outcomes.add(gateway, {
        message: `not Loam's: its class is ${gatewayClassName}, not ${WAYPOINT_CLASS}`,
      });
      continue;
    }
    const planned = planWaypoint(waypoint, assignment, world, input);
    const pending =
      planned.pending ??
      claims.claim(
        planned.resources.flatMap(({ ips }) => ips),
        refText(gateway),
      );
    const compiledTo = pending === undefined ? planned.resources.map(({ name }) => `Address ${name}`) : [];
    outcomes.add(gateway, {
      ...(pending === undefined ? {} : { pending }),
      compiledTo,
      conditions: gatewayConditions(pending, planned.ready),
    });
    if (pending !== undefined) continue;
    for (const { name, address, ips, members } of planned.resources)
      addAddress(addresses, name, address, ips, members);
  }
}

function addServices({ input, world, addresses, outcomes, claims, gateways }: Build): void {
  for (const service of [...world.objects.servicesByNamespace.values()].flat()) {
    const ips = serviceAddresses(service, input.assignments);
    const pending = servicePending(service, input.assignments) ?? claims.claim(ips, refText(service));
    if (pending !== undefined) {
      outcomes.add(service, { pending });
      continue;
    }
    const namespace = world.objects.namespaces.get(namespaceOf(service));
    const compiled = compileService(service, namespace, input.assignments, gateways);
    const name = serviceKey(compiled);
    addAddress(addresses, name, create(AddressSchema, { type: { case: 'service', value: compiled } }), ips);
    outcomes.add(service, { compiledTo: [`Address ${name}`] });
  }
}

/** @returns those that run somewhere in a network of their own */
function addPods(build: Build, policies: readonly PolicyAtPods[]): PlacedPod[] {
  const { input, world, slices, addresses, authorizations, identities, outcomes, claims, gateways } = build;
  const { objects } = world;
  const peers = planPeerAuthentication(objects.peerAuthentications, input.rootNamespace);
  const waypointIdentities = new Map([...world.waypoints.values()].map((each) => [each.identity, each.key]));
  const placedPods: PlacedPod[] = [];
  let usesStaticStrict = false;
  for (const { pod, placed } of assignedFirst(objects.pods, input.assignments)) {
    if (placed.state === 'pending') {
      outcomes.add(pod, { pending: placed.reason });
      continue;
    }
    const { placement } = placed;
    // Pods in their node's network share its address: it names none of them.
    const ips = pod.spec.hostNetwork === true ? [] : placement.addresses;
    const namespaceName = namespaceOf(pod);
    const uid = workloadUid(input.clusterId, namespaceName, pod.metadata.name);
    const pending = addresses.has(uid)
      ? `an instance of a waypoint has its name: ${uid}`
      : claims.claim(ips, refText(pod));
    if (pending !== undefined) {
      outcomes.add(pod, { pending });
      continue;
    }
    const namespace = objects.namespaces.get(namespaceName);
    const selecting = selectingServices(pod, objects.servicesByNamespace.get(namespaceName) ?? []);
    const bySlices = slices.membershipOf(pod, placement.addresses, selecting);
    const services = [...selecting, ...bySlices.own];
    const attached = attachedPolicies(pod, services, policies);
    const peer = peers.policyFor(namespaceName, pod.metadata.labels ?? {});
    if (peer !== undefined) attached.push(policyName(peer));
    usesStaticStrict ||= peer === peers.staticStrict;
    if (isMeshPod(pod, namespace)) {
      for (const guard of guardPod(pod, services, policies, world, outcomes)) {
        addPolicy(authorizations, guard);
        attached.push(policyName(guard));
      }
    }
    const context = {
      ...{ ...input, namespace, services, policies: attached.sort(), gateways },
      foreignServices: bySlices.foreign,
      localities: world.localities,
    };
    const workload = compileWorkload(pod, placement, context);
    const address = create(AddressSchema, { type: { case: 'workload', value: workload } });
    addAddress(addresses, workload.uid, address, ips, Object.keys(workload.services));
    outcomes.add(pod, { compiledTo: [`Address ${workload.uid}`] });
    if (pod.spec.hostNetwork !== true)
      placedPods.push({ pod, uid, node: placement.node, inMesh: isMeshPod(pod, namespace) });
    if (!isMeshPod(pod, namespace)) {
      outcomes.add(pod, { message: 'not in the mesh' });
      continue;
    }
    const identity = spiffeUri(identityOf(pod, input.trustDomain));
    const taken = waypointIdentities.get(identity);
    if (taken !== undefined) {
      // With it the pod could reach what only the waypoint may reach.
      outcomes.add(pod, { pending: `gets no certificate: ${identity} is the identity of Gateway ${taken}` });
      continue;
    }
    const own = identities.get(placement.node) ?? new Set<string>();
    identities.set(placement.node, own.add(identity));
  }
  if (usesStaticStrict) addPolicy(authorizations, peers.staticStrict);
  for (const object of objects.peerAuthentications) {
    const policy = peers.policyOf(object);
    const isSent = policy !== undefined && (policy !== peers.staticStrict || usesStaticStrict);
    const compiledTo = isSent ? [addPolicy(authorizations, policy)] : [];
    outcomes.add(object, {
      message: peers.message(object),
      compiledTo,
      conditions: peers.conditions(object),
    });
  }
  return placedPods;
}

/** After the pods: what has a pod's address is that pod. */
function addSlices({ input, world, slices, addresses, outcomes, claims }: Build): void {
  const served = new Set(slices.served.map(({ slice }) => slice));
  const ofNodes = new Set(world.objects.nodes.flatMap(nodeAddresses));
  for (const slice of world.objects.slices)
    if (!served.has(slice)) outcomes.add(slice, { message: 'of no Service that the mesh carries' });
  for (const each of slices.served) {
    const endpoints = compileSlice(each, {
      clusterId: input.clusterId,
      localities: world.localities,
      isPod: (address) => claims.ownerOf(address)?.startsWith('Pod ') === true,
      claim: (address) => !ofNodes.has(address) && claims.claim([address], refText(each.slice)) === undefined,
    });
    for (const { workload, ips } of endpoints) {
      const address = create(AddressSchema, { type: { case: 'workload', value: workload } });
      addAddress(addresses, workload.uid, address, ips, Object.keys(workload.services));
    }
    outcomes.add(each.slice, { compiledTo: endpoints.map(({ workload }) => `Address ${workload.uid}`) });
  }
}

function refText(object: KubeObject): string {
  return `${object.kind} ${namespaceOf(object)}/${object.metadata.name}`;
}

/** An assigned address is known to be true, one in a manifest only claimed: the former are served first. */
function assignedFirst(
  pods: readonly Pod[],
  assignments: Assignments,
): { pod: Pod; placed: ReturnType<typeof placementOf> }[] {
  const isAssigned = (pod: Pod): boolean =>
    Object.hasOwn(assignments.pods, `${namespaceOf(pod)}/${pod.metadata.name}`);
  return [...pods.filter(isAssigned), ...pods.filter((pod) => !isAssigned(pod))].map((pod) => ({
    pod,
    placed: placementOf(pod, assignments),
  }));
}

function attachedPolicies(
  pod: Pod,
  services: readonly Service[],
  policies: readonly CompiledPolicy[],
): string[] {
  const names = new Set(services.map(({ metadata }) => metadata.name));
  return policies.flatMap(({ authorization, attachment }) =>
    authorization !== undefined && isAttached(attachment, namespaceOf(pod), pod.metadata.labels ?? {}, names)
      ? [policyName(authorization)]
      : [],
  );
}

function addPolicy(resources: Map<string, CompiledResource>, authorization: Authorization): string {
  const name = policyName(authorization);
  resources.set(name, {
    name,
    bytes: toBinary(AuthorizationSchema, authorization),
    aliases: [],
    members: [],
  });
  return `Authorization ${name}`;
}
