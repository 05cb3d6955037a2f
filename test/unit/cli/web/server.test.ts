import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { dashboardApi } from '../../../../cli/web/api.ts';
import { DashboardServer, whyNoPort } from '../../../../cli/web/server.ts';
import { Observatory } from '../../../../cli/observe/observatory.ts';
import type { FlowProducer } from '../../../../cli/observe/feed.ts';
import type { DashboardState } from '../../../../lib/flow/view.ts';
import { EMPTY_CATALOG } from '../../../../lib/flow/catalog.ts';
import { eventually } from '../../ztunnel/support/streams.ts';

const FACTS = {
  side: 'waypoint',
  source: { workload: 'frontend-1', namespace: 'shop', app: 'frontend' },
  destination: { workload: 'pay-1', namespace: 'shop', app: 'payments' },
  service: 'shop/payments',
  backend: 'shop/payments-v1',
  route: 'HTTPRoute/shop/payments#0',
  mtls: true,
};

describe('cli/web server', () => {
  let server: DashboardServer;
  let observatory: Observatory;
  let address: URL;
  let token: string;
  let tell: (value: unknown) => void;

  beforeEach(async () => {
    const producer: FlowProducer = {
      name: 'waypoint shop/waypoint-0',
      follow: (_events, signal, onValue) => {
        tell = onValue;
        return new Promise((resolve) => signal.addEventListener('abort', () => resolve()));
      },
    };
    observatory = new Observatory({
      producers: () => Promise.resolve([producer]),
      catalog: () => Promise.resolve({ ...EMPTY_CATALOG, mesh: 'made-up' }),
    });
    await observatory.start();
    const files = new Map([['/index.html', { type: 'text/html', bytes: Buffer.from('<!doctype html>') }]]);
    server = new DashboardServer({ port: 0, files, api: dashboardApi(observatory) });
    address = new URL(await server.start());
    token = address.hash.replace('#token=', '');
  });
  afterEach(async () => {
    observatory.close();
    await server.close();
  });

  async function ask(
    path: string,
    headers: Record<string, string> = {},
    method = 'GET',
  ): Promise<{ status: number; headers: IncomingMessage['headers']; body: string }> {
    const sent = request({ host: '127.0.0.1', port: address.port, path, method, headers, agent: false });
    sent.end();
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    let body = '';
    response.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
    await once(response, 'end');
    return { status: response.statusCode ?? 0, headers: response.headers, body };
  }
  const withToken = (): Record<string, string> => ({ authorization: `Bearer ${token}` });

  it('answers to its own address alone, whatever name leads to it', async () => {
    assert.equal((await ask('/')).status, 200);
    assert.equal((await ask('/', { host: `localhost:${address.port}` })).status, 200);
    for (const host of [
      `evil.example:${address.port}`,
      '127.0.0.1',
      `127.0.0.1.evil.example:${address.port}`,
    ]) {
      const { status, body } = await ask('/api/state', { ...withToken(), host });
      assert.equal(status, 421, host);
      assert.ok(!body.includes('graph'));
    }
  });

  it('tells nothing of the mesh without the token of this start', async () => {
    for (const headers of [
      {},
      { authorization: 'Bearer ' },
      { authorization: `Bearer ${token}x` },
      { authorization: `Bearer ${'x'.repeat(token.length)}` },
      { cookie: `token=${token}` },
    ])
      assert.equal((await ask('/api/state', headers)).status, 401);
    assert.equal((await ask(`/api/state?token=${token}`)).status, 401);
    assert.equal((await ask('/api/state', withToken())).status, 200);
  });

  it('lets no other page, script or frame in', async () => {
    for (const path of ['/', '/api/catalog', '/nowhere']) {
      const { headers } = await ask(path, { ...withToken(), origin: 'https://evil.example' });
      assert.equal(headers['access-control-allow-origin'], undefined);
      const policy = String(headers['content-security-policy']);
      for (const rule of [
        "default-src 'none'",
        "script-src 'self'",
        "frame-ancestors 'none'",
        "connect-src 'self'",
      ])
        assert.ok(policy.includes(rule), `${path}: ${rule}`);
      assert.ok(!policy.includes('unsafe'), path);
    }
    assert.equal((await ask('/api/state', withToken(), 'POST')).status, 405);
    assert.equal((await ask('/api/__proto__', withToken())).status, 404);
    assert.equal((await ask('/../package.json', withToken())).status, 404);
  });

  it('shows what flows tell, by time, and what routes split', async () => {
    tell({
      kind: 'window',
      at: 1,
      ms: 1_000,
      overflow: 0,
      edges: [
        {
          ...FACTS,
          ...{ layer: 'request', ended: 8, opened: 0, active: 0, up: 1, down: 2, failed: 2, retries: 1 },
          ...{ allowed: { 'shop/callers': 8 }, codes: { '200': 6, '503': 2 }, durations: [100, 8] },
        },
      ],
    });
    const { body } = await ask('/api/state?window=60000', withToken());
    const { graph, splits, producers } = JSON.parse(body) as DashboardState;
    assert.equal(graph.edges[0]?.success, 0.75);
    assert.deepEqual(graph.edges[0].allowedBy, { 'shop/callers': 8 });
    assert.deepEqual(
      splits.map(({ route, backend, ended }) => ({ route, backend, ended })),
      [{ route: FACTS.route, backend: 'shop/payments-v1', ended: 8 }],
    );
    assert.equal(producers[0]?.connected, true);
    const past = await ask(`/api/state?window=5000&until=${Date.now() - 300_000}`, withToken());
    assert.equal((JSON.parse(past.body) as DashboardState).graph.edges.length, 0);
    const series = await ask('/api/series?to=shop/payments', withToken());
    assert.equal((JSON.parse(series.body) as unknown[]).length, 1);
  });

  it('taps what passes the filter, from the last events on, and refuses a filter that it does not know', async () => {
    const event = (path: string): object => ({
      ...{ kind: 'request', at: 1, ...FACTS, protocol: 'http1', method: 'GET', authority: 'a', path },
      ...{
        status: 200,
        durationMs: 1,
        up: 0,
        down: 0,
        attempts: 1,
        requestId: 'r',
        verdict: { allowed: true },
      },
    });
    const closed = {
      kind: 'ended',
      at: 1,
      ...FACTS,
      id: 1,
      mtls: true,
      opened: true,
      up: 0,
      down: 0,
      durationMs: 1,
    };
    tell({ ...closed, side: 'source', verdict: { allowed: true, policy: 'shop/of-the-caller' } });
    tell({ ...closed, side: 'destination', verdict: { allowed: true, policy: 'shop/of-the-called' } });
    tell(event('/before'));
    const sent = request({
      host: '127.0.0.1',
      port: address.port,
      path: '/api/tap?path=/b&from=shop/frontend',
      headers: withToken(),
      agent: false,
    });
    sent.end();
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    let body = '';
    response.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
    await eventually(() => body.includes('/before'));
    tell(event('/c'));
    tell(event('/behind'));
    await eventually(() => body.includes('/behind'));
    assert.ok(!body.includes('/c"'));
    response.destroy();
    const both = request({
      host: '127.0.0.1',
      port: address.port,
      path: '/api/tap',
      headers: withToken(),
      agent: false,
    });
    both.end();
    const [all] = (await once(both, 'response')) as [IncomingMessage];
    let told = '';
    all.setEncoding('utf8').on('data', (chunk: string) => (told += chunk));
    await eventually(() => told.includes('/behind'));
    assert.ok(
      told.includes('of-the-called') && !told.includes('of-the-caller'),
      'the word that counts, once',
    );
    all.destroy();
    const { status, body: why } = await ask('/api/tap?sparkle=1', withToken());
    assert.equal(status, 400);
    assert.match(why, /unknown field sparkle; allowed: from, to/);
  });

  it('says in a line when its port is taken, or not for this user', async () => {
    const options = {
      port: Number(address.port),
      files: new Map(),
      api: {},
    } as unknown as ConstructorParameters<typeof DashboardServer>[0];
    await assert.rejects(new DashboardServer(options).start(), {
      code: 'MESH_INPUT',
      message: `port ${address.port} is taken by another program; leave out --port for any free one`,
    });
    // Root may take any port: what the kernel answers others is told by itself.
    assert.equal(
      whyNoPort(80, Object.assign(new Error('listen EACCES'), { code: 'EACCES' })),
      "port 80 is not yours to take (those below 1024 are root's); leave out --port for any free one",
    );
    assert.match(
      whyNoPort(80, new Error('no such device')),
      /port 80 cannot be had: no such device; leave out/,
    );
  });
});
