import type { Labels } from '../../model/objects.ts';

/** On a Namespace, Service or Pod: the name of its waypoint's Gateway; `none` opts out of the namespace's. */
export const USE_WAYPOINT_LABEL = 'loam.dev/use-waypoint';
/** The Gateway's namespace where it is another one. */
export const USE_WAYPOINT_NAMESPACE_LABEL = 'loam.dev/use-waypoint-namespace';
/** On a Gateway: whose traffic it takes (Istio's waypoint-for, with Istio's default). */
export const WAYPOINT_FOR_LABEL = 'loam.dev/waypoint-for';
export const WAYPOINT_FOR_VALUES = ['service', 'workload', 'all', 'none'];
const DEFAULT_WAYPOINT_FOR = 'service';

/** Names a Gateway. */
export interface GatewayName {
  readonly namespace: string;
  readonly name: string;
}

/** What is dialled: a Service's address or a pod's. */
export type TrafficTo = 'service' | 'workload';

/**
 * The Gateway that an object's labels, or else its namespace's, opt in to. An own label counts as a whole: an object
 * that names a waypoint does not take the namespace of it from another object.
 */
export function gatewayNameOf(
  namespace: string,
  own: Labels | undefined,
  namespaceLabels: Labels | undefined,
): GatewayName | undefined {
  const labels = own?.[USE_WAYPOINT_LABEL] === undefined ? namespaceLabels : own;
  const name = labels?.[USE_WAYPOINT_LABEL];
  if (name === undefined || name === '' || name === 'none') return undefined;
  return { namespace: labels?.[USE_WAYPOINT_NAMESPACE_LABEL] ?? namespace, name };
}

/** Whether a Gateway with these labels takes the traffic to Services, or to pods by their own address. */
export function takesTraffic(labels: Labels | undefined, to: TrafficTo): boolean {
  const value = labels?.[WAYPOINT_FOR_LABEL] ?? DEFAULT_WAYPOINT_FOR;
  return value === 'all' || value === to;
}
