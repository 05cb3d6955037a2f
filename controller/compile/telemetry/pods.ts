import { create, toBinary } from '@bufbuild/protobuf';
import { ResourceSchema } from '../../../proto/gen/loam/egress/v1/egress_pb.js';
import type { PlacedPod } from '../egress/compile.ts';
import type { CompiledResource } from '../resources.ts';
import { sideMessage } from './message.ts';
import type { TelemetryPlanner } from './plan.ts';

/** The resource that tells a node of the telemetry of one of its pods. */
export function telemetryName(uid: string): string {
  return `telemetry/${uid}`;
}

/** Undefined where the default holds. */
export function podTelemetry(
  { pod, uid, inMesh }: PlacedPod,
  telemetry: TelemetryPlanner,
): CompiledResource | undefined {
  const plan = inMesh ? telemetry.ofPod(pod) : undefined;
  if (plan === undefined) return undefined;
  const [client, server] = [sideMessage(plan.client), sideMessage(plan.server)];
  if (client === undefined && server === undefined) return undefined;
  const value = { uid, ...(client !== undefined && { client }), ...(server !== undefined && { server }) };
  const resource = create(ResourceSchema, { kind: { case: 'telemetry', value } });
  return { name: telemetryName(uid), bytes: toBinary(ResourceSchema, resource), aliases: [], members: [] };
}
