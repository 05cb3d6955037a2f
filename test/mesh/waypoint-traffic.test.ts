import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import { count, Driver, type RequestOptions } from './driver.ts';
import { eventually, Mesh } from './harness.ts';
import { object, WAY_BASE, wayLine, wayServer, wayService } from './waypoint-manifests.ts';

const QUICK = { base: '1ms', max: '5ms' };
const ALWAYS = { percent: 100, minPerSecond: 1000 };
/** A policy for each Service of this name. */
const POLICIES: Readonly<Record<string, object>> = {
  retries: {
    retries: { conditions: ['gateway-error'], attempts: 10, backoff: QUICK, budget: ALWAYS },
  },
  pertry: {
    retries: {
      conditions: ['gateway-error'],
      attempts: 2,
      perTryTimeout: '300ms',
      backoff: QUICK,
      budget: ALWAYS,
    },
  },
  resets: {
    retries: { conditions: ['reset'], attempts: 3, backoff: QUICK, budget: ALWAYS },
  },
  timeout: { timeouts: { request: '200ms' } },
  fallback: { fallback: { service: 'static', port: 80, conditions: ['connect-failure', 'gateway-error'] } },
  gone: { fallback: { service: 'static', port: 80 } },
  shut: { retries: { attempts: 1, backoff: QUICK }, fallback: { service: 'static', port: 80 } },
  circuit: { circuitBreaker: { maxRequests: 1 } },
  outlier: {
    outlierDetection: { consecutiveErrors: 3, baseEjection: '1h', maxEjection: '1h', maxEjectedPercent: 50 },
  },
  hash: { loadBalancing: { algorithm: 'consistent-hash', hash: { header: 'x-user' } } },
  session: { sessionPersistence: { name: 'shop', type: 'cookie' } },
  limit: { rateLimit: { rules: [{ requests: 5, per: '1h' }] } },
  fault: {
    faultInjection: {
      delay: { duration: '20ms' },
      abort: { status: 418, grpcStatus: 'data-loss' },
      headers: [{ name: 'x-chaos', exact: 'on' }],
    },
  },
};

describe('mesh: what a TrafficPolicy does', function () {
  this.timeout(120_000);
  let mesh: Mesh;
  let client: Driver;
  before(async () => {
    const selectors: Readonly<Record<string, { app?: string; run?: string }>> = {
      gone: { app: 'nobody' },
    };
    const service = (name: string): string =>
      wayService(name, {
        waypoint: 'way',
        selector: selectors[name] ?? { run: 'web' },
        // Nobody listens at 8099.
        ports: { 80: [name === 'shut' ? 8099 : 8080, 'http'], 83: [9090, 'grpc'] },
      });
    mesh = await Mesh.up({
      ...WAY_BASE,
      'v1.yaml': wayServer('v1', { run: 'web' }),
      'v2.yaml': wayServer('v2', { run: 'web' }),
      'static.yaml': wayServer('static'),
      'services.yaml': [
        ...Object.keys(POLICIES).map(service),
        service('plain'),
        wayService('static', { selector: { app: 'static' }, ports: { 80: [8080, 'http'] } }),
      ].join('---\n'),
      'policies.yaml': Object.entries(POLICIES)
        .map(([name, spec]) =>
          object('TrafficPolicy', name, { targetRefs: [{ kind: 'Service', name }], ...spec }),
        )
        .join('---\n'),
    });
    client = await Driver.in(mesh, 'client');
  });
  after(async () => {
    client?.stop();
    await mesh?.down();
  });

  const get = (host: string, path = '/', options: Partial<RequestOptions> = {}) =>
    client.request({ host, port: 80, path, ...options });

  it('retries hide an endpoint that fails 20 % of requests', async () => {
    const target = { port: 80, path: '/flaky?of10=2', n: 300, sockets: 4 };
    const plain = await client.burst({ ...target, host: 'plain' });
    assert.ok(count(plain, '503') > 30, JSON.stringify(plain));
    const hidden = await client.burst({ ...target, host: 'retries' });
    assert.equal(count(hidden, '200'), 300, JSON.stringify(hidden));
  });

  it('a POST is not repeated after a status', async () => {
    const counts = await client.burst({
      ...{ host: 'retries', port: 80, path: '/flaky?of10=5', n: 100, sockets: 2, method: 'POST', body: 'x' },
    });
    assert.ok(count(counts, '503') > 20, JSON.stringify(counts));
  });

  it('a connection that breaks before a response is retried elsewhere', async () => {
    const counts = await client.burst({ host: 'resets', port: 80, path: '/reset?pod=v1', n: 40, sockets: 2 });
    assert.deepEqual(Object.keys(counts), ['200 v2'], JSON.stringify(counts));
    const plain = await get('plain', '/reset/all?pod=');
    assert.equal(plain.status, 200);
    // The first meet idle connections of earlier bursts, and are repeated on a fresh one; there it is the endpoint that breaks it.
    const lost = await client.burst({ host: 'plain', port: 80, path: '/reset/lost', n: 4, sockets: 1 });
    assert.equal(count(lost, '503'), 4, JSON.stringify(lost));
    assert.equal((await wayLine(mesh, '/reset/lost')).response_flags, 'UC');
  });

  it('a try that takes too long is retried elsewhere', async () => {
    for (let n = 0; n < 4; n += 1) {
      const answer = await get('pertry', `/hold?id=p${n}&pod=v1`);
      assert.deepEqual([answer.status, answer.text], [200, 'v2']);
    }
    assert.equal((await get('pertry', '/hold/both?id=both')).status, 504);
    const { response_flags: flags } = await wayLine(mesh, '/hold/both');
    assert.deepEqual(flags?.split(',').sort(), ['URX', 'UT']);
  });

  it('a request that takes too long is ended', async () => {
    assert.equal((await get('timeout', '/hold/timeout?id=t')).status, 504);
    assert.equal((await wayLine(mesh, '/hold/timeout')).response_flags, 'DT');
  });

  for (const [what, host, path] of [
    ['answers 503', 'fallback', '/status/fallback?code=503'],
    ['has no endpoint', 'gone', '/status/gone'],
    ['cannot be connected to', 'shut', '/status/shut'],
  ] as const) {
    it(`the fallback answers when the Service ${what}`, async () => {
      const options = { method: 'POST', body: 'kept for the fallback' };
      const answer = await get(host, path, options);
      // It is asked the same, so that it answers 503 where that was asked for.
      assert.equal(answer.headers['x-pod'], 'static', JSON.stringify(answer));
      const line = await wayLine(mesh, path.split('?')[0] ?? '');
      assert.match(line.response_flags ?? '', /FB/);
      assert.equal(line['dst.backend'], 'static.m.svc.cluster.local');
    });
  }

  it('the fallback gets the body', async () => {
    const answer = await get('gone', '/pipe', { method: 'POST', body: 'kept' });
    assert.deepEqual([answer.status, answer.text, answer.headers['x-pod']], [200, 'kept', 'static']);
  });

  it('the circuit breaker answers what is beyond it at once', async () => {
    const held = client.request({ host: 'circuit', port: 80, path: '/hold/circuit?id=c', fresh: true });
    const beyond = await eventually('the circuit to be full', async () => {
      const answer = await get('circuit', '/status/circuit');
      return answer.status === 503 && answer;
    });
    assert.equal(beyond.headers['x-pod'], undefined);
    assert.equal((await wayLine(mesh, '/status/circuit')).response_flags, 'UO');
    for (const pod of ['v1', 'v2']) await releaseOn(pod, 'c');
    assert.equal((await held).status, 200);
    await eventually('the circuit to be free', async () => (await get('circuit', '/status')).status === 200);
  });

  /** Of a request that is held by one of the pods: asked by way of a Service that has a key for each of them. */
  async function releaseOn(pod: string, id: string): Promise<void> {
    await eventually(`an answer of ${pod}`, async () => {
      const answer = await get('plain', `/release?id=${id}`);
      return answer.headers['x-pod'] === pod;
    });
  }

  it('an endpoint that fails in a row is ejected', async () => {
    const target = { host: 'outlier', port: 80, path: '/bad-on?pod=v1&code=500', sockets: 1 };
    const first = await client.burst({ ...target, n: 60 });
    assert.ok(count(first, '500 v1') >= 3, JSON.stringify(first));
    const later = await client.burst({ ...target, n: 60 });
    assert.deepEqual(later, { '200 v2': 60 });
  });

  it('a hash keeps each key at its endpoint, and spreads keys', async () => {
    const pods = new Map<string, string>();
    for (let user = 0; user < 20; user += 1) {
      const headers = { 'x-user': `user-${user}` };
      const counts = await client.burst({ host: 'hash', port: 80, n: 5, sockets: 2, headers });
      assert.equal(Object.keys(counts).length, 1, JSON.stringify(counts));
      pods.set(`${user}`, Object.keys(counts)[0] ?? '');
    }
    assert.deepEqual([...new Set(pods.values())].sort(), ['200 v1', '200 v2']);
  });

  it('a session stays at its endpoint', async () => {
    const stays = new Set<string | undefined>();
    for (let n = 0; n < 8; n += 1) {
      const first = await get('session');
      const cookie = String(first.headers['set-cookie']);
      assert.match(cookie, /^shop=[^;]+; .*HttpOnly/i);
      const headers = { cookie: cookie.split(';')[0] ?? '' };
      const counts = await client.burst({ host: 'session', port: 80, n: 10, sockets: 2, headers });
      assert.deepEqual(counts, { [`200 ${first.headers['x-pod']}`]: 10 });
      stays.add(first.headers['x-pod']);
    }
    assert.ok(stays.size > 0);
  });

  it('a rate limit refuses what is beyond it, and says when to come again', async () => {
    const counts = await client.burst({ host: 'limit', port: 80, n: 12, sockets: 4 });
    assert.equal(count(counts, '200'), 5, JSON.stringify(counts));
    assert.equal(count(counts, '429'), 7, JSON.stringify(counts));
    const answer = await get('limit', '/limited');
    assert.equal(answer.status, 429);
    assert.ok(Number(answer.headers['retry-after']) > 0);
    assert.equal((await wayLine(mesh, '/limited')).response_flags, 'RL');
    const grpc = await client.grpc({ host: 'limit', port: 83, kind: 'unary', messages: ['a'] });
    assert.equal(grpc.code, 8);
  });

  it('faults come to those who ask for them', async () => {
    const chaos = { headers: { 'x-chaos': 'on' } };
    assert.equal((await get('fault', '/calm')).status, 200);
    assert.equal((await get('fault', '/chaos', chaos)).status, 418);
    const { response_flags: flags } = await wayLine(mesh, '/chaos');
    assert.deepEqual(flags?.split(',').sort(), ['DI', 'FI']);
    const grpc = await client.grpc({
      ...{ host: 'fault', port: 83, kind: 'unary', messages: ['a'], metadata: { 'x-chaos': 'on' } },
    });
    assert.equal(grpc.code, 15);
  });
});
