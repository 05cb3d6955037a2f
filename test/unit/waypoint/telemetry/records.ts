import type { Workload } from '../../../../lib/mesh/state/model.ts';
import type { RequestRecord } from '../../../../waypoint/telemetry/request-record.ts';

const PAYMENTS = { name: 'payments', namespace: 'shop', hostname: 'payments.shop.svc.cluster.local' };
const PAYMENTS_V2 = {
  name: 'payments-v2',
  namespace: 'shop',
  hostname: 'payments-v2.shop.svc.cluster.local',
};

export function toyWorkload(name: string, changes: Partial<Workload> = {}): Workload {
  return {
    kind: 'workload',
    uid: `Kubernetes//Pod/shop/${name}`,
    name: `${name}-abc`,
    namespace: 'shop',
    identity: { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: name },
    addresses: ['198.18.0.1'],
    network: '',
    hostname: '',
    tunnelProtocol: 'hbone',
    node: 'node-a',
    canonicalName: name,
    canonicalRevision: 'v1',
    workloadType: 'deployment',
    workloadName: name,
    nativeTunnel: false,
    services: [],
    authorizationPolicies: [],
    healthy: true,
    clusterId: 'Kubernetes',
    locality: { region: '', zone: '', subzone: '' },
    hostNetwork: false,
    capacity: 1,
    ...changes,
  };
}

const FRONTEND = toyWorkload('frontend');
const BACKEND = toyWorkload('payments-v2', { canonicalName: 'payments', canonicalRevision: 'v2' });

/** A request of frontend to payments that a route sent to payments-v2. */
export function toyRequest(changes: Partial<RequestRecord> = {}): RequestRecord {
  return {
    source: { ip: '198.18.0.1', port: 40_000, identity: FRONTEND.identity, workload: FRONTEND },
    requested: PAYMENTS,
    backend: PAYMENTS_V2,
    upstream: {
      address: '198.18.0.9:8080',
      workload: BACKEND,
      identity: 'spiffe://cluster.local/ns/shop/sa/payments-v2',
    },
    destinationAddress: '198.19.0.2:80',
    route: 'HTTPRoute/shop/payments#0',
    method: 'POST',
    authority: 'payments.shop:80',
    path: '/charge',
    protocol: 'http1',
    status: 200,
    grpcStatus: undefined,
    allowedBy: undefined,
    flags: [],
    startMs: 1_700_000_000_000.25,
    durationMs: 12.5,
    upstreamMs: 11.2,
    requestBytes: 300,
    responseBytes: 20,
    requestMessages: 0,
    responseMessages: 0,
    attempts: 1,
    deniedBy: undefined,
    dryRun: [],
    requestId: 'c0ffee',
    trace: undefined,
    fallback: false,
    error: undefined,
    ...changes,
  };
}
