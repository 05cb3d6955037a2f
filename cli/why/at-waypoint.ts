import { Protocol } from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { spiffeUri, type Identity } from '../../lib/spiffe.ts';
import { evaluate } from '../../lib/mesh/policy/evaluate.ts';
import { hostPortText, type HostPort } from '../../lib/mesh/hbone/host-port.ts';
import { isIpv6 } from '../../lib/mesh/state/ip.ts';
import type { Workload } from '../../lib/mesh/state/model.ts';
import { backendEndpoints, pathTo, type BackendEndpoint } from '../../lib/mesh/waypoint/backend-endpoints.ts';
import { findDestination, type Destination } from '../../lib/mesh/waypoint/destination.ts';
import { denialAtPod } from '../../lib/mesh/waypoint/pod-policy.ts';
import type { Source } from '../../lib/mesh/waypoint/request.ts';
import { Authorizer } from '../../lib/mesh/waypoint/security/authorizer.ts';
import { compilePolicy } from '../../lib/mesh/waypoint/security/compile-policy.ts';
import type { WaypointState } from '../mesh/stores.ts';
import { arriveByHbone, arrivePlain } from './at-pod.ts';
import { judgeRequest } from './at-waypoint-request.ts';
import type { RequestAsked, Trail, Way } from './model.ts';
import { allowedAtWaypoint } from './whom-allowed.ts';
import type { World } from './world.ts';

/** What comes to a waypoint. */
export interface AtWaypoint {
  readonly world: World;
  readonly state: WaypointState;
  /** The instance, as the client's node knows it. */
  readonly instance: Workload;
  readonly client: { readonly ip: string; readonly identity: Identity };
  /** What the client dialled. */
  readonly authority: HostPort;
  /** Undefined: a connection alone. */
  readonly request: RequestAsked | undefined;
  /** Waypoints that it went through already, so that none is asked twice. */
  readonly passed: readonly string[];
}

export type ServiceDestination = Extract<Destination, { kind: 'service' }>;

/** What a waypoint makes of a connection or request: it is asked in the order of the waypoint itself. */
export async function throughWaypoint(at: AtWaypoint, trail: Trail): Promise<Way[]> {
  const { state, authority } = at;
  const where = waypointName(state);
  const destination = findDestination(
    {
      config: state.config,
      workloads: state.workloads,
      network: state.network,
      ownService: state.ownService,
    },
    authority,
  );
  switch (destination.kind) {
    case 'refused':
      return [trail.unreachable(where, destination.reason, destination.status)];
    case 'workload':
      return [await toWorkload(at, trail, destination.workload)];
    case 'service':
      return isRequest(at, destination)
        ? judgeRequest(at, destination, trail)
        : connection(at, destination, trail);
  }
}

export function waypointName({ gateway }: WaypointState): string {
  return `waypoint ${gateway}`;
}

/** Whether it is read as HTTP: where the Service says so, and where somebody asks for a request. */
function isRequest({ request }: AtWaypoint, { protocol, service }: ServiceDestination): boolean {
  switch (protocol) {
    case Protocol.TCP:
      return false;
    case Protocol.DETECT:
      return request !== undefined || service.authentication.length > 0;
    case Protocol.HTTP1:
    case Protocol.HTTP2:
    case Protocol.GRPC:
      return true;
  }
}

async function toWorkload(at: AtWaypoint, trail: Trail, workload: Workload): Promise<Way> {
  const { state, authority, client } = at;
  const where = waypointName(state);
  const facts = {
    sourceIdentity: client.identity,
    sourceIp: client.ip,
    destIp: authority.ip,
    destPort: authority.port,
  };
  const verdict = evaluate(state.policies, workload, facts, { mayWait: false });
  if (verdict.verdict !== 'allow')
    return trail.denied(
      where,
      verdict.verdict === 'deny' ? verdict.reason : 'policies are missing',
      verdict.verdict === 'deny' ? verdict.policy : undefined,
    );
  const passed = trail.passes(where, 'the policies of the pod allow the client', verdict.policy);
  const path = pathTo(workload, authority.ip, authority.port, [spiffeUri(workload.identity)]);
  return toEndpoint(at, passed, { workload, path }, true);
}

/** A connection that passes unread. */
async function connection(at: AtWaypoint, destination: ServiceDestination, trail: Trail): Promise<Way[]> {
  const { authority } = at;
  const where = waypointName(at.state);
  const decision = authorizerOf(at.state, destination).evaluateConnection({
    source: sourceOf(at),
    port: destination.port,
    destinationIp: authority.ip,
  });
  if (decision.verdict === 'deny') {
    const told = allowedBy(at.state, decision.policy).reduce((so, line) => so.note(where, line), trail);
    return [told.denied(where, decision.reason, decision.policy)];
  }
  const passed = trail.passes(
    where,
    decision.policy === undefined
      ? `no policy of Service ${destination.service.namespace}/${destination.service.name} forbids it; it passes unread`
      : `allowed by policy ${decision.policy}; it passes unread`,
    decision.policy,
  );
  return toBackend(at, passed, {
    service: destination.service.key,
    port: destination.port,
    pinned: destination.pinned,
    client: sourceOf(at),
    told: true,
    deniedStatus: undefined,
  });
}

/** Whom the policies that did not allow something do let in; nothing where a policy denied it. @param names joined by ", " */
export function allowedBy({ config }: Pick<WaypointState, 'config'>, names: string): string[] {
  const policies = names.split(', ').flatMap((name) => config.authorization(name) ?? []);
  return allowedAtWaypoint(policies);
}

export function authorizerOf(
  { config }: Pick<WaypointState, 'config'>,
  { service }: ServiceDestination,
): Authorizer {
  const found = service.authorization.map((name) => [name, config.authorization(name)] as const);
  return new Authorizer(
    found.flatMap(([, policy]) => (policy === undefined ? [] : [compilePolicy(policy)])),
    found.flatMap(([name, policy]) => (policy === undefined ? [name] : [])),
  );
}

export function sourceOf({ client, state }: AtWaypoint): Source {
  const found = state.workloads.workloadAt(state.network, client.ip);
  const isClient = found !== undefined && spiffeUri(found.identity) === spiffeUri(client.identity);
  return { ip: client.ip, port: 0, identity: client.identity, workload: isClient ? found : undefined };
}

export interface Backend {
  /** Key of the Service. */
  readonly service: string;
  readonly port: number;
  readonly pinned: ServiceDestination['pinned'];
  readonly client: Source;
  /** Whether the pod's node is told of the client: of streams that carry one client alone. */
  readonly told: boolean;
  /** What a client of HTTP gets when a pod denies it. */
  readonly deniedStatus: number | undefined;
}

/** Each endpoint of a backend that may be chosen. */
export async function toBackend(at: AtWaypoint, trail: Trail, backend: Backend): Promise<Way[]> {
  const { state, instance } = at;
  const where = waypointName(state);
  const { service, port, pinned } = backend;
  const self = state.workloads.byUid(instance.uid);
  const { endpoints } = backendEndpoints({ ...state, self }, service, port);
  const usable =
    pinned === undefined
      ? nearest(endpoints)
      : endpoints.filter(
          ({ endpoint }) => endpoint.uid === pinned.workload.uid && endpoint.port === pinned.port,
        );
  if (usable.length === 0)
    return [
      trail.unreachable(
        where,
        `no healthy endpoint: Service ${service} port ${port} has ${endpoints.length}, none of them usable`,
        503,
      ),
    ];
  return Promise.all(
    usable.map(async (endpoint) => {
      const denial = denialAtPod(state.policies, endpoint, backend.client);
      if (denial !== undefined) {
        const pod = `pod ${endpoint.workload.namespace}/${endpoint.workload.name}`;
        return trail
          .knows({ endpoint: pod, address: hostPortText(endpoint.path.target) })
          .denied(where, `${denial.reason}, which stands at ${pod}`, denial.policy, backend.deniedStatus);
      }
      return toEndpoint(at, trail, endpoint, backend.told);
    }),
  );
}

/** Those of the nearest rank that has a healthy one; a weight of 0 gets nothing new. */
function nearest(endpoints: readonly BackendEndpoint[]): BackendEndpoint[] {
  const healthy = endpoints.filter(({ endpoint }) => endpoint.healthy && endpoint.weight > 0);
  const rank = Math.min(...healthy.map(({ endpoint }) => endpoint.rank));
  return healthy.filter(({ endpoint }) => endpoint.rank === rank);
}

async function toEndpoint(
  at: AtWaypoint,
  trail: Trail,
  { workload, path }: Pick<BackendEndpoint, 'workload' | 'path'>,
  told: boolean,
): Promise<Way> {
  const { world, state, instance, client } = at;
  const own = instance.addresses.find((ip) => isIpv6(ip) === isIpv6(path.target.ip));
  const ownIp = own ?? instance.addresses[0] ?? '';
  if (path.via === 'direct') return arrivePlain(world, trail, { target: path.target, sourceIp: ownIp });
  if (!workload.addresses.includes(path.target.ip)) {
    const next = await world.waypointAt(workload);
    if ('absent' in next) return trail.unreachable(waypointName(state), next.absent, 503);
    if (at.passed.includes(next.instance))
      return trail.unreachable(waypointName(state), `it would come back to waypoint ${next.gateway}`, 503);
    const hopped = trail.hop({
      by: 'hbone',
      to: waypointName(next),
      clientIdentity: spiffeUri(state.identity),
      serverIdentity: spiffeUri(workload.identity),
    });
    const [way] = await throughWaypoint(
      {
        ...at,
        state: next,
        instance: workload,
        client: { ip: ownIp, identity: state.identity },
        authority: path.target,
        passed: [...at.passed, next.instance],
      },
      hopped,
    );
    return way ?? hopped.unreachable(waypointName(next), 'it leads nowhere', 503);
  }
  return arriveByHbone(world, trail, workload, {
    target: path.target,
    identity: state.identity,
    // A node believes the waypoint before its own pod, and takes the client's address from it.
    sourceIp: told ? client.ip : ownIp,
  });
}
