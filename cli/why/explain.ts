import { spiffeUri } from '../../lib/spiffe.ts';
import { hostPortText, type HostPort } from '../../lib/mesh/hbone/host-port.ts';
import { readDialled } from '../../lib/mesh/egress/dialled.ts';
import { evaluateEgress } from '../../lib/mesh/egress/evaluate.ts';
import { whyIllegal } from '../../lib/mesh/outbound/legal-target.ts';
import { resolveUpstream, type Upstream } from '../../lib/mesh/outbound/upstream.ts';
import { canReach } from '../../lib/mesh/state/address-family.ts';
import { isIpv6 } from '../../lib/mesh/state/ip.ts';
import type { Workload } from '../../lib/mesh/state/model.ts';
import { MeshError } from '../mesh/errors.ts';
import type { Target } from '../mesh/find.ts';
import type { KernelPod, MeshPod, MeshService } from '../mesh/reader.ts';
import type { NodeState } from '../mesh/stores.ts';
import { arriveByHbone, arrivePlain, keyOf, ownWorkload, whereOf, whyNotServed } from './at-pod.ts';
import { throughWaypoint, waypointName } from './at-waypoint.ts';
import { Trail, type Explanation, type RequestAsked, type Way } from './model.ts';
import { isInMesh, type World } from './world.ts';

/** So many throws of the dice find each endpoint that may be chosen, by what is alike for all of one weight. */
const MIN_THROWS = 16;
const MAX_THROWS = 1_000;

export interface Question {
  readonly source: MeshPod;
  readonly target: Target;
  readonly port: number;
  readonly request?: RequestAsked;
}

/** Follows a connection, or a request, through what each node, waypoint and kernel of its way holds now. */
export async function explain(world: World, question: Question): Promise<Explanation> {
  const { source, target, port, request } = question;
  for (const pod of [source, ...(target.kind === 'pod' ? [target.pod] : [])])
    if (pod.ips.length === 0)
      throw new MeshError(
        'MESH_STATE',
        `pod ${keyOf(pod)} has no address yet, so that it does not run: kubectl describe pod --namespace ${pod.namespace} ${pod.name} says what it waits for`,
      );
  const kernel = await world.kernel(source);
  const { ways, dialled } = isInMesh(kernel)
    ? await fromMesh(world, question)
    : await fromOutside(world, question, kernel);
  if (world.withheld.length > 0)
    throw new MeshError('MESH_RIGHTS', `it cannot be told: ${world.withheld.join('; ')}`);
  const outcomes = new Set(ways.map(({ outcome }) => outcome));
  const [only] = outcomes;
  return {
    source: keyOf(source),
    destination: `${targetText(target)} port ${port}`,
    dialled: dialled.map(hostPortText),
    ...(request && { request }),
    outcome: outcomes.size === 1 && only !== undefined ? only : 'depends',
    ways,
    kernel: await kernelOf(world, source, ways),
  };
}

interface Found {
  readonly ways: readonly Way[];
  readonly dialled: readonly HostPort[];
}

async function kernelOf(
  world: World,
  source: MeshPod,
  ways: readonly Way[],
): Promise<Record<string, KernelPod>> {
  const pods = new Map([[keyOf(source), source]]);
  for (const { endpoint } of ways) {
    const [namespace = '', name = ''] = endpoint?.replace(/^pod /, '').split('/') ?? [];
    const pod = world.podNamed(namespace, name);
    if (pod !== undefined) pods.set(keyOf(pod), pod);
  }
  const entries = [...pods].map(async ([key, pod]) => [key, await world.kernel(pod)] as const);
  return Object.fromEntries(await Promise.all(entries));
}

/** Of a pod whose connections the kernel does not turn into the mesh. */
async function fromOutside(world: World, question: Question, kernel: KernelPod): Promise<Found> {
  const { source, target, port } = question;
  const why = kernel.off === undefined ? 'not in the mesh' : `switched off (loam off) since ${kernel.off}`;
  const mend =
    kernel.off === undefined
      ? '; label loam.dev/dataplane-mode=ambient on it or its namespace puts it in'
      : '';
  const trail = new Trail().note(
    whereOf(source),
    `${why}: it dials in plaintext, without an identity${mend}`,
  );
  const dialled = plainTargets(world, source, target, port);
  if (dialled.length === 0) {
    const way = trail.unreachable(whereOf(source), `${targetText(target)} has no pod that it could dial`);
    return { ways: [way], dialled };
  }
  const ways = await Promise.all(
    dialled.map((to) =>
      arrivePlain(world, trail, { target: to, sourceIp: ownAddress(source, to.ip) ?? source.ips[0] ?? '' }),
    ),
  );
  return { ways, dialled };
}

function plainTargets(world: World, source: MeshPod, target: Target, port: number): HostPort[] {
  switch (target.kind) {
    case 'address':
      return [{ ip: target.ip, port }];
    case 'pod':
      return [{ ip: addressFor(source, target.pod.ips), port }];
    case 'service':
      return servedBy(world, target.service)
        .filter(({ ready }) => ready)
        .map((pod) => ({ ip: addressFor(source, pod.ips), port: plainPort(world, target.service, port) }));
  }
}

/** Where somebody translates a Service's address, its port as well. */
function plainPort({ plainServices }: World, { ports }: MeshService, port: number): number {
  if (plainServices === 'pods') return port;
  return ports.find((each) => each.port === port)?.targetPort ?? port;
}

function servedBy({ inventory }: World, { namespace, selector }: MeshService): MeshPod[] {
  const wanted = Object.entries(selector);
  if (wanted.length === 0) return [];
  return inventory.pods.filter(
    (pod) => pod.namespace === namespace && wanted.every(([key, value]) => pod.labels[key] === value),
  );
}

/** Of a pod of the mesh: its own node decides first. */
async function fromMesh(world: World, question: Question): Promise<Found> {
  const { source, port } = question;
  const where = whereOf(source);
  const fails = (why: string, dialled: readonly HostPort[] = []): Found => ({
    ways: [new Trail().unreachable(where, why)],
    dialled,
  });
  const state = await world.node(source.node);
  if ('absent' in state) return fails(`its node's ztunnel does not answer: ${state.absent}`);
  const problem = whyNotServed(state, source);
  if (problem !== undefined) return fails(problem);
  const own = ownWorkload(state, source);
  if (own === undefined) return fails('the control plane has not told its node of it: see loam status');
  const dialled = { ip: dialledIp(state, source, question.target), port };
  const illegal = whyIllegal(dialled);
  if (illegal !== undefined) return fails(illegal, [dialled]);
  if (!canReach(own, dialled.ip))
    return fails(`the kernel has no way to ${dialled.ip}: the pod has ${own.addresses.join(' and ')} alone`, [
      dialled,
    ]);
  const ways = await Promise.all(
    upstreams(state, own, dialled).map((upstream) =>
      byUpstream(world, question, state, own, dialled, upstream),
    ),
  );
  return { ways: ways.flat(), dialled: [dialled] };
}

async function byUpstream(
  world: World,
  { source, request }: Question,
  state: NodeState,
  own: Workload,
  dialled: HostPort,
  upstream: Upstream,
): Promise<Way[]> {
  const where = whereOf(source);
  let trail = new Trail();
  if (state.egress !== undefined && !own.addresses.includes(dialled.ip)) {
    const { facts } = readDialled(state.workloads, own, dialled, upstream);
    const verdict = evaluateEgress(state.egress, own.uid, facts, false);
    if (verdict.verdict === 'deny')
      return [trail.denied(where, verdict.reason, verdict.policy, undefined, 'EgressPolicy')];
    const policy = verdict.verdict === 'allow' ? verdict.policy : undefined;
    trail =
      policy === undefined
        ? trail.passes(where, 'no rule at the source restricts it')
        : trail.passes(where, `may call it by EgressPolicy ${policy}`, policy, 'EgressPolicy');
  }
  const sourceIp = (to: string): string => ownAddress(source, to) ?? own.addresses[0] ?? '';
  switch (upstream.kind) {
    case 'refused':
      return [trail.unreachable(where, upstream.reason)];
    case 'passthrough':
    case 'direct': {
      const target = { ip: upstream.address, port: upstream.targetPort };
      const illegal = whyIllegal(target);
      if (illegal !== undefined) return [trail.unreachable(where, illegal)];
      const why =
        upstream.kind === 'direct'
          ? `pod ${upstream.workload.namespace}/${upstream.workload.name} has no tunnel`
          : `the mesh does not know ${hostPortText(target)}`;
      const noted = trail.note(where, `${why}: it is dialled in plaintext`);
      return [await arrivePlain(world, noted, { target, sourceIp: sourceIp(target.ip) })];
    }
    case 'hbone': {
      const target = { ip: upstream.address, port: upstream.targetPort };
      const illegal = whyIllegal(target);
      if (illegal !== undefined) return [trail.unreachable(where, illegal)];
      const arrival = { target, sourceIp: sourceIp(target.ip), identity: own.identity };
      return [await arriveByHbone(world, trail, upstream.workload, arrival)];
    }
    case 'waypoint': {
      const { workload, authority, expectedIdentities } = upstream;
      const waypoint = await world.waypointAt(workload);
      const hopped = trail.hop({
        by: 'hbone',
        to: 'absent' in waypoint ? `waypoint ${upstream.waypoint}` : waypointName(waypoint),
        clientIdentity: spiffeUri(own.identity),
        ...(expectedIdentities[0] !== undefined && { serverIdentity: expectedIdentities[0] }),
      });
      if ('absent' in waypoint) return [hopped.unreachable(`waypoint ${upstream.waypoint}`, waypoint.absent)];
      return throughWaypoint(
        {
          ...{ world, state: waypoint, instance: workload, authority, request },
          client: { ip: sourceIp(upstream.address), identity: own.identity },
          passed: [waypoint.instance],
        },
        hopped,
      );
    }
  }
}

/** Each way that the node may choose. Instances of one waypoint hold the same, and one of them speaks for all. */
function upstreams({ workloads }: NodeState, own: Workload, dialled: HostPort): Upstream[] {
  const found = workloads.byAddress(own.network, dialled.ip, own.namespace);
  const endpoints = found?.kind === 'service' ? workloads.endpoints(found.key).size : 1;
  const throws = Math.min(MAX_THROWS, Math.max(MIN_THROWS, 4 * endpoints));
  const ways = new Map<string, Upstream>();
  for (let i = 0; i < throws; i += 1) {
    const upstream = resolveUpstream(workloads, own, dialled, () => (i + 0.5) / throws);
    ways.set(keyOfUpstream(upstream), upstream);
  }
  return [...ways.values()];
}

function keyOfUpstream(upstream: Upstream): string {
  switch (upstream.kind) {
    case 'hbone':
    case 'direct':
      return `${upstream.kind} ${upstream.workload.uid}`;
    case 'waypoint':
      return `waypoint ${upstream.waypoint}`;
    case 'passthrough':
    case 'refused':
      return upstream.kind;
  }
}

/** The address that an application of the pod would dial: of the pod's own first family, where there is one. */
function dialledIp(state: NodeState, source: MeshPod, target: Target): string {
  switch (target.kind) {
    case 'address':
      return target.ip;
    case 'pod':
      return addressFor(source, target.pod.ips);
    case 'service': {
      const { namespace, name } = target.service;
      const service = [...state.workloads.services()].find(
        (each) => each.namespace === namespace && each.name === name,
      );
      if (service === undefined)
        throw new MeshError(
          'MESH_STATE',
          `the ztunnel of ${source.node} knows no Service ${namespace}/${name}${state.onDemand ? ' (it follows what its pods call, and none of them did)' : ': see loam status'}`,
        );
      const ips = service.addresses.filter(({ range }) => range === undefined).map(({ ip }) => ip);
      if (ips.length > 0) return addressFor(source, ips);
      // A headless one leads to its pods' own addresses.
      const [endpoint] = state.workloads.endpoints(service.key).values();
      if (endpoint === undefined)
        throw new MeshError('MESH_STATE', `the headless Service ${namespace}/${name} has no pod`);
      return addressFor(source, endpoint.workload.addresses);
    }
  }
}

function addressFor({ ips }: MeshPod, targets: readonly string[]): string {
  for (const own of ips) {
    const found = targets.find((ip) => isIpv6(ip) === isIpv6(own));
    if (found !== undefined) return found;
  }
  return targets[0] ?? '';
}

/** The pod's own address of the family of another one. */
function ownAddress({ ips }: MeshPod, to: string): string | undefined {
  return ips.find((ip) => isIpv6(ip) === isIpv6(to));
}

export function targetText(target: Target): string {
  switch (target.kind) {
    case 'pod':
      return `pod ${keyOf(target.pod)}`;
    case 'service':
      return `Service ${keyOf(target.service)}`;
    case 'address':
      return target.ip;
  }
}
