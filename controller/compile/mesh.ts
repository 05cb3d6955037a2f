import { create, type DescMessage, type MessageShape, toBinary } from '@bufbuild/protobuf';
import { type Authorization, AuthorizationSchema } from '../../proto/gen/istio/security/authorization_pb.js';
import { type Address, AddressSchema, type Workload } from '../../proto/gen/istio/workload/workload_pb.js';
import { spiffeUri } from '../../lib/spiffe.ts';
import {
  type KubeObject,
  namespaceOf,
  type Namespace,
  objectKey,
  type Pod,
  refOf,
  type Service,
} from '../model/objects.ts';
import type { AuthorizationPolicy, PeerAuthentication } from '../model/objects.ts';
import type { Assignments } from '../sources/assignments.ts';
import { canonicalAddress } from './addresses.ts';
import { compileAuthorization, type CompiledPolicy, isAttached, policyName } from './authorization.ts';
import { planPeerAuthentication } from './peer-authentication.ts';
import { compileService, serviceAddresses, serviceKey, servicePending } from './services.ts';
import {
  compileWorkload,
  identityOf,
  isMeshPod,
  placementOf,
  type Placement,
  selectingServices,
} from './workloads.ts';

export interface CompileInput {
  readonly objects: Iterable<KubeObject>;
  readonly assignments: Assignments;
  readonly clusterId: string;
  readonly trustDomain: string;
  readonly rootNamespace: string;
}

/** One resource for the wire. */
export interface CompiledResource {
  readonly name: string;
  readonly bytes: Uint8Array;
  /** Other names it can be asked for by: "network/ip", and for a workload the services it belongs to. */
  readonly aliases: readonly string[];
  readonly members: readonly string[];
}

/** What an object came to. */
export interface Outcome {
  readonly state: 'accepted' | 'pending';
  readonly message: string;
  readonly compiledTo: readonly string[];
}

export interface CompiledMesh {
  readonly addresses: ReadonlyMap<string, CompiledResource>;
  readonly authorizations: ReadonlyMap<string, CompiledResource>;
  readonly outcomes: ReadonlyMap<string, Outcome>;
  /** By node: the identities (SPIFFE URIs) of the mesh pods that run there. */
  readonly identities: ReadonlyMap<string, ReadonlySet<string>>;
}

interface Objects {
  readonly namespaces: ReadonlyMap<string, Namespace>;
  readonly servicesByNamespace: ReadonlyMap<string, Service[]>;
  readonly pods: readonly Pod[];
  readonly policies: readonly AuthorizationPolicy[];
  readonly peerAuthentications: readonly PeerAuthentication[];
}

/** Compiles the whole mesh. Pure: equal input gives equal bytes, so that an unchanged resource keeps its version. */
export function compileMesh(input: CompileInput): CompiledMesh {
  const objects = group(input.objects);
  const addresses = new Map<string, CompiledResource>();
  const authorizations = new Map<string, CompiledResource>();
  const outcomes = new Map<string, Outcome>();
  const identities = new Map<string, Set<string>>();
  const settle = (object: KubeObject, outcome: Outcome): void =>
    void outcomes.set(objectKey(refOf(object)), outcome);

  const policies = objects.policies.map((policy) => {
    const compiled = compileAuthorization(policy, input.rootNamespace);
    const compiledTo: string[] = [];
    if (compiled.authorization !== undefined)
      compiledTo.push(addPolicy(authorizations, compiled.authorization));
    settle(policy, {
      state: compiled.pending === undefined ? 'accepted' : 'pending',
      message: compiled.message,
      compiledTo,
    });
    return compiled;
  });

  const peers = planPeerAuthentication(objects.peerAuthentications, input.rootNamespace);
  const usedAddresses = new Map<string, string>();
  let usesStaticStrict = false;

  for (const services of objects.servicesByNamespace.values()) {
    for (const service of services) {
      const pending =
        servicePending(service, input.assignments) ??
        claim(usedAddresses, serviceAddresses(service, input.assignments), refText(service));
      if (pending !== undefined) {
        settle(service, { state: 'pending', message: pending, compiledTo: [] });
        continue;
      }
      const compiled = compileService(
        service,
        objects.namespaces.get(namespaceOf(service)),
        input.assignments,
      );
      const name = serviceKey(compiled);
      addresses.set(
        name,
        addressResource(
          name,
          create(AddressSchema, { type: { case: 'service', value: compiled } }),
          serviceAddresses(service, input.assignments),
          [],
        ),
      );
      settle(service, { state: 'accepted', message: '', compiledTo: [`Address ${name}`] });
    }
  }

  for (const { pod, placed } of assignedFirst(objects.pods, input.assignments)) {
    const pending =
      placed.state === 'pending'
        ? placed.reason
        : pod.spec.hostNetwork === true
          ? undefined
          : claim(usedAddresses, placed.placement.addresses, refText(pod));
    if (placed.state === 'pending' || pending !== undefined) {
      settle(pod, { state: 'pending', message: pending ?? '', compiledTo: [] });
      continue;
    }
    const namespaceName = namespaceOf(pod);
    const namespace = objects.namespaces.get(namespaceName);
    const services = selectingServices(pod, objects.servicesByNamespace.get(namespaceName) ?? []);
    const attached = attachedPolicies(pod, services, policies);
    const peer = peers.policyFor(namespaceName, pod.metadata.labels ?? {});
    if (peer !== undefined) attached.push(policyName(peer));
    usesStaticStrict ||= peer === peers.staticStrict;
    const workload = compileWorkload(pod, placed.placement, {
      ...input,
      namespace,
      services,
      policies: attached.sort(),
    });
    addWorkload(addresses, workload, placed.placement, pod);
    settle(pod, {
      state: 'accepted',
      message: isMeshPod(pod, namespace) ? '' : 'not in the mesh',
      compiledTo: [`Address ${workload.uid}`],
    });
    if (isMeshPod(pod, namespace)) {
      const own = identities.get(placed.placement.node) ?? new Set<string>();
      identities.set(placed.placement.node, own.add(spiffeUri(identityOf(pod, input.trustDomain))));
    }
  }

  if (usesStaticStrict) addPolicy(authorizations, peers.staticStrict);
  for (const object of objects.peerAuthentications) {
    const policy = peers.policyOf(object);
    const isSent = policy !== undefined && (policy !== peers.staticStrict || usesStaticStrict);
    const compiledTo = isSent ? [addPolicy(authorizations, policy)] : [];
    settle(object, { state: 'accepted', message: peers.message(object), compiledTo });
  }
  return { addresses, authorizations, outcomes, identities };
}

function group(all: Iterable<KubeObject>): Objects {
  const namespaces = new Map<string, Namespace>();
  const servicesByNamespace = new Map<string, Service[]>();
  const pods: Pod[] = [];
  const policies: AuthorizationPolicy[] = [];
  const peerAuthentications: PeerAuthentication[] = [];
  for (const object of all) {
    switch (object.kind) {
      case 'Namespace':
        namespaces.set(object.metadata.name, object);
        break;
      case 'Service': {
        const list = servicesByNamespace.get(namespaceOf(object)) ?? [];
        list.push(object);
        servicesByNamespace.set(namespaceOf(object), list);
        break;
      }
      case 'Pod':
        pods.push(object);
        break;
      case 'AuthorizationPolicy':
        policies.push(object);
        break;
      case 'PeerAuthentication':
        peerAuthentications.push(object);
        break;
      case 'ServiceAccount':
        break;
    }
  }
  return { namespaces, servicesByNamespace, pods, policies, peerAuthentications };
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

/** An address stands for one identity: the second object that claims it gets nothing. */
function claim(used: Map<string, string>, addresses: readonly string[], who: string): string | undefined {
  for (const address of addresses) {
    const owner = used.get(address);
    if (owner !== undefined) return `its address ${address} belongs to ${owner} already`;
  }
  for (const address of addresses) used.set(address, who);
  return undefined;
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
  resources.set(name, { name, bytes: encode(AuthorizationSchema, authorization), aliases: [], members: [] });
  return `Authorization ${name}`;
}

function addWorkload(
  resources: Map<string, CompiledResource>,
  workload: Workload,
  placement: Placement,
  pod: Pod,
): void {
  const address = create(AddressSchema, { type: { case: 'workload', value: workload } });
  // Pods in their node's network share its address: it names none of them.
  const aliases = pod.spec.hostNetwork === true ? [] : placement.addresses;
  resources.set(
    workload.uid,
    addressResource(workload.uid, address, aliases, Object.keys(workload.services)),
  );
}

function addressResource(
  name: string,
  address: Address,
  ips: readonly string[],
  members: readonly string[],
): CompiledResource {
  return {
    name,
    bytes: encode(AddressSchema, address),
    aliases: ips.map((ip) => `/${canonicalAddress(ip)}`),
    members,
  };
}

function encode<S extends DescMessage>(schema: S, message: MessageShape<S>): Uint8Array {
  return toBinary(schema, message);
}
