import { create } from '@bufbuild/protobuf';
import { type Parent, ParentSchema, RouteSchema } from '../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import type { ObjectReference } from '../../model/gateway-api.ts';
import { type GRPCRoute, type HTTPRoute, namespaceOf, objectKey, refOf } from '../../model/objects.ts';
import type { Condition, Outcomes } from '../outcomes.ts';
import { resolveBackend, type ResolvedBackend } from './backends.ts';
import type { Resolve } from './filters.ts';
import { type ResolvedParent, resolveParent, type ServiceWaypoints } from './parents.ts';
import { encodeResource, resourceLabel } from './part.ts';
import { compileGrpcRule, compileHttpRule } from './rules.ts';
import { waypointServiceKey } from './services.ts';
import type { TrafficPolicyPart } from './traffic-policy.ts';
import { keyOf, type Waypoint, type World } from './world.ts';

type Route = HTTPRoute | GRPCRoute;

/** A route that is in force at one waypoint or more. */
export interface AttachedRoute {
  readonly route: Route;
  readonly rules: CompiledRules;
  readonly parents: readonly ResolvedParent[];
}

/** What the routes come to for one waypoint. */
export interface RoutePart {
  /** By name in the stream: `route/<kind>/<namespace>/<name>`. */
  readonly resources: ReadonlyMap<string, Uint8Array>;
  /** Services to which they send, by `<namespace>/<name>`. */
  readonly backends: ReadonlySet<string>;
}

/** The rules of a route with all that they refer to. */
interface CompiledRules {
  readonly rules: readonly ReturnType<typeof compileHttpRule>[];
  /** Each reference in the order in which it was followed, and where it led. */
  readonly references: readonly { readonly to: ObjectReference; readonly found: ResolvedBackend }[];
  readonly backends: readonly string[];
  readonly resolved: Omit<Condition, 'parent'>;
  /** By waypoint: what the rest of the resource was made of, and the bytes. */
  readonly bytes: Map<string, { readonly key: string; readonly bytes: Uint8Array }>;
}

/** Routes do not change, only what they refer to does: rules are compiled again when one of these leads elsewhere. */
const compiled = new WeakMap<Route, CompiledRules>();

/** Follows the references of all routes, says what became of each, and gives those in force by waypoint. */
export function attachRoutes(
  world: World,
  waypoints: ServiceWaypoints,
  outcomes: Outcomes,
): Map<string, AttachedRoute[]> {
  const attached = new Map<string, AttachedRoute[]>();
  for (const route of world.objects.routes) {
    const parents = (route.spec.parentRefs ?? []).map((ref) => resolveParent(route, ref, world, waypoints));
    const rules = compileRules(route, world);
    report(route, parents, rules, outcomes);
    const keys = new Set(parents.flatMap((parent) => parent.attached?.waypoint.key ?? []));
    for (const key of keys) {
      const list = attached.get(key);
      if (list === undefined) attached.set(key, [{ route, rules, parents }]);
      else list.push({ route, rules, parents });
    }
  }
  return attached;
}

function compileRules(route: Route, world: World): CompiledRules {
  const known = compiled.get(route);
  if (known?.references.every(({ to, found }) => same(found, resolveBackend(route, to, world))) === true)
    return known;
  const references: { to: ObjectReference; found: ResolvedBackend }[] = [];
  const resolve: Resolve = (to) => {
    const found = resolveBackend(route, to, world);
    references.push({ to, found });
    return found;
  };
  const identity = (i: number): string => `${objectKey(refOf(route))}/${i}`;
  const rules =
    route.kind === 'HTTPRoute'
      ? (route.spec.rules ?? []).map((rule, i) => compileHttpRule(rule, identity(i), resolve))
      : (route.spec.rules ?? []).map((rule, i) => compileGrpcRule(rule, identity(i), resolve));
  const all = references.map(({ found }) => found);
  const result: CompiledRules = {
    rules,
    references,
    backends: [...new Set(all.flatMap((each) => (each.state === 'found' ? [keyOf(each.service)] : [])))],
    resolved: resolvedRefs(all),
    bytes: new Map(),
  };
  compiled.set(route, result);
  return result;
}

/** A Service's own content is no part of a route: only that it is there, with that port. */
function same(a: ResolvedBackend, b: ResolvedBackend): boolean {
  if (a.state === 'found') return b.state === 'found';
  return b.state === 'invalid' && a.reason === b.reason && a.why === b.why;
}

function resolvedRefs(all: readonly ResolvedBackend[]): Omit<Condition, 'parent'> {
  const wrong = all.filter((each) => each.state === 'invalid');
  const [first] = wrong;
  if (first === undefined)
    return { type: 'ResolvedRefs', status: 'True', reason: 'ResolvedRefs', message: '' };
  const message = [...new Set(wrong.map(({ why }) => why))].join('; ');
  return { type: 'ResolvedRefs', status: 'False', reason: first.reason, message };
}

/** The conditions of each parent, and in the object's message all that keeps it from being in force as written. */
function report(
  route: Route,
  parents: readonly ResolvedParent[],
  { resolved }: CompiledRules,
  outcomes: Outcomes,
): void {
  const conditions = parents.flatMap(({ accepted, text }) => [accepted, { parent: text, ...resolved }]);
  const problems = parents
    .filter((parent) => parent.attached === undefined)
    .map(({ text, accepted }) => `not in force at ${text}: ${accepted.message}`);
  if (parents.length === 0) problems.push('it has no parent (spec.parentRefs), so it is in force nowhere');
  const inForce = parents.some((parent) => parent.attached !== undefined);
  const text = problems.join('; ');
  outcomes.add(route, {
    conditions,
    ...(inForce ? { message: text } : { pending: text }),
  });
  if (resolved.status === 'False')
    outcomes.add(route, { message: `its share of requests is answered with 500: ${resolved.message}` });
}

/** The resources of the routes that are in force at a waypoint. */
export function compileRoutes(
  attached: readonly AttachedRoute[],
  waypoint: Waypoint,
  waypoints: ServiceWaypoints,
  traffic: TrafficPolicyPart,
  outcomes: Outcomes,
): RoutePart {
  const resources = new Map<string, Uint8Array>();
  const backends = new Set<string>();
  for (const { route, rules, parents } of attached) {
    const name = `route/${route.kind}/${namespaceOf(route)}/${route.metadata.name}`;
    const here = parents.flatMap((parent) => {
      const at = parent.attached;
      return at === undefined || at.waypoint.key !== waypoint.key ? [] : [parentOf(route, at)];
    });
    const trafficPolicy = traffic.forRoute(route);
    const key = `${trafficPolicy} ${here.map((each) => `${each.service}:${each.port}`).join(' ')}`;
    const known = rules.bytes.get(waypoint.key);
    const bytes = known?.key === key ? known.bytes : encodeRoute(route, rules, here, trafficPolicy);
    rules.bytes.set(waypoint.key, { key, bytes });
    resources.set(name, bytes);
    for (const backend of rules.backends) {
      backends.add(backend);
      const other = waypoints.get(backend);
      // Its pods take connections from their own waypoint alone.
      if (other?.state === 'served' && other.waypoint !== waypoint)
        outcomes.add(route, {
          message: `Service ${backend} is out of reach of Gateway ${waypoint.key}: Gateway ${other.waypoint.key} stands before it`,
        });
    }
    outcomes.add(route, { compiledTo: [resourceLabel(waypoint.key, name)] });
  }
  return { resources, backends };
}

function parentOf(route: Route, { service, port }: NonNullable<ResolvedParent['attached']>): Parent {
  const home = namespaceOf(route);
  // Gateway API (mesh): a route in another namespace than its Service is for the clients of its own namespace.
  const consumerNamespace = home === namespaceOf(service) ? '' : home;
  return create(ParentSchema, { service: waypointServiceKey(service), port, consumerNamespace });
}

function encodeRoute(
  route: Route,
  { rules }: CompiledRules,
  parents: Parent[],
  trafficPolicy: string,
): Uint8Array {
  const { name, creationTimestamp } = route.metadata;
  const created = Date.parse(creationTimestamp ?? '');
  const value = create(RouteSchema, {
    kind: route.kind,
    namespace: namespaceOf(route),
    name,
    // One without a time is the youngest, as with TrafficPolicies.
    creationTime: BigInt(Number.isNaN(created) ? Number.MAX_SAFE_INTEGER : created),
    hostnames: [...(route.spec.hostnames ?? [])],
    parents,
    rules: [...rules],
    trafficPolicy,
  });
  return encodeResource({ case: 'route', value });
}
