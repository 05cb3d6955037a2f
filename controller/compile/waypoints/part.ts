import { create, toBinary } from '@bufbuild/protobuf';
import { type Resource, ResourceSchema } from '../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import type { Service } from '../../model/objects.ts';

/** What one kind of policy comes to for one waypoint. */
export interface PolicyPart {
  /** By name in the stream: `authorization/<namespace>/<name>` and the like. */
  readonly resources: ReadonlyMap<string, Uint8Array>;
  /** `<namespace>/<name>` of all that apply to requests for a Service that this waypoint serves, in a stable order. */
  readonly forService: (service: Service) => readonly string[];
}

/** The bytes of one resource. Equal content gives equal bytes. */
export function encodeResource(kind: Resource['kind']): Uint8Array {
  return toBinary(ResourceSchema, create(ResourceSchema, { kind }));
}

/** How a status names a waypoint's resource; refusals by a waypoint find their objects by it. */
export function resourceLabel(waypoint: string, resource: string): string {
  return `Waypoint ${waypoint} ${resource}`;
}
