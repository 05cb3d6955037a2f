import type { CompiledPolicy } from './authorization.ts';
import type { Condition } from './outcomes.ts';

/**
 * Conditions of the kinds that Loam shares with Istio. `Accepted` has the reasons of the Gateway API for policies (GEP-713),
 * `Enforced` says whether everything that is written holds, as it is written.
 */
export type PolicyReason =
  | 'Accepted'
  | 'Enforced'
  | 'TargetNotFound'
  | 'Conflicted'
  | 'Invalid'
  | 'RequiresWaypoint'
  | 'WaypointUnavailable'
  | 'DryRun'
  | 'UnsupportedValue'
  | 'NotResolved';

export function accepted(message = ''): Condition {
  return { type: 'Accepted', status: 'True', reason: 'Accepted', message };
}

export function notAccepted(reason: PolicyReason, message: string): Condition {
  return { type: 'Accepted', status: 'False', reason, message };
}

export function enforced(message: string): Condition {
  return { type: 'Enforced', status: 'True', reason: 'Enforced', message };
}

export function notEnforced(reason: PolicyReason, message: string): Condition {
  return { type: 'Enforced', status: 'False', reason, message };
}

/** Of an AuthorizationPolicy, as far as it is enforced at pods; nothing where all of it is for waypoints. */
export function conditionsAtPods({
  authorization,
  pending,
  l7Fields = [],
  message,
}: CompiledPolicy): Condition[] {
  if (authorization === undefined)
    return pending === undefined ? [accepted()] : [accepted(), notEnforced('RequiresWaypoint', message)];
  if (l7Fields.length > 0) return [accepted(), notEnforced('RequiresWaypoint', message)];
  return [accepted(), authorization.dryRun ? notEnforced('DryRun', message) : enforced(message)];
}
