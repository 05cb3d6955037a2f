import { spiffeUri } from '../../lib/spiffe.ts';
import type { ZtunnelConfig } from '../config.ts';
import type { Certificates, StateFeed } from '../control-plane.ts';
import type { EgressStore } from '../../lib/mesh/egress/egress-store.ts';
import type { HeldStateKeeper } from '../held-state/keeper.ts';
import type { PodDirectory } from '../pods/pod-directory.ts';
import type { ZdsClient } from '../pods/zds-client.ts';
import type { PolicyStore } from '../../lib/mesh/state/policy-store.ts';
import type { WorkloadStore } from '../../lib/mesh/state/workload-store.ts';

export interface DumpSources {
  readonly config: ZtunnelConfig;
  readonly version: string;
  readonly workloads: WorkloadStore;
  readonly policies: PolicyStore;
  readonly egress: EgressStore;
  readonly certificates: Certificates;
  readonly pods: PodDirectory;
  readonly feed: () => StateFeed;
  readonly zds: ZdsClient;
  readonly keeper: Pick<HeldStateKeeper, 'isHanded'>;
}

/** All that this ztunnel knows, as JSON; holds no key and no token (the configuration names files only). */
export function configDump(sources: DumpSources): object {
  return {
    version: sources.version,
    config: sources.config,
    xds: sources.feed().status(),
    zds: sources.zds.status,
    heldState: { isHanded: sources.keeper.isHanded },
    pods: sources.pods.rows().map(({ identity, ...pod }) => ({ ...pod, identity: spiffeUri(identity) })),
    workloads: [...sources.workloads.workloads()].map(({ identity, ...workload }) => ({
      ...workload,
      identity: spiffeUri(identity),
    })),
    services: [...sources.workloads.services()],
    policies: [...sources.policies.policies()],
    egress: { workloads: [...sources.egress.workloads()], policies: [...sources.egress.policies()] },
    telemetry: [...sources.egress.telemetry()],
    certificates: sources.certificates.snapshot(),
  };
}
