import type { Authorization } from '../../../proto/gen/istio/security/authorization_pb.js';
import type { AuthorizationPolicy, Pod, Service } from '../../model/objects.ts';
import { namespaceOf } from '../../model/objects.ts';
import type { CompiledPolicy } from '../authorization.ts';
import type { Noting } from '../outcomes.ts';
import { cutOffBy, guardedPorts, guardPolicies } from './guards.ts';
import { gatewayNameOf, takesTraffic } from './labels.ts';
import { selectorWarning } from './selector-warnings.ts';
import { admits, type World } from './world.ts';

/** A policy with what it came to at L4. */
export interface PolicyAtPods extends CompiledPolicy {
  readonly policy: AuthorizationPolicy;
}

/**
 * Keeps the ports of a pod of the mesh to the waypoints of its Services, and says in the status of others whom that
 * concerns.
 *
 * @returns the policies to attach to the pod
 */
export function guardPod(
  pod: Pod,
  services: readonly Service[],
  policies: readonly PolicyAtPods[],
  world: World,
  outcomes: Noting,
): Authorization[] {
  const ports = guardedPorts(pod, services, ownGateway(pod, world), world);
  if (ports.length === 0) return [];
  for (const service of services) {
    const message = cutOffBy(service, pod, ports, world);
    if (message !== undefined) outcomes.add(service, { message });
  }
  for (const compiled of policies) {
    const warning = selectorWarning(compiled, pod, ports);
    if (warning !== undefined) outcomes.add(compiled.policy, { warning });
  }
  return guardPolicies(pod, ports);
}

/** The Gateway whose waypoint carries what is sent to the pod's own address. */
function ownGateway(pod: Pod, world: World): string | undefined {
  const namespace = namespaceOf(pod);
  const home = world.objects.namespaces.get(namespace)?.metadata.labels;
  const wanted = gatewayNameOf(namespace, pod.metadata.labels, home);
  if (wanted === undefined) return undefined;
  const key = `${wanted.namespace}/${wanted.name}`;
  const waypoint = world.waypoints.get(key);
  if (waypoint === undefined || !takesTraffic(waypoint.gateway.metadata.labels, 'workload')) return undefined;
  return admits(waypoint, namespace) ? key : undefined;
}
