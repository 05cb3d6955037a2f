import type { Service } from '../../model/objects.ts';
import type { Outcomes } from '../outcomes.ts';
import type { CompiledResource } from '../resources.ts';
import { compileAuthentications } from './authentication.ts';
import { compileAuthorizations } from './authorization.ts';
import { encodeResource } from './part.ts';
import { compileRoutes } from './routes.ts';
import { compileWaypointService } from './services.ts';
import { compileSettings } from './settings.ts';
import { compileTrafficPolicies } from './traffic-policy.ts';
import { keyOf, type Waypoint, waypointOfService, type World } from './world.ts';

/** The resources of each waypoint (`<namespace>/<name>` of its Gateway), by their name in the stream. */
export type WaypointResources = ReadonlyMap<string, ReadonlyMap<string, CompiledResource>>;

/** Compiles what each waypoint needs, and nothing more. Pure: equal input gives equal bytes. */
export function compileWaypoints(world: World, outcomes: Outcomes): WaypointResources {
  const servedBy = new Map<string, Service[]>();
  for (const service of world.services.values()) {
    const waypoint = waypointOfService(service, world);
    if (waypoint.state === 'unusable')
      outcomes.add(service, { message: `connections to it are refused: ${waypoint.why}` });
    if (waypoint.state !== 'served') continue;
    const served = servedBy.get(waypoint.waypoint.key);
    if (served === undefined) servedBy.set(waypoint.waypoint.key, [service]);
    else served.push(service);
  }
  return new Map(
    [...world.waypoints].map(([key, waypoint]) => [
      key,
      compileWaypoint(world, waypoint, servedBy.get(key) ?? [], outcomes),
    ]),
  );
}

function compileWaypoint(
  world: World,
  waypoint: Waypoint,
  served: readonly Service[],
  outcomes: Outcomes,
): Map<string, CompiledResource> {
  const resources = new Map<string, CompiledResource>();
  const add = (name: string, bytes: Uint8Array): void =>
    void resources.set(name, { name, bytes, aliases: [], members: [] });
  const settings = compileSettings(waypoint.gateway.metadata.annotations ?? {});
  add('settings', encodeResource({ case: 'settings', value: settings }));
  const authorization = compileAuthorizations(world, waypoint, outcomes);
  const authentication = compileAuthentications(world, waypoint, outcomes);
  const traffic = compileTrafficPolicies(world, waypoint, outcomes);
  const routes = compileRoutes(world, waypoint, traffic, outcomes);
  for (const part of [authorization, authentication, traffic, routes])
    for (const [name, bytes] of part.resources) add(name, bytes);

  const servedKeys = new Set(served.map(keyOf));
  for (const service of served) {
    const { name, bytes } = compileWaypointService(service, true, {
      authorization: authorization.forService(service),
      authentication: authentication.forService(service),
      trafficPolicy: traffic.forService(service),
    });
    add(name, bytes);
    outcomes.add(service, { compiledTo: [resourceLabel(waypoint.key, name)] });
  }
  for (const key of [...new Set([...routes.backends, ...traffic.backends])].sort()) {
    const service = world.services.get(key);
    if (service === undefined || servedKeys.has(key)) continue;
    const { name, bytes } = compileWaypointService(service, false, {
      authorization: [],
      authentication: [],
      trafficPolicy: traffic.forService(service),
    });
    add(name, bytes);
    outcomes.add(service, { compiledTo: [resourceLabel(waypoint.key, name)] });
  }
  outcomes.add(waypoint.gateway, { compiledTo: [resourceLabel(waypoint.key, 'settings')] });
  return resources;
}

/** How a status names a waypoint's resource; refusals by a waypoint find their objects by it. */
export function resourceLabel(waypoint: string, resource: string): string {
  return `Waypoint ${waypoint} ${resource}`;
}
