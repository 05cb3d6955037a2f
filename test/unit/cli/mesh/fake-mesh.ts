import type { KernelPod, MeshPod, MeshReader, MeshService, ProgramRef } from '../../../../cli/mesh/reader.ts';
import { EMPTY_CATALOG } from '../../../../lib/flow/catalog.ts';
import type { Policy, Service, Workload } from '../../../../lib/mesh/state/model.ts';

const NODE = 'node-a';
const NETWORK = '';
const TRUST_DOMAIN = 'cluster.local';

export interface FakePod {
  readonly name: string;
  readonly ip: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly kernel?: KernelPod;
  readonly policies?: readonly string[];
  readonly healthy?: boolean;
}

export interface FakeMeshOptions {
  readonly pods: readonly FakePod[];
  readonly services?: readonly {
    readonly name: string;
    readonly vip: string;
    readonly port: number;
    readonly targetPort: number;
    readonly pods: readonly string[];
  }[];
  readonly policies?: readonly Policy[];
  readonly egress?: object;
}

/** A mesh of one node and namespace `m`, which answers as programs do. */
export function fakeMesh(options: FakeMeshOptions): MeshReader {
  const pods = options.pods.map(({ name, ip, labels = {} }): MeshPod => ({
    ...{
      namespace: 'm',
      name,
      node: NODE,
      uid: `uid-${name}`,
      account: name,
      ips: [ip],
      ready: true,
      labels,
    },
  }));
  const services = (options.services ?? []).map(({ name, port }): MeshService => ({
    namespace: 'm',
    name,
    ports: [{ port }],
    selector: { app: name },
  }));
  const dump = ztunnelDump(options);
  return {
    name: 'fake mesh',
    plainServices: 'pods',
    inventory: () => Promise.resolve({ nodes: [NODE], pods, services, waypoints: [] }),
    get: (program: ProgramRef, path) =>
      program.program === 'ztunnel' && path === '/config_dump'
        ? Promise.resolve(JSON.parse(JSON.stringify(dump)))
        : Promise.reject(new Error(`${program.program} does not answer`)),
    text: () => Promise.reject(new Error('no text')),
    missing: () => [],
    kernel: ({ name }) =>
      Promise.resolve(options.pods.find((pod) => pod.name === name)?.kernel ?? { enrolled: true }),
    producers: () => Promise.resolve([]),
    catalog: () => Promise.resolve(EMPTY_CATALOG),
  };
}

function ztunnelDump({ pods, services = [], policies = [], egress }: FakeMeshOptions): object {
  const identity = (name: string): string => `spiffe://${TRUST_DOMAIN}/ns/m/sa/${name}`;
  const enrolled = pods.filter(({ kernel }) => kernel?.enrolled !== false);
  return {
    version: 'test',
    config: { clusterId: 'Kubernetes', egressRules: egress !== undefined, state: { from: 'xds' } },
    pods: enrolled.map(({ name }) => ({
      ...{ uid: `uid-${name}`, name, namespace: 'm', serviceAccount: name, identity: identity(name) },
      state: { kind: 'served' },
    })),
    workloads: pods.map(({ name, ip, kernel, policies: own = [], healthy = true }) => ({
      ...workload(name, ip, kernel?.enrolled !== false),
      identity: identity(name),
      authorizationPolicies: own,
      healthy,
      services: services
        .filter((service) => service.pods.includes(name))
        .map(({ name: service, port, targetPort }) => ({
          service: `m/${service}.m.svc.cluster.local`,
          ports: [{ servicePort: port, targetPort, appProtocol: 'unknown' }],
        })),
    })),
    services: services.map(({ name, vip, port, targetPort }): Service => ({
      kind: 'service',
      key: `m/${name}.m.svc.cluster.local`,
      ...{ name, namespace: 'm', hostname: `${name}.m.svc.cluster.local` },
      addresses: [{ network: NETWORK, ip: vip }],
      ipFamilies: 'ipv4',
      ports: [{ servicePort: port, targetPort, appProtocol: 'unknown' }],
      subjectAltNames: [],
      weightedWaypoints: [],
      loadBalancing: { routingPreference: [], mode: 'unspecified', allowUnhealthy: false },
      canonical: true,
      visibility: 'public',
    })),
    policies,
    egress: egress ?? { workloads: [], policies: [] },
    certificates: enrolled.map(({ name }) => ({ identity: identity(name), state: 'valid', users: 1 })),
  };
}

function workload(
  name: string,
  ip: string,
  hbone: boolean,
): Omit<Workload, 'identity' | 'services' | 'authorizationPolicies' | 'healthy'> {
  return {
    kind: 'workload',
    uid: `Kubernetes//Pod/m/${name}`,
    ...{ name, namespace: 'm', addresses: [ip], network: NETWORK, hostname: '', node: NODE },
    tunnelProtocol: hbone ? 'hbone' : 'none',
    ...{ canonicalName: name, canonicalRevision: 'latest', workloadType: 'pod', workloadName: name },
    ...{ nativeTunnel: false, clusterId: 'Kubernetes', hostNetwork: false, capacity: 1 },
    locality: { region: '', zone: '', subzone: '' },
  };
}

/** An L4 policy on one port. */
export function portPolicy(name: string, action: Policy['action'], port: number, dryRun = false): Policy {
  const none = {
    ...{ namespaces: [], notNamespaces: [], principals: [], notPrincipals: [] },
    ...{ sourceIps: [], notSourceIps: [], destinationIps: [], notDestinationIps: [] },
    ...{ notDestinationPorts: [], serviceAccounts: [], notServiceAccounts: [] },
  };
  return {
    ...{ key: `m/${name}`, namespace: 'm', scope: 'workload', action, dryRun },
    rules: [{ clauses: [{ matches: [{ ...none, destinationPorts: [port] }] }] }],
  };
}
