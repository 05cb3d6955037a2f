import { fromBinary } from '@bufbuild/protobuf';
import { ResourceSchema } from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { decodeEgress } from '../../lib/mesh/egress/decode.ts';
import { EgressStore } from '../../lib/mesh/egress/egress-store.ts';
import { PolicyStore } from '../../lib/mesh/state/policy-store.ts';
import { WorkloadStore } from '../../lib/mesh/state/workload-store.ts';
import { ConfigStore, type NamedResource } from '../../lib/mesh/waypoint/config-store.ts';
import { Subscription } from '../../lib/mesh/xds/subscription.ts';
import { XdsClient, type XdsClientOptions } from '../../lib/mesh/xds/xds-client.ts';
import { MeshError } from '../mesh/errors.ts';
import { TRIAL_PATIENCE_MS, type TrialMesh } from './trial-controller.ts';

const EGRESS_TYPE = 'type.googleapis.com/loam.egress.v1.Resource';
const WAYPOINT_TYPE = 'type.googleapis.com/loam.waypoint.v1.Resource';
const SILENT = { info: (): void => undefined, warn: (): void => undefined, debug: (): void => undefined };

/** In whose place a trial's controller is asked: a node, or the waypoint of a Gateway (`namespace/name`). */
export interface TrialClient {
  readonly kind: 'node' | 'gateway';
  readonly name: string;
}

/** How a trial's controller is asked. */
export interface Told {
  readonly address: string;
  readonly rootFile: string;
  readonly tokenFile: string;
  readonly mesh: TrialMesh;
  /** Resolves when the client has all that is for it. @throws MeshError */
  readonly complete: () => Promise<void>;
}

/** Asks a trial's controller in the place of nodes and waypoints. */
export function followTrial(toldAs: (who: TrialClient) => Told): {
  /** What is the same for all. */
  all(node: string): Promise<{ workloads: WorkloadStore; policies: PolicyStore }>;
  egress(node: string): Promise<EgressStore>;
  waypoint(gateway: string): Promise<ConfigStore>;
} {
  return {
    all: async (node) => {
      const workloads = new WorkloadStore();
      const policies = new PolicyStore();
      await tellAll(
        toldAs,
        { kind: 'node', name: node },
        {
          onAddresses: (delta) => workloads.apply(delta),
          onPolicies: (delta) => policies.apply(delta),
        },
      );
      return { workloads, policies };
    },
    egress: async (node) => {
      const egress = new EgressStore();
      const more = new Subscription({
        typeUrl: EGRESS_TYPE,
        decode: (name, bytes) => ({ value: decodeEgress(name, bytes), errors: [] }),
        apply: (delta) => egress.apply(delta),
      });
      await tellAll(toldAs, { kind: 'node', name: node }, { ...NO_ADDRESSES, more: [more] });
      return egress;
    },
    waypoint: async (gateway) => {
      const config = new ConfigStore();
      const more = new Subscription<NamedResource>({
        typeUrl: WAYPOINT_TYPE,
        decode: (name, bytes) => ({
          value: { name, resource: fromBinary(ResourceSchema, bytes) },
          errors: [],
        }),
        apply: (delta) => config.apply(delta),
      });
      await tellAll(toldAs, { kind: 'gateway', name: gateway }, { ...NO_ADDRESSES, more: [more] });
      return config;
    },
  };
}

/** They are asked for by name, and none is. */
const NO_ADDRESSES = {
  onAddresses: (): void => undefined,
  onTold: (): void => undefined,
};

async function tellAll(
  toldAs: (who: TrialClient) => Told,
  who: TrialClient,
  wanted: Pick<XdsClientOptions, 'onAddresses' | 'onPolicies' | 'onTold' | 'more'>,
): Promise<void> {
  const { mesh, complete, ...endpoint } = toldAs(who);
  const { trustDomain, clusterId } = mesh;
  const [program, node] = who.kind === 'node' ? ['ztunnel', who.name] : ['waypoint', ''];
  const begun = Promise.withResolvers<void>();
  const late = setTimeout(
    () =>
      begun.reject(
        new MeshError('MESH_ANSWER', `the controller for the proposal told ${who.kind} ${who.name} nothing`),
      ),
    TRIAL_PATIENCE_MS,
  );
  await using client = new XdsClient({
    ...endpoint,
    clusterId,
    node: {
      id: `${program}~0.0.0.0~${who.name.replace('/', '.')}~trial.svc.${trustDomain}`,
      metadata: { NODE_NAME: node, CLUSTER_ID: clusterId },
    },
    ...wanted,
    onReady: begun.resolve,
    log: SILENT,
  });
  client.start();
  try {
    await begun.promise;
    await complete();
  } finally {
    clearTimeout(late);
  }
}
