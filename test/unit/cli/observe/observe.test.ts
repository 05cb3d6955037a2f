import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { EMPTY_CATALOG, type Catalog } from '../../../../lib/flow/catalog.ts';
import { FlowFeed, type FlowProducer } from '../../../../cli/observe/feed.ts';
import { passesFilter } from '../../../../cli/observe/flow-filter.ts';
import { GraphStore, HISTORY_MS, MAX_PRODUCER_EDGES, STEP_MS } from '../../../../cli/observe/graph-store.ts';
import { buildGraph } from '../../../../cli/observe/graph.ts';
import { policyInWords } from '../../../../cli/observe/policy-words.ts';
import { readFlowRecord } from '../../../../cli/observe/read-record.ts';
import { routeOf } from '../../../../cli/observe/route-words.ts';
import type { EdgeWindow, FlowRecord, FlowWindow, RequestEnded } from '../../../../lib/flow/event.ts';
import { Histogram } from '../../../../lib/flow/histogram.ts';
import { eventually } from '../../ztunnel/support/streams.ts';

const ID = (name: string): string => `spiffe://cluster.local/ns/shop/sa/${name}`;

function party(name: string): EdgeWindow['source'] {
  return { workload: `${name}-1`, namespace: 'shop', app: name, identity: ID(name) };
}

function edge(changes: Partial<EdgeWindow> = {}): EdgeWindow {
  const durations = new Histogram();
  durations.add(10);
  return {
    side: 'destination',
    layer: 'connection',
    source: party('frontend'),
    destination: party('auth'),
    service: 'shop/auth',
    mtls: true,
    ...{ ended: 10, opened: 10, active: 2, up: 1_000, down: 2_000, failed: 0, retries: 0 },
    durations: durations.toDurations(),
    ...changes,
  };
}

function window(...edges: EdgeWindow[]): FlowWindow {
  return { kind: 'window', at: 1, ms: 1_000, edges, overflow: 0 };
}

describe('cli/observe graph', () => {
  it('counts a connection once, by the word of its destination', () => {
    const graph = buildGraph([edge(), edge({ side: 'source' })], 10_000, 0);
    assert.equal(graph.edges.length, 1);
    const [seen] = graph.edges;
    assert.equal(seen?.rate, 1);
    assert.equal(seen.mtls, 1);
    assert.deepEqual(seen.identities, [[ID('frontend'), ID('auth')]]);
    assert.deepEqual([seen.from, seen.to], ['shop/frontend', 'shop/auth']);
  });

  it('takes from the source what never arrived, and what left the mesh', () => {
    const lost = edge({ side: 'source', failed: 3, flags: { CONNECT: 3 } });
    const { identity: _identity, ...bare } = party('frontend');
    const out = edge({
      side: 'source',
      mtls: false,
      source: bare,
      destination: { ip: '192.0.2.7', port: 443 },
    });
    const { service: _service, ...unnamed } = out;
    const graph = buildGraph([edge(), lost, unnamed], 10_000, 0);
    const inside = graph.edges.find(({ to }) => to === 'shop/auth');
    assert.equal(inside?.ended, 13);
    assert.equal(inside.failed, 3);
    const outside = graph.edges.find(({ to }) => to === 'outside/192.0.2.7');
    assert.equal(outside?.mtls, 0);
    assert.equal(graph.nodes.find(({ id }) => id === 'outside/192.0.2.7')?.kind, 'outside');
  });

  it('shows requests in place of the connections to and from their waypoint', () => {
    const requests = edge({ layer: 'request', side: 'waypoint', codes: { '200': 8, '503': 2 }, failed: 2 });
    const hopIn = edge({ side: 'source', via: 'shop/waypoint', destination: { ip: '198.19.0.1' } });
    const hopOut = edge({ via: 'shop/waypoint', viaIdentity: ID('waypoint') });
    const graph = buildGraph([requests, hopIn, hopOut], 10_000, 0);
    assert.equal(graph.edges.length, 1);
    assert.equal(graph.edges[0]?.of, 'requests');
    assert.equal(graph.edges[0].ended, 10);
    assert.equal(graph.edges[0].success, 0.8);
  });

  it('names what a request was refused at by the application behind its Service', () => {
    const catalog: Catalog = {
      ...EMPTY_CATALOG,
      pods: [
        {
          namespace: 'shop',
          name: 'p-1',
          node: 'a',
          account: 'p',
          app: 'payments',
          ips: [],
          ready: true,
          enrolled: true,
        },
      ],
      services: [{ namespace: 'shop', name: 'pay', ports: [], pods: ['shop/p-1'] }],
    };
    const denied = edge({
      ...{ layer: 'request', side: 'waypoint', destination: { ip: '198.19.0.1' }, service: 'shop/pay' },
      ...{ denied: { 'shop/only-frontend': 4 }, ended: 4, active: 0, opened: 0 },
    });
    const graph = buildGraph([denied], 10_000, 0, catalog);
    assert.equal(graph.edges[0]?.to, 'shop/payments');
    assert.equal(graph.edges[0].denied, 4);
    assert.equal(graph.edges[0].success, undefined);
    assert.deepEqual(graph.nodes.find(({ id }) => id === 'shop/payments')?.enrolled, { of: 1, in: 1 });
  });

  it('shows what nobody calls, but no namespace that has nothing to do with the mesh, unless there is no other', () => {
    const pod = (namespace: string, enrolled?: boolean, problem?: string): Catalog['pods'][number] => ({
      ...{ namespace, name: 'p', node: 'a', account: 'p', app: 'p', ips: [], ready: true },
      ...(enrolled !== undefined && { enrolled }),
      ...(problem !== undefined && { problem }),
    });
    const shown = (edges: readonly EdgeWindow[], ...pods: readonly Catalog['pods'][number][]): string[] =>
      buildGraph(edges, 1_000, 0, { ...EMPTY_CATALOG, pods }).nodes.map(({ namespace }) => namespace);
    const all = [pod('in', true), pod('out', false), pod('wrong', false, 'why'), pod('unknown')];
    assert.deepEqual(shown([], ...all), ['in', 'wrong', 'unknown']);
    const called = edge({ destination: { namespace: 'out', workload: 'p', app: 'p' } });
    assert.ok(shown([called], ...all).includes('out'));
    assert.deepEqual(shown([], pod('out', false)), ['out']);
  });

  it('gives addresses outside a bounded number of nodes', () => {
    const edges = Array.from({ length: 100 }, (_, i) => {
      const { service: _service, ...rest } = edge({
        side: 'source',
        mtls: false,
        destination: { ip: `192.0.2.${i}` },
      });
      return rest;
    });
    const outside = buildGraph(edges, 1_000, 0).nodes.filter(({ kind }) => kind === 'outside');
    assert.equal(outside.length, 41);
  });
});

describe('cli/observe history', () => {
  it('shows the time that is asked for, and forgets what is older than its history', () => {
    let now = 1_000_000_000_000;
    const store = new GraphStore(() => now);
    store.add(window(edge({ ended: 1 })), 'ztunnel a');
    now += 60_000;
    store.add(window(edge({ ended: 2 })), 'ztunnel a');
    const ended = (ms: number, until?: number): number =>
      store.select(ms, until).edges.reduce((sum, each) => sum + each.ended, 0);
    assert.equal(ended(10_000), 2);
    assert.equal(ended(120_000), 3);
    assert.equal(ended(10_000, now - 50_000), 1);
    now += HISTORY_MS - 30_000;
    store.add(window(edge({ ended: 4 })), 'ztunnel a');
    assert.equal(ended(HISTORY_MS * 2), 6);
  });

  it('sums up the windows of a step, and keeps producers apart for what is open', () => {
    let now = STEP_MS * 1_000;
    const store = new GraphStore(() => now);
    store.add(window(edge({ active: 2 })), 'ztunnel a');
    now += 1_000;
    store.add(window(edge({ active: 3 })), 'ztunnel a');
    store.add(window(edge({ active: 5 })), 'ztunnel b');
    assert.deepEqual(
      store.select(STEP_MS).edges.map(({ active, ended }) => [active, ended]),
      [
        [3, 20],
        [5, 10],
      ],
    );
  });
});

describe('cli/observe history of who makes things up', () => {
  it('holds a bounded number of edges of one producer, and all of others', () => {
    let now = STEP_MS * 1_000;
    const store = new GraphStore(() => now);
    const made = (from: number): EdgeWindow[] =>
      Array.from({ length: 5_000 }, (_, i) => edge({ source: party(`made-up-${from + i}`) }));
    for (let from = 0; from <= MAX_PRODUCER_EDGES; from += 5_000)
      store.add(window(...made(from)), 'waypoint x');
    store.add(window(edge()), 'ztunnel a');
    assert.equal(store.select(STEP_MS).edges.length, MAX_PRODUCER_EDGES + 1);
    now += 2 * STEP_MS;
    store.add(window(edge({ source: party('later') })), 'waypoint x');
    assert.equal(store.select(STEP_MS / 2).edges.length, 1, 'the next step counts anew');
  });
});

describe('cli/observe feed', () => {
  it('follows what comes, asks again what breaks, and reads one that is replaced to its end', async () => {
    const told: string[] = [];
    const ends: (() => void)[] = [];
    let asked = 0;
    const producer: FlowProducer = {
      name: 'ztunnel a',
      follow: (_events, signal, onValue) => {
        asked += 1;
        const mine = asked;
        onValue({ kind: 'hello', at: 1, schema: 1, program: 'ztunnel', node: `a${mine}` });
        if (mine === 1) return Promise.reject(new Error('broke'));
        if (mine === 2) onValue({ kind: 'leaving', at: 2 });
        return new Promise((resolve) => {
          ends.push(() => {
            onValue({ kind: 'lost', at: 3, why: 'rate', events: mine, windows: 0 });
            resolve();
          });
          signal.addEventListener('abort', () => resolve());
        });
      },
    };
    const feed = new FlowFeed({
      list: () => Promise.resolve([producer]),
      events: 'all',
      onRecord: (record: FlowRecord) => told.push(record.kind),
    });
    await feed.start();
    await eventually(() => asked === 3);
    ends[0]?.();
    await eventually(() => told.includes('lost'));
    assert.equal(feed.states().producers[0]?.connected, true);
    feed.close();
    assert.deepEqual(told, ['hello', 'hello', 'leaving', 'hello', 'lost']);
  });

  it('passes over what it does not know, and what is not what it should be', () => {
    for (const bad of [
      null,
      [],
      { kind: 'sparkles', at: 1 },
      { kind: 'window', at: 1, ms: 1, edges: [{ side: 'x' }] },
      { kind: 'request', at: 1, side: 'waypoint', source: {}, destination: {}, verdict: {} },
    ])
      assert.equal(readFlowRecord(bad), undefined, JSON.stringify(bad));
    assert.ok(readFlowRecord({ ...window(edge()), news: true }));
  });
});

describe('cli/observe words and filters', () => {
  const request: RequestEnded = {
    kind: 'request',
    at: 1,
    side: 'waypoint',
    source: party('frontend'),
    destination: party('auth'),
    service: 'shop/auth',
    mtls: true,
    protocol: 'http1',
    ...{ method: 'GET', authority: 'auth', path: '/sign-in', status: 503, durationMs: 1 },
    ...{ up: 0, down: 0, attempts: 1, requestId: 'r' },
    verdict: { allowed: true, policy: 'shop/auth-callers', trial: [{ policy: 'shop/next', action: 'deny' }] },
  };

  it('filters by ends, verdict, request and policy', () => {
    const passes = (filter: Parameters<typeof passesFilter>[1]): boolean => passesFilter(request, filter);
    assert.ok(
      passes({ from: 'shop/frontend', to: 'shop/auth', method: 'get', path: '/sign', status: '5xx' }),
    );
    assert.ok(passes({ policy: 'shop/next' }) && passes({ verdict: 'notable' }) && passes({ text: 'SIGN' }));
    for (const filter of [
      { from: 'shop/auth' },
      { to: 'bank' },
      { verdict: 'denied' },
      { status: '200' },
      { policy: 'shop/other' },
      { namespace: 'bank' },
    ] as const)
      assert.ok(!passes(filter), JSON.stringify(filter));
  });

  it('says in words what policies and routes ask', () => {
    const policy = policyInWords({
      kind: 'AuthorizationPolicy',
      metadata: { name: 'a', namespace: 'shop' },
      spec: {
        targetRefs: [{ kind: 'Service', name: 'auth' }],
        action: 'ALLOW',
        rules: [
          { from: [{ source: { principals: ['x', 'y'] } }], to: [{ operation: { methods: ['GET'] } }] },
        ],
      },
    });
    assert.equal(policy.target, 'Service auth');
    assert.deepEqual(policy.rules, ['from principals x | y, to methods GET']);
    const route = routeOf({
      metadata: { name: 'pay', namespace: 'shop' },
      spec: {
        parentRefs: [{ name: 'payments' }],
        rules: [
          {
            backendRefs: [
              { name: 'v1', weight: 90 },
              { name: 'v2', weight: 10 },
            ],
          },
        ],
      },
    });
    assert.deepEqual(route.parents, ['shop/payments']);
    assert.equal(route.rules[0]?.key, 'HTTPRoute/shop/pay#0');
    assert.deepEqual(route.rules[0].backends, [
      { service: 'shop/v1', share: 0.9 },
      { service: 'shop/v2', share: 0.1 },
    ]);
  });
});
