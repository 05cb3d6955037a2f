import type { Backend as RouteBackend } from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { normaliseTarget } from '../../lib/mesh/waypoint/normalise-path.ts';
import type { Headers, RequestHead } from '../../lib/mesh/waypoint/request.ts';
import { RouteTable, type Matched } from '../../lib/mesh/waypoint/routing/route-table.ts';
import { applyRequestFilters } from '../../lib/mesh/waypoint/routing/filters/apply-filters.ts';
import {
  allowedBy,
  authorizerOf,
  sourceOf,
  toBackend,
  waypointName,
  type AtWaypoint,
  type ServiceDestination,
} from './at-waypoint.ts';
import type { RequestAsked, Trail, Way } from './model.ts';

/** Of a Service that is read as HTTP, where only a connection was asked for. */
const ANY_REQUEST: RequestAsked = { method: 'GET', path: '/' };
const FORBIDDEN = 403;

/** What a waypoint says to a request, in its own order: policies, routes, the pods. */
export async function judgeRequest(
  at: AtWaypoint,
  destination: ServiceDestination,
  before: Trail,
): Promise<Way[]> {
  const where = waypointName(at.state);
  const { service } = destination;
  const asked = at.request ?? ANY_REQUEST;
  let trail =
    at.request === undefined ? before.note(where, 'no request was given: GET / is asked about') : before;
  const head = headOf(at, destination, asked);
  if (typeof head === 'string') return [trail.unreachable(where, head, 400)];
  if (service.authentication.length > 0)
    trail = trail.note(
      where,
      `tokens are verified by ${service.authentication.join(', ')}; a request without a token is asked about`,
    );
  const decision = authorizerOf(at.state, destination).evaluate(head);
  for (const { policy, action, matched } of decision.dryRun)
    if (matched) trail = trail.note(where, `policy ${policy}, on trial, would ${action} it`);
  if (decision.verdict === 'deny') {
    trail = allowedBy(at.state, decision.policy).reduce((so, line) => so.note(where, line), trail);
    return [trail.denied(where, decision.reason, decision.policy, FORBIDDEN)];
  }
  trail = trail.passes(
    where,
    decision.policy === undefined
      ? `no policy of Service ${service.namespace}/${service.name} forbids ${asked.method} ${head.path}`
      : `${asked.method} ${head.path} is allowed by policy ${decision.policy}`,
    decision.policy,
  );
  const table = new RouteTable(service.key, at.state.config.routes(service.key));
  const routed = table.match(head, head.source.identity?.namespace);
  switch (routed.kind) {
    case 'no-routes':
      return send(at, trail, head, { service: service.key, port: head.port }, destination);
    case 'no-match':
      return [trail.unreachable(where, 'no route matches', 404)];
    case 'too-costly':
      return [trail.unreachable(where, 'too long for the regular expressions of the routes', 400)];
    case 'matched':
      return byRoute(at, trail, head, destination, routed);
  }
}

async function byRoute(
  at: AtWaypoint,
  before: Trail,
  head: RequestHead,
  destination: ServiceDestination,
  { route, rule, prefix }: Matched,
): Promise<Way[]> {
  const where = waypointName(at.state);
  const name = `${route.kind}/${route.namespace}/${route.name}#${rule.rule.name || rule.index}`;
  const trail = before.knows({ route: name }).note(where, `route ${name}`);
  const outcome = applyRequestFilters(head, rule.rule.filters, { prefix, scheme: 'http' });
  if (outcome.kind === 'respond')
    return [trail.passes(where, `the route answers by itself, with ${outcome.response.status}`).allowed()];
  const backends = rule.rule.backends.filter(({ weight }) => weight > 0);
  if (backends.length === 0) return [trail.unreachable(where, 'the route has no backend', 500)];
  const ways = await Promise.all(
    backends.map(async (backend: RouteBackend) =>
      backend.invalid === ''
        ? send(at, trail.knows({ backend: backend.service }), head, backend, destination)
        : [trail.unreachable(where, `the backend of the route cannot be used: ${backend.invalid}`, 500)],
    ),
  );
  return ways.flat();
}

function send(
  at: AtWaypoint,
  trail: Trail,
  head: RequestHead,
  { service, port }: { readonly service: string; readonly port: number },
  destination: ServiceDestination,
): Promise<Way[]> {
  return toBackend(at, trail, {
    ...{ service, port, client: head.source, told: false, deniedStatus: FORBIDDEN },
    pinned: service === destination.service.key ? destination.pinned : undefined,
  });
}

/** @returns why it is no request, as a text */
function headOf(
  at: AtWaypoint,
  { service, port }: ServiceDestination,
  asked: RequestAsked,
): RequestHead | string {
  const target = normaliseTarget(asked.method, asked.path, true);
  if (!target.ok) return `bad request: target-${target.problem}`;
  const headers = Object.create(null) as Headers;
  for (const [name, value] of Object.entries(asked.headers ?? {})) headers[name.toLowerCase()] = value;
  const source = sourceOf(at);
  const authority = asked.host ?? service.key.slice(service.key.indexOf('/') + 1);
  headers['host'] ??= authority;
  return {
    method: asked.method,
    authority: authority.toLowerCase(),
    path: target.path,
    query: target.query,
    protocol: 'http1',
    headers,
    source,
    service: service.key,
    port,
    destinationIp: at.authority.ip,
    remoteIp: source.ip,
    jwt: undefined,
  };
}
