import { create } from '@bufbuild/protobuf';
import { AddressSchema } from '../../proto/gen/istio/workload/workload_pb.js';
import { WAYPOINT_CLASS } from '../model/gateway-api.ts';
import { type KubeObject, type Namespace, namespaceOf, type Pod, type Service } from '../model/objects.ts';
import type { Assignments } from '../sources/assignments.ts';
import { compileAuthorization } from './authorization.ts';
import { EgressCompiler, EgressMemo, type EgressPlan } from './egress/compile.ts';
import { group } from './group.ts';
import { nodeAddresses } from './localities.ts';
import type { ResolvedNames } from '../names/resolver.ts';
import { Memo, sameItems } from './memo.ts';
import { type Outcome, Outcomes } from './outcomes.ts';
import { planPeerAuthentication } from './peer-authentication.ts';
import { addPolicy, PodSet, refText } from './pod-set.ts';
import { conditionsAtPods } from './policy-conditions.ts';
import { PodCompiler, PodMemo } from './pods.ts';
import { addAddress, Claims, type CompiledResource, encodeAddress } from './resources.ts';
import {
  compileService,
  serviceAddresses,
  serviceKey,
  servicePending,
  type WaypointLookup,
} from './services.ts';
import {
  compileEntryEndpoints,
  entryConditions,
  EntryIndex,
  entryProblem,
  type EntryService,
  entryServices,
  namesInTurn,
} from './service-entries.ts';
import { type CompiledEndpoint, compileSlice, type EndpointContext, SliceIndex } from './slices.ts';
import { podTelemetry } from './telemetry/pods.ts';
import { TelemetryPlanner } from './telemetry/plan.ts';
import { planWaypoint } from './waypoints/address.ts';
import { compileWaypoints, type WaypointResources } from './waypoints/compile.ts';
import { gatewayConditions } from './waypoints/conditions.ts';
import type { PolicyAtPods } from './waypoints/guard-pod.ts';
import { keyOf, makeWorld, waypointOfService, type World } from './waypoints/world.ts';

export type { Outcome } from './outcomes.ts';
export type { CompiledResource } from './resources.ts';

export interface CompileInput {
  readonly objects: Iterable<KubeObject>;
  readonly assignments: Assignments;
  readonly clusterId: string;
  readonly trustDomain: string;
  readonly rootNamespace: string;
  /** Addresses of the names that ServiceEntries lead to; another map whenever one has changed. */
  readonly names?: ResolvedNames;
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
  /** One of the outcomes, without making all of them. */
  readonly outcomeOf: (key: string) => Outcome | undefined;
  /** By node: the identities (SPIFFE URIs) of the mesh pods that run there. Never that of a waypoint. */
  readonly identities: ReadonlyMap<string, ReadonlySet<string>>;
  /** By Gateway: the identity of its waypoint. */
  readonly waypointIdentities: ReadonlyMap<string, string>;
  /** Those that ServiceEntries lead to. */
  readonly names: ReadonlySet<string>;
}

/** What was encoded by earlier compilations of the same mesh. */
export interface Memos {
  readonly services: Memo<ServiceInput>;
  readonly pods: PodMemo;
  readonly egress: EgressMemo;
}

/** All that goes into the resource of a Service. */
interface ServiceInput {
  readonly service: Service;
  readonly namespace: Namespace | undefined;
  readonly ips: readonly string[];
  /** All that is looked up of Gateways. */
  readonly gateways: string;
}

export function makeMemos(): Memos {
  return {
    services: new Memo<ServiceInput>(
      (a, b) =>
        a.service === b.service &&
        a.namespace === b.namespace &&
        a.gateways === b.gateways &&
        sameItems(a.ips, b.ips),
    ),
    pods: new PodMemo(),
    egress: new EgressMemo(),
  };
}

/** A mesh as it was compiled, with what it takes to change a part of it. */
export interface Build {
  readonly mesh: CompiledMesh;
  readonly world: World;
  readonly addresses: Map<string, CompiledResource>;
  readonly claims: Claims;
  readonly pods: PodSet;
  readonly egress: EgressCompiler;
  readonly telemetry: TelemetryPlanner;
  /** That of `mesh.egress`. */
  readonly egressByNode: Map<string, Map<string, CompiledResource>>;
}

/** What has been compiled so far. */
interface Parts {
  readonly input: CompileInput;
  readonly world: World;
  readonly slices: SliceIndex;
  /** Of ServiceEntries that are in force. */
  readonly entries: EntryService[];
  readonly memos: Memos;
  readonly addresses: Map<string, CompiledResource>;
  readonly authorizations: Map<string, CompiledResource>;
  readonly outcomes: Outcomes;
  readonly claims: Claims;
  readonly gateways: WaypointLookup;
  /** All that can be looked up by `gateways`. */
  readonly gatewaysText: string;
}

/** Compiles the whole mesh. Pure: equal input gives equal bytes, so that an unchanged resource keeps its version. */
export function compileMesh(input: CompileInput): CompiledMesh {
  return buildMesh(input, makeMemos()).mesh;
}

/** Compiles the whole mesh, and encodes what `memos` do not have. */
export function buildMesh(input: CompileInput, memos: Memos): Build {
  const world = makeWorld(group(input.objects), input);
  const outcomes = new Outcomes();
  for (const memo of [memos.services, memos.pods, memos.egress]) memo.begin();
  const parts: Parts = {
    ...{ input, world, memos, outcomes },
    slices: new SliceIndex(world.objects.slices, world.services),
    entries: [],
    addresses: new Map(),
    authorizations: new Map(),
    claims: new Claims(),
    gateways: (key) => {
      const gateway = world.waypoints.get(key)?.gateway;
      return gateway === undefined ? undefined : { labels: gateway.metadata.labels ?? {} };
    },
    gatewaysText: JSON.stringify(
      [...world.waypoints].map(([key, { gateway }]) => [key, gateway.metadata.labels ?? {}]),
    ),
  };
  const policies = world.objects.policies.map((policy) => {
    const compiled = compileAuthorization(policy, input.rootNamespace, (key) => {
      const service = world.services.get(key);
      return service !== undefined && waypointOfService(service, world).state !== 'none';
    });
    const { authorization, pending, message } = compiled;
    outcomes.add(policy, {
      ...(pending === undefined ? { message } : { pending: message }),
      compiledTo: authorization === undefined ? [] : [addPolicy(parts.authorizations, authorization)],
      conditions: conditionsAtPods(compiled),
    });
    return { policy, ...compiled };
  });
  // What is assigned is known to be true, a manifest only claims.
  addGateways(parts);
  addServices(parts);
  addServiceEntries(parts);
  const pods = addPods(parts, policies);
  addEndpoints(parts);
  const telemetry = new TelemetryPlanner(world.objects, input.rootNamespace);
  const waypoints = compileWaypoints(world, outcomes, telemetry);
  const egress = new EgressCompiler(world.objects, input.rootNamespace, memos.egress);
  const plan = egress.compile(pods.placed(), outcomes);
  for (const placed of pods.placed()) {
    telemetry.notePod(placed.pod);
    const resource = podTelemetry(placed, telemetry);
    if (resource !== undefined) plan.byNode.get(placed.node)?.set(resource.name, resource);
  }
  telemetry.report(outcomes);
  const { addresses, authorizations, claims } = parts;
  const mesh: CompiledMesh = {
    addresses,
    authorizations,
    waypoints: waypoints.resources,
    served: waypoints.served,
    egress: plan,
    outcomeOf: (key) => outcomes.of(key),
    get outcomes() {
      return outcomes.all();
    },
    identities: pods.identities,
    waypointIdentities: new Map([...world.waypoints].map(([key, { identity }]) => [key, identity])),
    names: namesInTurn(world.objects.serviceEntries),
  };
  return { mesh, world, addresses, claims, pods, egress, telemetry, egressByNode: plan.byNode };
}

function addGateways({ input, world, addresses, outcomes, claims }: Parts): void {
  for (const gateway of world.objects.gateways) {
    const waypoint = world.waypoints.get(keyOf(gateway));
    const assignment = input.assignments.gateways?.[keyOf(gateway)];
    if (waypoint === undefined) {
      const pending = world.refused.get(keyOf(gateway));
      if (pending !== undefined) {
        outcomes.add(gateway, { pending, conditions: gatewayConditions(pending, false) });
        continue;
      }
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

function addServices({
  input,
  world,
  memos,
  addresses,
  outcomes,
  claims,
  gateways,
  gatewaysText,
}: Parts): void {
  for (const service of [...world.objects.servicesByNamespace.values()].flat()) {
    const ips = serviceAddresses(service, input.assignments);
    const pending = servicePending(service, input.assignments) ?? claims.claim(ips, refText(service));
    if (pending !== undefined) {
      outcomes.add(service, { pending });
      continue;
    }
    const namespace = world.objects.namespaces.get(namespaceOf(service));
    const from = { service, namespace, ips, gateways: gatewaysText };
    const resource = memos.services.get(keyOf(service), from, () => {
      const value = compileService(service, namespace, input.assignments, gateways);
      const address = create(AddressSchema, { type: { case: 'service', value } });
      return encodeAddress(serviceKey(value), address, ips);
    });
    addresses.set(resource.name, resource);
    outcomes.add(service, { compiledTo: [`Address ${resource.name}`] });
  }
}

function addPods(parts: Parts, policies: readonly PolicyAtPods[]): PodSet {
  const { input, world, slices, memos, addresses, authorizations, outcomes, claims } = parts;
  const entries = new EntryIndex(parts.entries, input.names);
  const { gateways, gatewaysText } = parts;
  const { objects } = world;
  const { clusterId, trustDomain, rootNamespace } = input;
  const peers = planPeerAuthentication(objects.peerAuthentications, rootNamespace);
  const compiler = new PodCompiler(
    { clusterId, trustDomain, world, slices, entries, policies, peers, gateways, gatewaysText },
    memos.pods,
  );
  const pods = new PodSet({ clusterId, compiler, addresses, authorizations, outcomes, claims });
  for (const [key, pod] of assignedFirst(objects.pods, input.assignments))
    pods.add(key, pod, input.assignments);
  if (pods.usesStaticStrict) addPolicy(authorizations, peers.staticStrict);
  for (const object of objects.peerAuthentications) {
    const policy = peers.policyOf(object);
    const isSent = policy !== undefined && (policy !== peers.staticStrict || pods.usesStaticStrict);
    const compiledTo = isSent ? [addPolicy(authorizations, policy)] : [];
    outcomes.add(object, {
      message: peers.message(object),
      compiledTo,
      conditions: peers.conditions(object),
    });
  }
  return pods;
}

/** After the Services: what they have is theirs. */
function addServiceEntries({ input, world, entries, addresses, outcomes, claims }: Parts): void {
  for (const entry of world.objects.serviceEntries) {
    const problem = entryProblem(entry);
    const services = problem === undefined ? entryServices(entry) : [];
    const wanted = services.flatMap(({ key, ips }) => [key, ...ips]);
    const taken = services.find(({ key }) => addresses.has(key));
    const conflict =
      taken === undefined
        ? claims.claim(wanted, refText(entry))
        : `its host ${taken.service.hostname} is another object's already`;
    const pending = problem ?? conflict;
    outcomes.add(entry, {
      conditions: entryConditions(entry, input.names, conflict),
      ...(pending !== undefined && { pending }),
    });
    if (pending !== undefined) continue;
    for (const each of services) {
      entries.push(each);
      const address = create(AddressSchema, { type: { case: 'service', value: each.service } });
      addAddress(addresses, each.key, address, each.ips);
      outcomes.add(entry, { compiledTo: [`Address ${each.key}`] });
    }
  }
}

/** After the pods: what has a pod's address is that pod. */
function addEndpoints({ input, world, slices, entries, addresses, outcomes, claims }: Parts): void {
  const served = new Set(slices.served.map(({ slice }) => slice));
  const ofNodes = new Set(world.objects.nodes.flatMap(nodeAddresses));
  for (const slice of world.objects.slices)
    if (!served.has(slice)) outcomes.add(slice, { message: 'of no Service that the mesh carries' });
  const contextOf = (object: KubeObject): EndpointContext => ({
    clusterId: input.clusterId,
    localities: world.localities,
    isPod: (address) => claims.ownerOf(address)?.startsWith('Pod ') === true,
    isOfCluster: (address) =>
      ofNodes.has(address) || /^(?:Pod|Service|Gateway) /.test(claims.ownerOf(address) ?? ''),
    claim: (address) => !ofNodes.has(address) && claims.claim([address], refText(object)) === undefined,
  });
  const add = (object: KubeObject, endpoints: readonly CompiledEndpoint[]): void => {
    for (const { workload, ips } of endpoints) {
      const address = create(AddressSchema, { type: { case: 'workload', value: workload } });
      addAddress(addresses, workload.uid, address, ips, Object.keys(workload.services));
    }
    outcomes.add(object, { compiledTo: endpoints.map(({ workload }) => `Address ${workload.uid}`) });
  };
  for (const each of slices.served) add(each.slice, compileSlice(each, contextOf(each.slice)));
  for (const [entry, services] of Map.groupBy(entries, (each) => each.entry))
    add(entry, compileEntryEndpoints(services, contextOf(entry), input.names));
}

/** An assigned address is known to be true, one in a manifest only claimed: the former are served first. */
function assignedFirst(pods: readonly Pod[], assignments: Assignments): [string, Pod][] {
  const assigned: [string, Pod][] = [];
  const others: [string, Pod][] = [];
  for (const pod of pods) {
    const key = keyOf(pod);
    (Object.hasOwn(assignments.pods, key) ? assigned : others).push([key, pod]);
  }
  return assigned.concat(others);
}
