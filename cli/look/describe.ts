import type { Policy, Service, Workload } from '../../lib/mesh/state/model.ts';
import { waypointsOf } from '../../lib/mesh/outbound/waypoint.ts';
import { spiffeUri } from '../../lib/spiffe.ts';
import type { KernelPod, MeshPod, MeshService } from '../mesh/reader.ts';
import type { Certificate, NodeState } from '../mesh/stores.ts';
import { keyOf, ownWorkload, whyNotServed } from '../why/at-pod.ts';
import type { World } from '../why/world.ts';

export interface PolicyView {
  readonly name: string;
  readonly action: string;
  readonly onTrial: boolean;
  /** What of it cannot be understood, and makes it strict. */
  readonly unsupported?: string;
  /** An ALLOW without a rule, as it also stands in place of one that was rejected. */
  readonly allowsNothing?: true;
}

export interface PodView {
  readonly pod: MeshPod;
  readonly kernel: KernelPod;
  /** Of the node's ztunnel; absent: the mesh does not have the pod. */
  readonly workload?: {
    readonly uid: string;
    readonly identity: string;
    readonly tunnel: string;
    readonly healthy: boolean;
    readonly waypoint?: string;
  };
  readonly certificate?: Certificate;
  readonly services: readonly string[];
  /** At the pod, for what comes in. */
  readonly policies: readonly PolicyView[];
  /** At the source, for what the pod calls. */
  readonly egress?: { readonly policies: readonly string[]; readonly unknownDestinations: string };
  readonly problems: readonly string[];
}

/** All about a pod, from its own node and kernel. */
export async function describePod(world: World, pod: MeshPod): Promise<PodView> {
  const [kernel, state] = await Promise.all([world.kernel(pod), world.node(pod.node)]);
  const base = { pod, kernel, services: [], policies: [] };
  if (kernel.unknown === true && 'absent' in state) return { ...base, problems: [state.absent] };
  if ('absent' in state)
    return { ...base, problems: [`the ztunnel of ${pod.node} does not answer: ${state.absent}`] };
  const workload = ownWorkload(state, pod);
  const row = state.pods.find(({ uid }) => uid === pod.uid);
  const certificate = state.certificates.find(({ identity }) => identity === row?.identity);
  const egress = workload && state.egress?.applicable(workload.uid);
  return {
    ...base,
    ...(workload && {
      workload: {
        uid: workload.uid,
        identity: spiffeUri(workload.identity),
        tunnel: workload.tunnelProtocol,
        healthy: workload.healthy,
        ...(workload.waypoint && { waypoint: gatewayText(workload.waypoint) }),
      },
    }),
    ...(certificate && { certificate: withoutChain(certificate) }),
    services: (workload?.services ?? []).map(({ service, ports }) => {
      const pairs = ports.map(({ servicePort, targetPort }) => `${servicePort}→${targetPort || 'its own'}`);
      return `${serviceText(state, service)} ${pairs.join(', ')}`;
    }),
    policies: workload === undefined ? [] : policiesAt(state, workload),
    ...(egress && {
      egress: {
        policies: egress.workload.policies,
        unknownDestinations: egress.workload.unknownDestinations,
      },
    }),
    problems: problemsOf(pod, kernel, state, workload),
  };
}

function withoutChain({
  identity,
  state,
  serialNumber,
  notBefore,
  notAfter,
  lastError,
}: Certificate): Certificate {
  return {
    ...{ identity, state },
    ...(serialNumber !== undefined && { serialNumber }),
    ...(notBefore !== undefined && { notBefore }),
    ...(notAfter !== undefined && { notAfter }),
    ...(lastError !== undefined && { lastError }),
  };
}

function problemsOf(
  pod: MeshPod,
  kernel: KernelPod,
  state: NodeState,
  workload: Workload | undefined,
): string[] {
  const problems: string[] = [];
  if (pod.ips.length === 0)
    problems.push(
      `it has no address yet, so that it does not run: kubectl describe pod --namespace ${pod.namespace} ${pod.name} says what it waits for`,
    );
  else if (!pod.ready) problems.push('it is not ready: Services do not send to it');
  if (kernel.unread !== undefined)
    problems.push(`what the kernel of ${pod.node} has for it is not known: ${kernel.unread}`);
  if (kernel.problem !== undefined) problems.push(`its agent: ${kernel.problem}`);
  if (kernel.off !== undefined)
    problems.push(`it has plain networking since ${kernel.off}: loam on pod ${keyOf(pod)} ends that`);
  if (!kernel.enrolled) return problems;
  if (workload === undefined) problems.push('the control plane has not told its node of it');
  const served = whyNotServed(state, pod);
  if (served !== undefined) problems.push(served);
  return problems;
}

function policiesAt({ policies }: NodeState, workload: Workload): PolicyView[] {
  const { policies: found, missing } = policies.applicable(workload);
  return [
    ...found.map(policyView),
    ...missing.map((name) => ({
      ...{ name, action: 'deny', onTrial: false },
      unsupported: 'it is listed and not known: it denies everything',
    })),
  ];
}

function policyView({ key, action, dryRun, unsupported, rules }: Policy): PolicyView {
  const partly = unsupported ?? rules.find((rule) => rule.unsupported !== undefined)?.unsupported;
  return {
    ...{ name: key, action, onTrial: dryRun },
    ...(partly !== undefined && { unsupported: partly }),
    ...(action === 'allow' && rules.length === 0 && { allowsNothing: true as const }),
  };
}

export interface EndpointView {
  readonly workload: string;
  readonly node: string;
  readonly addresses: readonly string[];
  readonly tunnel: string;
  readonly healthy: boolean;
  readonly policies: readonly string[];
}

export interface ServiceView {
  readonly service: MeshService;
  /** As a node knows it; absent: none does. */
  readonly known?: {
    readonly by: string;
    readonly hostname: string;
    readonly addresses: readonly string[];
    readonly ports: readonly string[];
    readonly balancing: string;
    readonly waypoints: readonly string[];
    readonly endpoints: readonly EndpointView[];
  };
  /** As its waypoint knows it. */
  readonly waypoint?: {
    readonly gateway: string;
    readonly served: boolean;
    readonly routes: readonly string[];
    readonly policies: readonly string[];
    readonly authentication: readonly string[];
    readonly trafficPolicy?: string;
  };
  readonly problems: readonly string[];
}

/** All about a Service, from the first node that answers, and from its waypoint. */
export async function describeService(world: World, service: MeshService): Promise<ServiceView> {
  const problems: string[] = [];
  for (const node of world.inventory.nodes) {
    const state = await world.node(node);
    if ('absent' in state) {
      problems.push(`the ztunnel of ${node} does not answer: ${state.absent}`);
      continue;
    }
    const found = [...state.workloads.services()].find(
      ({ namespace, name }) => namespace === service.namespace && name === service.name,
    );
    if (found === undefined) continue;
    const known = knownService(state, found);
    if (known.endpoints.length === 0) problems.push('it has no endpoint: no pod matches its selector');
    else if (!known.endpoints.some(({ healthy }) => healthy))
      problems.push('none of its endpoints is healthy');
    const waypoint = await atWaypoint(world, state, found);
    if (typeof waypoint === 'string') problems.push(waypoint);
    return {
      ...{ service, known, problems },
      ...(typeof waypoint === 'object' && { waypoint }),
    };
  }
  problems.push('no node knows it: is its namespace in the mesh, and the controller up? loam status says');
  return { service, problems };
}

function knownService(state: NodeState, service: Service): NonNullable<ServiceView['known']> {
  return {
    by: state.node,
    hostname: service.hostname,
    addresses: service.addresses.map(({ ip, range }) => (range === undefined ? ip : `${ip}/${range.length}`)),
    ports: service.ports.map(
      ({ servicePort, targetPort, appProtocol }) =>
        `${servicePort}→${targetPort || 'named'}${appProtocol === 'unknown' ? '' : ` ${appProtocol}`}`,
    ),
    balancing: service.loadBalancing.mode,
    waypoints: waypointsOf(service).map(({ gateway }) => gatewayText(gateway)),
    endpoints: [...state.workloads.endpoints(service.key).values()].map(({ workload }) => ({
      workload: `${workload.namespace}/${workload.name}`,
      node: workload.node,
      addresses: workload.addresses,
      tunnel: workload.tunnelProtocol,
      healthy: workload.healthy,
      policies: policiesAt(state, workload).map(({ name }) => name),
    })),
  };
}

/** @returns why it is not to be had, as a text; undefined: it has none */
async function atWaypoint(
  world: World,
  state: NodeState,
  service: Service,
): Promise<ServiceView['waypoint'] | string | undefined> {
  const [weighted] = waypointsOf(service);
  if (weighted === undefined) return undefined;
  const { gateway } = weighted;
  const key =
    gateway.by === 'hostname'
      ? gateway.service
      : state.workloads.serviceAtExactly(gateway.address.network, gateway.address.ip)?.key;
  const [instance] = key === undefined ? [] : state.workloads.endpoints(key).values();
  if (instance === undefined) {
    const known = key !== undefined && state.workloads.service(key) !== undefined;
    return known
      ? `its waypoint ${gatewayText(gateway)} has no instance that is ready, so that what is sent to it is refused: loam status says how it is`
      : `there is no waypoint ${gatewayText(gateway)}, so that what is sent to it is refused: see the label loam.dev/use-waypoint of it and its namespace, and the Gateway`;
  }
  const found = await world.waypointAt(instance.workload);
  if ('absent' in found) return `its waypoint does not answer: ${found.absent}`;
  const served = found.config.service(service.key);
  if (served === undefined) return `its waypoint ${found.gateway} does not know it (yet)`;
  return {
    gateway: found.gateway,
    served: served.served,
    routes: [...found.config.routes(service.key)].map(
      ({ kind, namespace, name }) => `${kind}/${namespace}/${name}`,
    ),
    policies: served.authorization,
    authentication: served.authentication,
    ...(served.trafficPolicy !== '' && { trafficPolicy: served.trafficPolicy }),
  };
}

type Gateway = NonNullable<Workload['waypoint']>;

/** As its Gateway is called: `namespace/name`, where its host name says that. */
function gatewayText(gateway: Gateway): string {
  if (gateway.by !== 'hostname') return gateway.address.ip;
  const [, namespace, name] = /^([^/]+)\/([^.]+)\.\1\.svc\./.exec(gateway.service) ?? [];
  return namespace === undefined || name === undefined ? gateway.service : `${namespace}/${name}`;
}

function serviceText({ workloads }: NodeState, key: string): string {
  const service = workloads.service(key);
  return service === undefined ? key : `${service.namespace}/${service.name}`;
}
