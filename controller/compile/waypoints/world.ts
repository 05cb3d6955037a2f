import { spiffeUri } from '../../../lib/spiffe.ts';
import { GATEWAY_NAME_LABEL, WAYPOINT_CLASS } from '../../model/gateway-api.ts';
import {
  type Gateway,
  type KubeObject,
  namespaceOf,
  type ReferenceGrant,
  type Service,
  type ServiceAccount,
} from '../../model/objects.ts';
import type { Objects } from '../group.ts';
import { type Localities, localitiesOf } from '../localities.ts';
import { DEFAULT_ACCOUNT } from '../workloads.ts';
import { gatewayNameOf, takesTraffic } from './labels.ts';

/** A Gateway of our class. */
export interface Waypoint {
  /** `<namespace>/<name>`, as in tokens and assignments. */
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  readonly gateway: Gateway;
  /** SPIFFE URI of its processes. */
  readonly identity: string;
}

/** All that a part of the waypoint's compiler may look at. Pure data: made anew for each compilation. */
export interface World {
  readonly objects: Objects;
  readonly rootNamespace: string;
  readonly trustDomain: string;
  readonly sessionSecret: Uint8Array | undefined;
  /** By key. */
  readonly waypoints: ReadonlyMap<string, Waypoint>;
  /** Gateways of the class that have no waypoint, by key: why. */
  readonly refused: ReadonlyMap<string, string>;
  /** By `<namespace>/<name>`; without those of type ExternalName, which the mesh does not carry. */
  readonly services: ReadonlyMap<string, Service>;
  /** ReferenceGrants by the namespace that they open. */
  readonly grants: ReadonlyMap<string, readonly ReferenceGrant[]>;
  readonly localities: Localities;
}

/** Which waypoint a Service is before. */
export type ServiceWaypoint =
  | { readonly state: 'none' }
  /** It opts in to one that does not exist, or that does not admit it: nodes refuse its traffic (`why`). */
  | { readonly state: 'unusable'; readonly reason: 'missing' | 'not admitted'; readonly why: string }
  | { readonly state: 'served'; readonly waypoint: Waypoint };

export function makeWorld(
  objects: Objects,
  options: { rootNamespace: string; trustDomain: string; sessionSecret?: Uint8Array },
): World {
  const waypoints = new Map<string, Waypoint>();
  const refused = new Map<string, string>();
  const foreign = new Set(objects.accounts.filter(isForeign).map(keyOf));
  for (const gateway of objects.gateways) {
    if (gateway.spec.gatewayClassName !== WAYPOINT_CLASS) continue;
    const namespace = namespaceOf(gateway);
    const { name } = gateway.metadata;
    const key = keyOf(gateway);
    // Pods have that identity already: they would have to lose it, or could pass for the waypoint.
    if (foreign.has(key) || name === DEFAULT_ACCOUNT) {
      refused.set(
        key,
        `metadata.name is ${JSON.stringify(name)}; allowed for a waypoint, whose ServiceAccount has this name: one that no other ServiceAccount of the namespace has`,
      );
      continue;
    }
    const identity = spiffeUri({ trustDomain: options.trustDomain, namespace, serviceAccount: name });
    waypoints.set(key, { key, namespace, name, gateway, identity });
  }
  const services = new Map<string, Service>();
  for (const all of objects.servicesByNamespace.values())
    for (const service of all)
      if (service.spec.type !== 'ExternalName') services.set(keyOf(service), service);
  return {
    objects,
    rootNamespace: options.rootNamespace,
    trustDomain: options.trustDomain,
    sessionSecret: options.sessionSecret,
    waypoints,
    refused,
    services,
    grants: Map.groupBy(objects.grants, namespaceOf),
    localities: localitiesOf(objects.nodes),
  };
}

/** Whether an account is none that was made for the Gateway of its name. */
function isForeign({ metadata }: ServiceAccount): boolean {
  return metadata.labels?.[GATEWAY_NAME_LABEL] !== metadata.name;
}

/** `<namespace>/<name>` of an object. */
export function keyOf(object: KubeObject): string {
  return `${namespaceOf(object)}/${object.metadata.name}`;
}

/** The waypoint that stands before a Service, by its labels and what the Gateway says of itself. */
export function waypointOfService(service: Service, world: World): ServiceWaypoint {
  const namespace = namespaceOf(service);
  const namespaceLabels = world.objects.namespaces.get(namespace)?.metadata.labels;
  const wanted = gatewayNameOf(namespace, service.metadata.labels, namespaceLabels);
  if (wanted === undefined) return { state: 'none' };
  const key = `${wanted.namespace}/${wanted.name}`;
  const waypoint = world.waypoints.get(key);
  if (waypoint === undefined)
    return {
      state: 'unusable',
      reason: 'missing',
      why: world.refused.get(key) ?? `there is no Gateway ${key} of class ${WAYPOINT_CLASS}`,
    };
  if (!takesTraffic(waypoint.gateway.metadata.labels, 'service')) return { state: 'none' };
  if (!admits(waypoint, namespace))
    return {
      state: 'unusable',
      reason: 'not admitted',
      why: `Gateway ${key} does not admit namespace ${namespace} (listeners[0].allowedRoutes.namespaces)`,
    };
  return { state: 'served', waypoint };
}

/** Whether a Gateway is open to a namespace: by default to its own alone (Gateway API: allowedRoutes). */
export function admits({ gateway, namespace: own }: Waypoint, namespace: string): boolean {
  const from = gateway.spec.listeners[0]?.allowedRoutes?.namespaces?.from ?? 'Same';
  return from === 'All' || (from === 'Same' && own === namespace);
}
