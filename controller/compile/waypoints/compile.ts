import { createHmac } from 'node:crypto';
import type { Namespace, Service } from '../../model/objects.ts';
import type { Outcomes } from '../outcomes.ts';
import type { CompiledResource } from '../resources.ts';
import { compileAuthentications } from './authentication.ts';
import { compileAuthorizations } from './authorization.ts';
import { gatewayNameOf } from './labels.ts';
import { type ServiceWaypoints, serviceWaypoints } from './parents.ts';
import { encodeResource, resourceLabel } from './part.ts';
import { type AttachedRoute, attachRoutes, compileRoutes } from './routes.ts';
import { compileWaypointService } from './services.ts';
import { compileSettings, tracingOfGateway } from './settings.ts';
import { settleTargets } from './targets.ts';
import { TrafficPolicies } from './traffic-policy.ts';
import type { SidePlan } from '../telemetry/effective.ts';
import type { TelemetryPlanner } from '../telemetry/plan.ts';
import { keyOf, type Waypoint, type World } from './world.ts';

/** The resources of each waypoint (`<namespace>/<name>` of its Gateway), by their name in the stream. */
export type WaypointResources = ReadonlyMap<string, ReadonlyMap<string, CompiledResource>>;

/** Compiles what each waypoint needs, and nothing more. Pure: equal input gives equal bytes. */
export function compileWaypoints(
  world: World,
  outcomes: Outcomes,
  telemetry: TelemetryPlanner,
): { readonly resources: WaypointResources; readonly served: ReadonlyMap<string, readonly Service[]> } {
  const waypointOf = serviceWaypoints(world);
  for (const policy of world.objects.policies) settleTargets(policy, true, world, outcomes);
  for (const policy of world.objects.requestAuthentications) settleTargets(policy, false, world, outcomes);
  for (const namespace of world.objects.namespaces.values()) warnOfMissing(namespace, world, outcomes);
  const servedBy = new Map<string, Service[]>();
  for (const [key, service] of world.services) {
    const found = waypointOf.get(key);
    if (found?.state === 'unusable')
      outcomes.add(service, { message: `connections to it are refused: ${found.why}` });
    if (found?.state !== 'served') continue;
    const served = servedBy.get(found.waypoint.key);
    if (served === undefined) servedBy.set(found.waypoint.key, [service]);
    else served.push(service);
  }
  const policies = new TrafficPolicies(world);
  const routes = attachRoutes(world, waypointOf, outcomes);
  const resources = new Map(
    [...world.waypoints].map(([key, waypoint]) => [
      key,
      compileWaypoint(world, waypoint, servedBy.get(key) ?? [], {
        attached: routes.get(key) ?? [],
        waypointOf,
        policies,
        outcomes,
        telemetry,
      }),
    ]),
  );
  policies.settle(outcomes);
  return { resources, served: servedBy };
}

/** A namespace without a Service yet would say nothing of its label otherwise. */
function warnOfMissing(namespace: Namespace, world: World, outcomes: Outcomes): void {
  const { name, labels } = namespace.metadata;
  const wanted = gatewayNameOf(name, undefined, labels);
  if (wanted === undefined || world.waypoints.has(`${wanted.namespace}/${wanted.name}`)) return;
  const message = `waypoint ${wanted.namespace}/${wanted.name} does not exist: connections to its Services are refused`;
  outcomes.add(namespace, { message });
}

/** One for each waypoint, so that none can forge the sessions of another. */
function sessionKey({ sessionSecret }: World, { key }: Waypoint): Uint8Array {
  if (sessionSecret === undefined) return new Uint8Array();
  return createHmac('sha256', sessionSecret).update(key).digest();
}

function compileWaypoint(
  world: World,
  waypoint: Waypoint,
  served: readonly Service[],
  {
    attached,
    waypointOf,
    policies,
    outcomes,
    telemetry,
  }: {
    readonly attached: readonly AttachedRoute[];
    readonly waypointOf: ServiceWaypoints;
    readonly policies: TrafficPolicies;
    readonly outcomes: Outcomes;
    readonly telemetry: TelemetryPlanner;
  },
): Map<string, CompiledResource> {
  const resources = new Map<string, CompiledResource>();
  const add = (name: string, bytes: Uint8Array): void =>
    void resources.set(name, { name, bytes, aliases: [], members: [] });
  const annotations = waypoint.gateway.metadata.annotations ?? {};
  // A waypoint stands before what is called, and tells what a server tells.
  const told = (service?: Service): SidePlan | undefined =>
    telemetry.ofWaypoint(waypoint.key, service && keyOf(service), tracingOfGateway(annotations))?.server;
  const settings = compileSettings(annotations, sessionKey(world, waypoint), told());
  add('settings', encodeResource({ case: 'settings', value: settings }));
  const authorization = compileAuthorizations(world, waypoint, served, outcomes);
  const authentication = compileAuthentications(world, waypoint, served, outcomes);
  const traffic = policies.forWaypoint(waypoint);
  const routes = compileRoutes(attached, waypoint, waypointOf, traffic, outcomes);
  for (const part of [authorization, authentication, routes])
    for (const [name, bytes] of part.resources) add(name, bytes);

  const addService = (service: Service, isServed: boolean): void => {
    const { name, bytes } = compileWaypointService(service, isServed, {
      authorization: isServed ? authorization.forService(service) : [],
      authentication: isServed ? authentication.forService(service) : [],
      trafficPolicy: traffic.forService(service, isServed),
      telemetry: isServed && telemetry.isOwn(service) ? told(service) : undefined,
    });
    add(name, bytes);
    outcomes.add(service, { compiledTo: [resourceLabel(waypoint.key, name)] });
  };
  const servedKeys = new Set(served.map(keyOf));
  for (const service of served) addService(service, true);
  // Only now the policies of all served Services and of the routes are known, and with them the fallbacks.
  for (const key of [...new Set([...routes.backends, ...traffic.backends()])].sort()) {
    const service = world.services.get(key);
    if (service !== undefined && !servedKeys.has(key)) addService(service, false);
  }
  for (const [name, bytes] of traffic.resources()) add(name, bytes);
  outcomes.add(waypoint.gateway, { compiledTo: [resourceLabel(waypoint.key, 'settings')] });
  return resources;
}
