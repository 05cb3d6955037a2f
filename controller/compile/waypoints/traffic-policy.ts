import {
  type GRPCRoute,
  type HTTPRoute,
  namespaceOf,
  type Service,
  type TrafficPolicy,
} from '../../model/objects.ts';
import { REQUEST_PARTS } from '../../schema/traffic-policy-values.ts';
import type { Condition, Outcomes } from '../outcomes.ts';
import { fallbackKey, fallbackProblem, type FallbackProblem } from './fallback.ts';
import { encodeResource, resourceLabel } from './part.ts';
import { compileTrafficPolicy } from './traffic-message.ts';
import { keyOf, type Waypoint, waypointOfService, type World } from './world.ts';

/** How a target is used by some waypoint: for requests that clients make to it, or only as a backend. */
type Use = 'requests' | 'backend';

/**
 * The TrafficPolicies of one waypoint. What it needs shows while Services and routes are compiled: `backends` and
 * `resources` are read after the last `forService` and `forRoute`.
 */
export interface TrafficPolicyPart {
  /** `<namespace>/<name>` of the one for a Service, be it served or only a backend; empty: none. */
  readonly forService: (service: Service, served: boolean) => string;
  /** The same for a route that this waypoint carries. */
  readonly forRoute: (route: HTTPRoute | GRPCRoute) => string;
  /** Services that those policies may send to, by `<namespace>/<name>`: the waypoint needs their resources too. */
  readonly backends: () => readonly string[];
  /** By name in the stream: `traffic/<namespace>/<name>`. */
  readonly resources: () => ReadonlyMap<string, Uint8Array>;
}

/** All TrafficPolicies of the mesh: which one counts for which target, and what came of each. */
export class TrafficPolicies {
  readonly #world: World;
  readonly #routes: ReadonlySet<string>;
  readonly #winners = new Map<string, TrafficPolicy>();
  readonly #uses = new Map<string, Set<Use>>();
  readonly #compiledTo = new Map<TrafficPolicy, Set<string>>();
  readonly #fallbacks = new Map<TrafficPolicy, FallbackProblem | undefined>();

  constructor(world: World) {
    this.#world = world;
    this.#routes = new Set(world.objects.routes.map((route) => targetOf(route)));
    const lookup = { services: world.services, grants: world.objects.grants };
    for (const policy of [...world.objects.trafficPolicies].sort(olderFirst)) {
      this.#fallbacks.set(policy, fallbackProblem(policy, lookup));
      for (const { kind, name } of policy.spec.targetRefs) {
        const target = targetKey(kind, namespaceOf(policy), name);
        if (!this.#winners.has(target)) this.#winners.set(target, policy);
      }
    }
  }

  /** What one waypoint needs, gathered while it is compiled. */
  forWaypoint(waypoint: Waypoint): TrafficPolicyPart {
    const used = new Map<TrafficPolicy, Use>();
    const use = (target: string, how: Use): string => {
      const policy = this.#winners.get(target);
      if (policy === undefined) return '';
      const uses = this.#uses.get(target) ?? new Set();
      this.#uses.set(target, uses.add(how));
      if (used.get(policy) !== 'requests') used.set(policy, how);
      const labels = this.#compiledTo.get(policy) ?? new Set();
      this.#compiledTo.set(policy, labels.add(resourceLabel(waypoint.key, resourceName(policy))));
      return keyOf(policy);
    };
    return {
      forService: (service, served) => use(targetOf(service), served ? 'requests' : 'backend'),
      forRoute: (route) => use(targetOf(route), 'requests'),
      backends: () => [
        ...new Set(
          [...used].flatMap(([policy, how]) => {
            // The fallback is a request-level part: at a mere backend it never acts.
            const key = fallbackKey(policy);
            const isUsable = how === 'requests' && this.#fallbacks.get(policy) === undefined;
            return key === undefined || !isUsable ? [] : [key];
          }),
        ),
      ],
      resources: () =>
        new Map(
          [...used.keys()].map((policy) => {
            const value = compileTrafficPolicy(policy, this.#fallbacks.get(policy));
            return [resourceName(policy), encodeResource({ case: 'trafficPolicy', value })];
          }),
        ),
    };
  }

  /** Says of every policy what came of it; to be called after all waypoints are compiled. */
  settle(outcomes: Outcomes): void {
    for (const policy of this.#world.objects.trafficPolicies) {
      const problem = this.#fallbacks.get(policy);
      if (problem !== undefined) {
        const message = `the fallback cannot be used: ${problem.message}`;
        const condition: Condition = { type: 'ResolvedRefs', status: 'False', ...problem };
        outcomes.add(policy, { message, conditions: [pick(condition)] });
      }
      for (const { kind, name } of policy.spec.targetRefs) this.#settleTarget(policy, kind, name, outcomes);
      outcomes.add(policy, { compiledTo: [...(this.#compiledTo.get(policy) ?? [])].sort() });
    }
  }

  #settleTarget(policy: TrafficPolicy, kind: string, name: string, outcomes: Outcomes): void {
    const namespace = namespaceOf(policy);
    const parent = `${kind} ${namespace}/${name}`;
    const waiting = this.#waitingFor(policy, kind, namespace, name);
    if (waiting !== undefined) {
      const { reason, message } = waiting;
      const pending = `${reason === 'Conflicted' ? 'Conflicted' : 'not in force'} for ${parent}: ${message}`;
      const condition: Condition = { parent, type: 'Accepted', status: 'False', reason, message };
      outcomes.add(policy, { pending, conditions: [condition] });
      return;
    }
    const uses = this.#uses.get(targetKey(kind, namespace, name));
    const idle =
      uses?.has('requests') === true ? [] : REQUEST_PARTS.filter((part) => policy.spec[part] !== undefined);
    const message =
      idle.length === 0
        ? ''
        : `${idle.join(', ')} ${idle.length === 1 ? 'does' : 'do'} not apply to ${parent}: no waypoint stands before it, and it is only a backend`;
    outcomes.add(policy, {
      message,
      conditions: [{ parent, type: 'Accepted', status: 'True', reason: 'Accepted', message }],
    });
  }

  /** Why a policy is not in force at a target. */
  #waitingFor(
    policy: TrafficPolicy,
    kind: string,
    namespace: string,
    name: string,
  ): { reason: string; message: string } | undefined {
    const target = targetKey(kind, namespace, name);
    const service = kind === 'Service' ? this.#world.services.get(`${namespace}/${name}`) : undefined;
    const exists = kind === 'Service' ? service !== undefined : this.#routes.has(target);
    if (!exists) return { reason: 'TargetNotFound', message: `there is no ${kind} ${namespace}/${name}` };
    const winner = this.#winners.get(target);
    if (winner !== undefined && winner !== policy)
      return {
        reason: 'Conflicted',
        message: `TrafficPolicy ${keyOf(winner)}, which is older, counts`,
      };
    if (this.#uses.has(target)) return undefined;
    if (service === undefined)
      return {
        reason: 'Pending',
        message: 'no waypoint carries it: none of its parents is a Service that a waypoint stands before',
      };
    const standing = waypointOfService(service, this.#world);
    const message =
      standing.state === 'unusable'
        ? standing.why
        : 'no waypoint stands before it (label loam.dev/use-waypoint), and no route of one sends to it';
    return { reason: 'Pending', message };
  }
}

function pick({ type, status, reason, message }: Condition): Condition {
  return { type, status, reason, message };
}

function targetOf(object: Service | HTTPRoute | GRPCRoute): string {
  return targetKey(object.kind, namespaceOf(object), object.metadata.name);
}

function targetKey(kind: string, namespace: string, name: string): string {
  return `${kind} ${namespace}/${name}`;
}

function resourceName(policy: TrafficPolicy): string {
  return `traffic/${keyOf(policy)}`;
}

/** The older of two policies, else the first by name (GEP-713, conflict resolution); one without a time is the youngest. */
function olderFirst(a: TrafficPolicy, b: TrafficPolicy): number {
  const [timeA, timeB] = [createdAt(a), createdAt(b)];
  if (timeA !== timeB) return timeA < timeB ? -1 : 1;
  return keyOf(a) < keyOf(b) ? -1 : 1;
}

function createdAt({ metadata: { creationTimestamp } }: TrafficPolicy): number {
  const time = Date.parse(creationTimestamp ?? '');
  return Number.isNaN(time) ? Infinity : time;
}
