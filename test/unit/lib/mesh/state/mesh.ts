import type { Policy, Service, ServicePort, Workload } from '../../../../../lib/mesh/state/model.ts';
import { WorkloadStore } from '../../../../../lib/mesh/state/workload-store.ts';

/** A healthy HBONE pod of namespace shop; anything can be said otherwise. */
export function workload(name: string, ip: string, more: Partial<Workload> = {}): Workload {
  const namespace = more.namespace ?? 'shop';
  return {
    kind: 'workload',
    uid: `Kubernetes//Pod/${namespace}/${name}`,
    name,
    namespace,
    identity: { trustDomain: 'cluster.local', namespace, serviceAccount: name },
    addresses: [ip],
    network: '',
    hostname: '',
    tunnelProtocol: 'hbone',
    node: 'node-a',
    canonicalName: name,
    canonicalRevision: 'latest',
    workloadType: 'pod',
    workloadName: name,
    nativeTunnel: false,
    services: [],
    authorizationPolicies: [],
    healthy: true,
    clusterId: 'Kubernetes',
    locality: { region: '', zone: '', subzone: '' },
    hostNetwork: false,
    capacity: 1,
    ...more,
  };
}

export function port(servicePort: number, targetPort = servicePort): ServicePort {
  return { servicePort, targetPort, appProtocol: 'tcp' };
}

/** The service `shop/NAME.shop.svc.cluster.local` on ports 80 → 8080. */
export function service(name: string, vip: string | undefined, more: Partial<Service> = {}): Service {
  const namespace = more.namespace ?? 'shop';
  const hostname = `${name}.${namespace}.svc.cluster.local`;
  return {
    kind: 'service',
    key: `${namespace}/${hostname}`,
    name,
    namespace,
    hostname,
    addresses: vip === undefined ? [] : [{ network: '', ip: vip }],
    ipFamilies: 'automatic',
    ports: [port(80, 8080)],
    subjectAltNames: [],
    weightedWaypoints: [],
    loadBalancing: { routingPreference: [], mode: 'unspecified', allowUnhealthy: false },
    canonical: true,
    visibility: 'public',
    ...more,
  };
}

/** That a workload serves a service of {@link service}. */
export function serves(name: string, ...ports: ServicePort[]) {
  return {
    service: `shop/${name}.shop.svc.cluster.local`,
    ports: ports.length > 0 ? ports : [port(80, 8080)],
  };
}

export function storeOf(...upserts: (Workload | Service)[]): WorkloadStore {
  const store = new WorkloadStore();
  store.apply({ upserts, removed: [] });
  return store;
}

export function policy(key: string, more: Partial<Policy> = {}): Policy {
  const namespace = key.split('/')[0] ?? '';
  return { key, namespace, scope: 'namespace', action: 'allow', dryRun: false, rules: [], ...more };
}
