import type { V1Namespace } from '@kubernetes/client-node';
import { agent } from './agent.ts';
import { controllerRbac } from './controller-rbac.ts';
import { controller } from './controller.ts';
import { clusterMeta, PART_OF, WAYPOINT_CLASS, type Installation, type Manifest } from './manifest.ts';
import { record } from './record.ts';
import { ztunnel } from './ztunnel.ts';

const WAYPOINT_CONTROLLER = 'loam.dev/waypoint';

/** The objects of an installation, without its namespace and the CustomResourceDefinitions, in the order in which they are made. */
export function objectsOf(installation: Installation): Manifest[] {
  return [
    ...controllerRbac(installation),
    ...controller(installation),
    gatewayClass(),
    ...agent(installation),
    ...ztunnel(installation),
    record(installation),
  ];
}

/** The namespace of an installation. Agents and ztunnels do what Pod Security keeps others from. */
export function namespaceOf({ namespace }: Installation): Manifest & V1Namespace {
  return {
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name: namespace, labels: { ...PART_OF, 'pod-security.kubernetes.io/enforce': 'privileged' } },
  };
}

/** What a Gateway names to be a waypoint. */
function gatewayClass(): Manifest & { spec: object } {
  return {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'GatewayClass',
    metadata: clusterMeta('waypoint', WAYPOINT_CLASS),
    spec: {
      controllerName: WAYPOINT_CONTROLLER,
      description: "Loam's waypoints: routes, and policy for requests.",
    },
  };
}
