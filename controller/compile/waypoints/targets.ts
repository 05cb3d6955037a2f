import { WAYPOINT_CLASS } from '../../model/gateway-api.ts';
import {
  type AuthorizationPolicy,
  isService,
  namespaceOf,
  type RequestAuthentication,
  type Service,
  type TargetRef,
} from '../../model/objects.ts';
import type { Outcomes } from '../outcomes.ts';
import { accepted, notAccepted, notEnforced } from '../policy-conditions.ts';
import { namedWaypointOf } from './guards.ts';
import { keyOf, type Waypoint, type World } from './world.ts';

/** A policy that a waypoint enforces when its targets say so. */
export type TargetedPolicy = AuthorizationPolicy | RequestAuthentication;

/** What a policy of one kind is attached to at one waypoint. */
export interface Attached<P extends TargetedPolicy> {
  readonly policies: readonly P[];
  /** `<namespace>/<name>` of those for one Service, sorted. */
  readonly forService: (service: Service) => readonly string[];
}

export function targetsOf({ spec }: TargetedPolicy): readonly TargetRef[] {
  return spec?.targetRefs ?? (spec?.targetRef === undefined ? [] : [spec.targetRef]);
}

/**
 * Which policies a waypoint enforces (Istio: PolicyTargetReference): those attached to a Service that it serves, to its
 * Gateway, or, from the root namespace, to its class. The first two from the target's own namespace only.
 */
export function attach<P extends TargetedPolicy>(
  policies: readonly P[],
  waypoint: Waypoint,
  served: readonly Service[],
  world: World,
): Attached<P> {
  const whole = policies.filter((policy) => targetsWaypoint(policy, waypoint, world));
  const byService = new Map<string, P[]>();
  const servedKeys = new Set(served.map(keyOf));
  for (const policy of policies) {
    for (const target of targetsOf(policy)) {
      const key = `${namespaceOf(policy)}/${target.name}`;
      if (!isService(target) || !servedKeys.has(key)) continue;
      const list = byService.get(key);
      if (list === undefined) byService.set(key, [policy]);
      else list.push(policy);
    }
  }
  return {
    policies: [...new Set([...whole, ...[...byService.values()].flat()])],
    forService: (service) =>
      [...new Set([...whole, ...(byService.get(keyOf(service)) ?? [])].map(keyOf))].sort(),
  };
}

function targetsWaypoint(policy: TargetedPolicy, waypoint: Waypoint, { rootNamespace }: World): boolean {
  const namespace = namespaceOf(policy);
  return targetsOf(policy).some(
    ({ kind, name }) =>
      (kind === 'Gateway' && name === waypoint.name && namespace === waypoint.namespace) ||
      (kind === 'GatewayClass' && name === WAYPOINT_CLASS && namespace === rootNamespace),
  );
}

/**
 * Says of each target of a policy what keeps a waypoint from enforcing it there.
 *
 * @param atPods whether a Service without a waypoint is cared for elsewhere (../authorization.ts)
 */
export function settleTargets(
  policy: TargetedPolicy,
  atPods: boolean,
  world: World,
  outcomes: Outcomes,
): void {
  const targets = targetsOf(policy);
  if (targets.length === 0 && !atPods) {
    const pending = 'only waypoints see requests: attach it to a Service that has one, by targetRefs';
    outcomes.add(policy, { pending, conditions: [accepted(), notEnforced('RequiresWaypoint', pending)] });
  }
  for (const target of targets) {
    const found = targetProblem(policy, target, atPods, world);
    if (found === undefined) continue;
    const { reason, why: pending } = found;
    // The policy may be right, and what it needs not there yet.
    const isAccepted = reason === 'RequiresWaypoint' || reason === 'WaypointUnavailable';
    const conditions = [isAccepted ? accepted() : notAccepted(reason, pending), notEnforced(reason, pending)];
    outcomes.add(policy, { pending, conditions });
  }
}

/** What keeps a policy from being in force at a target. */
interface TargetProblem {
  readonly reason: 'TargetNotFound' | 'Invalid' | 'RequiresWaypoint' | 'WaypointUnavailable';
  readonly why: string;
}

function targetProblem(
  policy: TargetedPolicy,
  target: TargetRef,
  atPods: boolean,
  world: World,
): TargetProblem | undefined {
  const namespace = namespaceOf(policy);
  const key = `${namespace}/${target.name}`;
  const not = (reason: TargetProblem['reason'], why: string): TargetProblem => ({ reason, why });
  if (isService(target)) {
    const service = world.services.get(key);
    if (service === undefined) return not('TargetNotFound', `there is no Service ${key}, for which it waits`);
    const waypoint = namedWaypointOf(service, world);
    switch (waypoint.state) {
      case 'none':
        return atPods
          ? undefined
          : not('RequiresWaypoint', `Service ${key} has no waypoint (label loam.dev/use-waypoint)`);
      case 'unusable':
        return not(
          'WaypointUnavailable',
          `not needed at Service ${key} yet, to which connections are refused: ${waypoint.why}`,
        );
      case 'served':
        return undefined;
    }
  }
  switch (target.kind) {
    case 'Gateway':
      return world.waypoints.has(key)
        ? undefined
        : not('TargetNotFound', `there is no Gateway ${key} of class ${WAYPOINT_CLASS}`);
    case 'GatewayClass':
      if (namespace !== world.rootNamespace)
        return not(
          'Invalid',
          `a policy for a GatewayClass counts in the root namespace (${world.rootNamespace}) only`,
        );
      return target.name === WAYPOINT_CLASS
        ? undefined
        : not('TargetNotFound', `GatewayClass ${target.name} is not Loam's, which is ${WAYPOINT_CLASS}`);
    default:
      return not('Invalid', `${target.kind} ${target.name} has no waypoint`);
  }
}
