import { clone, toJson, type JsonValue } from '@bufbuild/protobuf';
import type { ConfigStore } from '../../lib/mesh/waypoint/config-store.ts';
import type { PolicyStore } from '../../lib/mesh/state/policy-store.ts';
import type { WorkloadStore } from '../../lib/mesh/state/workload-store.ts';
import { spiffeUri, type Identity } from '../../lib/spiffe.ts';
import { ResourceSchema, type Resource } from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import type { WaypointConfig } from '../config.ts';

export interface DumpSources {
  readonly config: WaypointConfig;
  readonly version: string;
  readonly identity: Identity;
  readonly resources: ConfigStore;
  readonly workloads: WorkloadStore;
  readonly policies: PolicyStore;
  readonly xds: object;
  readonly certificates: readonly object[];
}

/** All that this waypoint goes by, as JSON: enough to decide as it does. Holds no key and no token. */
export function configDump(sources: DumpSources): object {
  const { config, version, identity, resources, workloads, policies, xds, certificates } = sources;
  return {
    version,
    config,
    identity: spiffeUri(identity),
    xds,
    resources: Object.fromEntries(
      [...resources.entries()]
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([name, resource]) => [name, resourceJson(resource)]),
    ),
    workloads: [...workloads.workloads()].map(({ identity: own, ...workload }) => ({
      ...workload,
      identity: spiffeUri(own),
    })),
    services: [...workloads.services()],
    policies: [...policies.policies()],
    certificates,
  };
}

/** What signs sessions stays here. */
function resourceJson(resource: Resource): JsonValue {
  if (resource.kind.case !== 'settings') return toJson(ResourceSchema, resource);
  const without = clone(ResourceSchema, resource);
  if (without.kind.case === 'settings') without.kind.value.sessionKey = new Uint8Array();
  return toJson(ResourceSchema, without);
}
