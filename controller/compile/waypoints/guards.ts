import { create } from '@bufbuild/protobuf';
import {
  Action,
  type Authorization,
  AuthorizationSchema,
  Scope,
} from '../../../proto/gen/istio/security/authorization_pb.js';
import { waypointGuardName } from '../../../lib/waypoint-guard.ts';
import { namespaceOf, type Pod, type Service } from '../../model/objects.ts';
import { targetPortOf, tcpPorts } from '../services.ts';
import { containerPort } from '../workloads.ts';
import { gatewayNameOf } from './labels.ts';
import { keyOf, type ServiceWaypoint, waypointOfService, type World } from './world.ts';

const SPIFFE_SCHEME = 'spiffe://';

/** A port of a pod that is reached through waypoints only. */
export interface GuardedPort {
  readonly port: number;
  /** `<namespace>/<name>` of the Gateways, sorted, each with the identity of its waypoint if there is one. */
  readonly waypoints: ReadonlyMap<string, string | undefined>;
}

/** The waypoint of a Service, with the name of its Gateway also where that does not exist. */
export type NamedWaypoint =
  | { readonly state: 'none' }
  | (Exclude<ServiceWaypoint, { readonly state: 'none' }> & { readonly gateway: string });

export function namedWaypointOf(service: Service, world: World): NamedWaypoint {
  const found = waypointOfService(service, world);
  if (found.state === 'none') return found;
  const namespace = namespaceOf(service);
  const own = world.objects.namespaces.get(namespace)?.metadata.labels;
  const wanted = gatewayNameOf(namespace, service.metadata.labels, own);
  return wanted === undefined
    ? { state: 'none' }
    : { ...found, gateway: `${wanted.namespace}/${wanted.name}` };
}

/**
 * The ports of a pod to which its Services' waypoints are the only way: the target ports of every Service that has one.
 * Two Services with different waypoints may lead to one port, which then takes both. A waypoint that does not exist, or
 * does not admit the Service, has no identity that could pass: the port is closed.
 *
 * @param services those that select the pod
 * @param own the Gateway of the pod itself, whose waypoint carries what is sent to the pod's address
 */
export function guardedPorts(
  pod: Pod,
  services: readonly Service[],
  own: string | undefined,
  world: World,
): GuardedPort[] {
  const ports = new Map<number, Map<string, string | undefined>>();
  for (const service of services) {
    const waypoint = namedWaypointOf(service, world);
    if (waypoint.state === 'none') continue;
    for (const servicePort of tcpPorts(service)) {
      const port = targetPortOf(servicePort, (name) => containerPort(pod, name));
      if (port === undefined) continue;
      const all = ports.get(port) ?? new Map<string, string | undefined>();
      ports.set(port, all);
      // Two Services may name one Gateway, which admits the namespace of both or of none: they are in the pod's.
      all.set(waypoint.gateway, waypoint.state === 'served' ? waypoint.waypoint.identity : undefined);
    }
  }
  const ownIdentity = own === undefined ? undefined : world.waypoints.get(own)?.identity;
  return [...ports]
    .sort(([a], [b]) => a - b)
    .map(([port, waypoints]) => {
      if (own !== undefined && ownIdentity !== undefined && !waypoints.has(own))
        waypoints.set(own, ownIdentity);
      return { port, waypoints: new Map([...waypoints].sort(([a], [b]) => (a < b ? -1 : 1))) };
    });
}

/**
 * The policies that keep ports to their waypoints: a DENY of everyone who is not one of them, plaintext included. They
 * are ordinary Authorizations, so that any node of the mesh enforces them, and a DENY, so that no ALLOW opens the way.
 */
export function guardPolicies(pod: Pod, ports: readonly GuardedPort[]): Authorization[] {
  const groups = Map.groupBy(ports, ({ waypoints }) => JSON.stringify([...waypoints]));
  return [...groups.values()].map((group) => {
    const waypoints = group[0]?.waypoints ?? new Map<string, string | undefined>();
    const identities = [...waypoints.values()].filter((identity) => identity !== undefined);
    const destinationPorts = group.map(({ port }) => port);
    const notPrincipals = identities.map((identity) => ({
      matchType: { case: 'exact' as const, value: identity.slice(SPIFFE_SCHEME.length) },
    }));
    return create(AuthorizationSchema, {
      name: waypointGuardName({ ports: destinationPorts, waypoints: [...waypoints.keys()] }),
      namespace: namespaceOf(pod),
      scope: Scope.WORKLOAD_SELECTOR,
      action: Action.DENY,
      rules: [{ clauses: [{ matches: [{ destinationPorts, notPrincipals }] }] }],
    });
  });
}

/**
 * What to tell of a Service without a waypoint whose pods have ports that another Service keeps to one: connections to
 * it are refused there. Undefined when there is nothing to tell.
 */
export function cutOffBy(
  service: Service,
  pod: Pod,
  ports: readonly GuardedPort[],
  world: World,
): string | undefined {
  if (namedWaypointOf(service, world).state !== 'none') return undefined;
  const own = new Set(
    tcpPorts(service).map((port) => targetPortOf(port, (name) => containerPort(pod, name))),
  );
  const shared = ports.find(({ port }) => own.has(port));
  if (shared === undefined) return undefined;
  const names = [...shared.waypoints.keys()].join(' or ');
  return (
    `port ${shared.port} of its pod ${keyOf(pod)} is reached only through waypoint ${names}, since another Service ` +
    'of that pod has it: connections to this Service are refused there; give it the same loam.dev/use-waypoint'
  );
}
