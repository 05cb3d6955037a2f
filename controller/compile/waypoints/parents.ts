import { Protocol } from '../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import type { ParentRef } from '../../model/gateway-api.ts';
import { type GRPCRoute, type HTTPRoute, namespaceOf, type Service } from '../../model/objects.ts';
import type { Condition } from '../outcomes.ts';
import { tcpPorts } from '../services.ts';
import { protocolOf } from './protocol.ts';
import { type ServiceWaypoint, type Waypoint, waypointOfService, type World } from './world.ts';

/** One parentRef of a route, followed. */
export interface ResolvedParent {
  /** `Service shop/payments`, with `port 80` where one is named. */
  readonly text: string;
  /** Set when the route is in force there. */
  readonly attached?: { readonly service: Service; readonly waypoint: Waypoint; readonly port: number };
  readonly accepted: Condition;
  /** Whether it will be in force once something else is there: no mistake of the route's. */
  readonly waits: boolean;
}

/** The waypoint of each Service, worked out once. */
export type ServiceWaypoints = ReadonlyMap<string, ServiceWaypoint>;

/** Works out which waypoint stands before which Service, by `<namespace>/<name>`. */
export function serviceWaypoints(world: World): ServiceWaypoints {
  return new Map([...world.services].map(([key, service]) => [key, waypointOfService(service, world)]));
}

/** Follows a parentRef to its Service and the waypoint before it. */
export function resolveParent(
  route: HTTPRoute | GRPCRoute,
  { namespace = namespaceOf(route), name, port = 0 }: ParentRef,
  world: World,
  waypoints: ServiceWaypoints,
): ResolvedParent {
  const key = `${namespace}/${name}`;
  const text = `Service ${key}${port === 0 ? '' : ` port ${port}`}`;
  const not = (reason: string, message: string, waits = false): ResolvedParent => ({
    text,
    accepted: { parent: text, type: 'Accepted', status: 'False', reason, message },
    waits,
  });
  const service = world.services.get(key);
  if (service === undefined) return not('NoMatchingParent', `there is no Service ${key}`, true);
  const ports = tcpPorts(service).filter((each) => port === 0 || each.port === port);
  if (ports.length === 0) return not('NoMatchingParent', `Service ${key} has no TCP port ${port}`);
  if (ports.every((each) => protocolOf(each) === Protocol.TCP))
    return not('NotAllowedByListeners', `${text} is opaque to a waypoint (appProtocol, or name of the port)`);
  const waypoint = waypoints.get(key) ?? { state: 'none' };
  switch (waypoint.state) {
    case 'none':
      return not('Pending', `Service ${key} has no waypoint (label loam.dev/use-waypoint)`, true);
    case 'unusable':
      return waypoint.reason === 'not admitted'
        ? not('NotAllowedByListeners', waypoint.why)
        : not('Pending', waypoint.why, true);
    case 'served':
      return {
        text,
        attached: { service, waypoint: waypoint.waypoint, port },
        accepted: { parent: text, type: 'Accepted', status: 'True', reason: 'Accepted', message: '' },
        waits: false,
      };
  }
}
