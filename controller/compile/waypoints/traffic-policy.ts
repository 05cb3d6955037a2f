import type { GRPCRoute, HTTPRoute, Service } from '../../model/objects.ts';
import type { Outcomes } from '../outcomes.ts';
import type { Waypoint, World } from './world.ts';

/** What the TrafficPolicies come to for one waypoint. */
export interface TrafficPolicyPart {
  /** By name in the stream: `traffic/<namespace>/<name>`. */
  readonly resources: ReadonlyMap<string, Uint8Array>;
  /** `<namespace>/<name>` of the one for a Service, be it served or only a backend; empty: none. */
  readonly forService: (service: Service) => string;
  /** The same for a route. */
  readonly forRoute: (route: HTTPRoute | GRPCRoute) => string;
  /** Services to which policies send (fallback), by `<namespace>/<name>`: the waypoint needs their resources too. */
  readonly backends: readonly string[];
}

/** The TrafficPolicies of one waypoint. None so far: every object of that kind is refused. */
export function compileTrafficPolicies(
  _world: World,
  _waypoint: Waypoint,
  _outcomes: Outcomes,
): TrafficPolicyPart {
  return { resources: new Map(), forService: () => '', forRoute: () => '', backends: [] };
}
