import type { Outcomes } from '../outcomes.ts';
import type { TrafficPolicyPart } from './traffic-policy.ts';
import type { Waypoint, World } from './world.ts';

/** What the routes come to for one waypoint. */
export interface RoutePart {
  /** By name in the stream: `route/<kind>/<namespace>/<name>`. */
  readonly resources: ReadonlyMap<string, Uint8Array>;
  /** Services to which they send, by `<namespace>/<name>`. */
  readonly backends: ReadonlySet<string>;
}

/** The routes attached to Services that this waypoint serves. */
export function compileRoutes(
  _world: World,
  _waypoint: Waypoint,
  _traffic: TrafficPolicyPart,
  _outcomes: Outcomes,
): RoutePart {
  return { resources: new Map(), backends: new Set() };
}
