/** Makes of a config dump the stores that the program itself decides by. */
import { fromJson, type JsonValue } from '@bufbuild/protobuf';
import { EgressStore } from '../../lib/mesh/egress/egress-store.ts';
import type { EgressPolicy, EgressWorkload } from '../../lib/mesh/egress/model.ts';
import type { Policy, Service, Workload } from '../../lib/mesh/state/model.ts';
import { PolicyStore } from '../../lib/mesh/state/policy-store.ts';
import { WorkloadStore } from '../../lib/mesh/state/workload-store.ts';
import { ConfigStore } from '../../lib/mesh/waypoint/config-store.ts';
import { parseSpiffeUri, type Identity } from '../../lib/spiffe.ts';
import { ResourceSchema } from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { MeshError } from './errors.ts';

const DEFAULT_TRUST_DOMAIN = 'cluster.local';

export interface Certificate {
  readonly identity: string;
  readonly state: 'valid' | 'pending' | 'failing';
  readonly users?: number;
  readonly serialNumber?: string;
  readonly notBefore?: string;
  readonly notAfter?: string;
  readonly lastError?: string;
}

export interface DumpedPod {
  readonly uid: string;
  readonly name: string;
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly identity: string;
  readonly state: { readonly kind: string; readonly error?: string };
}

/** What a node's ztunnel goes by. */
export interface NodeState {
  readonly node: string;
  readonly version: string;
  readonly clusterId: string;
  readonly trustDomain: string;
  readonly workloads: WorkloadStore;
  readonly policies: PolicyStore;
  /** Undefined: nobody told it rules at the source, and nothing is restricted. */
  readonly egress: EgressStore | undefined;
  readonly pods: readonly DumpedPod[];
  readonly certificates: readonly Certificate[];
  /** It asks for what its pods need, and does not know the rest. */
  readonly onDemand: boolean;
}

/** What an instance of a waypoint goes by. */
export interface WaypointState {
  /** `namespace/name` of its Gateway. */
  readonly gateway: string;
  readonly instance: string;
  readonly identity: Identity;
  readonly network: string;
  /** Key of its own Service. */
  readonly ownService: string;
  readonly config: ConfigStore;
  readonly workloads: WorkloadStore;
  readonly policies: PolicyStore;
  readonly certificates: readonly Certificate[];
}

type Dumped<T> = Omit<T, 'identity'> & { readonly identity: string };

interface CommonDump {
  readonly version?: string;
  readonly workloads: readonly Dumped<Workload>[];
  readonly services: readonly Service[];
  readonly policies: readonly Policy[];
  readonly certificates?: readonly Certificate[];
}

interface ZtunnelDump extends CommonDump {
  readonly config: {
    readonly clusterId: string;
    readonly trustDomain?: string;
    readonly egressRules?: boolean;
    readonly onDemand?: boolean;
    readonly state?: { readonly from?: string };
  };
  readonly egress?: {
    readonly workloads: readonly EgressWorkload[];
    readonly policies: readonly EgressPolicy[];
  };
  readonly pods: readonly DumpedPod[];
}

interface WaypointDump extends CommonDump {
  readonly config: {
    readonly gateway: { readonly namespace: string; readonly name: string };
    readonly network: string;
  };
  readonly identity: string;
  readonly resources: Readonly<Record<string, JsonValue>>;
}

/** @throws MeshError MESH_ANSWER for what is no dump of a ztunnel */
export function nodeState(node: string, value: unknown): NodeState {
  return reading(`the config dump of ztunnel ${node}`, () => {
    const dump = value as ZtunnelDump;
    const { clusterId, trustDomain = DEFAULT_TRUST_DOMAIN, egressRules, state } = dump.config;
    const follows = egressRules === true && state?.from === 'xds';
    const egress = new EgressStore();
    egress.apply({
      upserts: [...(dump.egress?.workloads ?? []), ...(dump.egress?.policies ?? [])],
      removed: [],
    });
    return {
      ...{ node, clusterId, trustDomain, version: dump.version ?? '', ...commonStores(dump) },
      egress: follows ? egress : undefined,
      ...{ pods: dump.pods, certificates: dump.certificates ?? [] },
      onDemand: dump.config.onDemand === true,
    };
  });
}

/** @throws MeshError MESH_ANSWER for what is no dump of a waypoint */
export function waypointState(instance: string, value: unknown): WaypointState {
  return reading(`the config dump of waypoint ${instance}`, () => {
    const dump = value as WaypointDump;
    const { namespace, name } = dump.config.gateway;
    const config = new ConfigStore();
    config.apply({
      upserts: Object.entries(dump.resources).map(([key, json]) => ({
        name: key,
        resource: fromJson(ResourceSchema, json),
      })),
      removed: [],
    });
    return {
      gateway: `${namespace}/${name}`,
      instance,
      identity: parseSpiffeUri(dump.identity),
      network: dump.config.network,
      // As the waypoint itself names it.
      ownService: `${namespace}/${name}.${namespace}.svc.cluster.local`,
      config,
      ...commonStores(dump),
      certificates: dump.certificates ?? [],
    };
  });
}

function commonStores(dump: CommonDump): { workloads: WorkloadStore; policies: PolicyStore } {
  const workloads = new WorkloadStore();
  workloads.apply({
    upserts: [
      ...dump.workloads.map(({ identity, ...rest }) => ({ ...rest, identity: parseSpiffeUri(identity) })),
      ...dump.services,
    ],
    removed: [],
  });
  const policies = new PolicyStore();
  policies.apply({ upserts: dump.policies, removed: [] });
  return { workloads, policies };
}

function reading<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new MeshError(
      'MESH_ANSWER',
      `${what} cannot be read; is it of another version of Loam than this command?`,
      { cause: error },
    );
  }
}
