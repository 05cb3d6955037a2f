import { create } from '@bufbuild/protobuf';
import { ServiceSchema } from '../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { namespaceOf, type Service } from '../../model/objects.ts';
import { hostnameOf, tcpPorts } from '../services.ts';
import type { SidePlan } from '../telemetry/effective.ts';
import { sideMessage } from '../telemetry/message.ts';
import { encodeResource } from './part.ts';
import { protocolOf } from './protocol.ts';

/** What applies to a Service: names `<namespace>/<name>`. */
export interface AppliedPolicies {
  readonly authorization: readonly string[];
  readonly authentication: readonly string[];
  readonly trafficPolicy: string;
  /** Where something else holds than for the waypoint. */
  readonly telemetry?: SidePlan | undefined;
}

/** `<namespace>/<hostname>`, by which routes and the mesh name a Service. */
export function waypointServiceKey(service: Service): string {
  const namespace = namespaceOf(service);
  return `${namespace}/${hostnameOf(namespace, service.metadata.name)}`;
}

/** Name and bytes of a Service's resource. `served`: the waypoint stands before it, else its routes only send there. */
export function compileWaypointService(
  service: Service,
  served: boolean,
  { authorization, authentication, trafficPolicy, telemetry }: AppliedPolicies,
): { readonly name: string; readonly bytes: Uint8Array } {
  const key = waypointServiceKey(service);
  const value = create(ServiceSchema, {
    key,
    name: service.metadata.name,
    namespace: namespaceOf(service),
    served,
    ports: tcpPorts(service).map((port) => ({ port: port.port, protocol: protocolOf(port) })),
    authorization: [...authorization],
    authentication: [...authentication],
    trafficPolicy,
    ...(telemetry !== undefined && { telemetry: sideMessage(telemetry) ?? {} }),
  });
  return { name: `service/${key}`, bytes: encodeResource({ case: 'service', value }) };
}
