import type { FlowProducer } from '../../../cli/observe/feed.ts';
import { EMPTY_CATALOG, type Catalog } from '../../../lib/flow/catalog.ts';
import { EdgeCounts } from '../../../lib/flow/edge-counts.ts';
import type { FlowFacts, Party } from '../../../lib/flow/event.ts';

export const POLICY = 'shop/payments-only-charges';
export const ROUTE = 'HTTPRoute/shop/payments#0';

/** Who calls `shop/payments`, and what becomes of it: of each second. */
export interface Caller {
  readonly name: string;
  /** Requests that the policy lets in, which go to the two versions as 9 to 1. */
  readonly allowed: number;
  readonly denied: number;
}

/** A shop with a policy and a split, whose callers a test chooses as it goes. */
export class SmallMesh {
  callers: readonly Caller[] = [];
  readonly catalog: Catalog = catalog();

  readonly producer: FlowProducer = {
    name: 'waypoint shop/waypoint-0',
    follow: (_events, signal, onValue) =>
      new Promise((resolve) => {
        onValue({ kind: 'hello', at: Date.now(), schema: 1, program: 'waypoint', node: 'node-a' });
        const timer = setInterval(() => {
          const edges = this.callers.flatMap(edgesOf).map((counts) => counts.toWindow());
          onValue({ kind: 'window', at: Date.now(), ms: 1_000, edges, overflow: 0 });
          for (const { name, allowed, denied } of this.callers) {
            if (allowed > 0) onValue(event(name, true));
            if (denied > 0) onValue(event(name, false));
          }
        }, 1_000);
        signal.addEventListener('abort', () => {
          clearInterval(timer);
          resolve();
        });
      }),
  };
}

function partyOf(name: string): Party {
  const identity = `spiffe://cluster.local/ns/shop/sa/${name}`;
  return { workload: `${name}-1`, namespace: 'shop', app: name, account: name, identity };
}

function factsOf(caller: string, backend: string | undefined): FlowFacts {
  return {
    side: 'waypoint',
    source: partyOf(caller),
    destination: { ...partyOf(backend ?? 'payments'), port: 80 },
    service: 'shop/payments',
    ...(backend !== undefined && { backend: `shop/${backend}`, route: ROUTE }),
    mtls: true,
  };
}

function edgesOf({ name, allowed, denied }: Caller): EdgeCounts[] {
  const edges = [['payments-v1', allowed * 0.9] as const, ['payments-v2', allowed * 0.1] as const].map(
    ([backend, ended]) => {
      const counts = new EdgeCounts('request', factsOf(name, backend));
      counts.ended = ended;
      counts.allowed.add(POLICY, ended);
      counts.codes.add('200', ended);
      for (let n = 0; n < 5; n += 1) counts.durations.add(4 + n);
      return counts;
    },
  );
  const refused = new EdgeCounts('request', factsOf(name, undefined));
  refused.ended = denied;
  refused.denied.add(POLICY, denied);
  return [...edges, refused].filter(({ ended }) => ended > 0);
}

function event(caller: string, allowed: boolean): object {
  return {
    kind: 'request',
    at: Date.now(),
    ...factsOf(caller, allowed ? 'payments-v1' : undefined),
    protocol: 'http1',
    method: allowed ? 'POST' : 'GET',
    authority: 'payments',
    path: allowed ? '/charge' : '/charges',
    status: allowed ? 200 : 403,
    durationMs: 5,
    ...{ up: 100, down: 200, attempts: 1, requestId: 'made-up' },
    verdict: { allowed, policy: POLICY },
  };
}

function catalog(): Catalog {
  const names = ['frontend', 'auth', 'payments-v1', 'payments-v2'];
  const service = (name: string, ...apps: readonly string[]) => ({
    ...{ namespace: 'shop', name, ports: ['80 http'] },
    pods: apps.map((app) => `shop/${app}-1`),
    waypoint: 'shop/waypoint',
  });
  return {
    ...EMPTY_CATALOG,
    mesh: 'small',
    pods: names.map((name, n) => ({
      ...{ namespace: 'shop', name: `${name}-1`, node: 'node-a', account: name, app: name },
      ...{ ips: [`198.18.1.${n + 1}`], ready: true, enrolled: true },
    })),
    services: [
      service('payments', 'payments-v1', 'payments-v2'),
      service('payments-v1', 'payments-v1'),
      service('payments-v2', 'payments-v2'),
    ],
    routes: [
      {
        ...{ kind: 'HTTPRoute', namespace: 'shop', name: 'payments', parents: ['shop/payments'] },
        rules: [
          {
            key: ROUTE,
            matches: [],
            backends: [
              { service: 'shop/payments-v1', share: 0.8 },
              { service: 'shop/payments-v2', share: 0.2 },
            ],
          },
        ],
      },
    ],
    policies: [
      {
        ...{ kind: 'AuthorizationPolicy', namespace: 'shop', name: 'payments-only-charges' },
        ...{ action: 'ALLOW', target: 'Service payments', dryRun: false, state: 'accepted' },
        rules: ['from cluster.local/ns/shop/sa/frontend to POST /charge'],
        compiledTo: [],
      },
    ],
  };
}
