import assert from 'node:assert/strict';
import type { Server } from 'node:http';
import net, { type AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { serveRoutes } from '../../../../lib/admin/http-routes.ts';
import { FlowHub } from '../../../../lib/flow/hub.ts';
import { Readiness, type ReadinessReport } from '../../../../lib/admin/readiness.ts';
import { eventually } from '../support/streams.ts';
import { adminRoutes, type AdminActions } from '../../../../ztunnel/admin/routes.ts';

describe('ztunnel/admin', () => {
  let server: Server;
  let readiness: Readiness;
  let calls: string[];
  let gateOpen: boolean;
  let serveDiagnosing: () => Promise<Server>;

  beforeEach(async () => {
    calls = [];
    gateOpen = false;
    readiness = new Readiness();
    readiness.add('xds-workloads', () => ({ ready: true, reason: 'in force' }));
    readiness.add('zds-snapshot', () => ({ ready: gateOpen, reason: 'no agent' }));
    const actions: AdminActions = {
      configDump: () => ({ workloads: [] }),
      connections: () => Promise.resolve([]),
      logLevel: () => 'info',
      setLogLevel: (level) => void calls.push(`level ${level}`),
      quit: () => void calls.push('quit'),
      metrics: (accept = 'text/plain; version=0.0.4') => Promise.resolve({ type: accept, body: 'a 1\n' }),
      memory: (collect: boolean) => Promise.resolve({ rss: collect ? 1 : 2, descriptors: 3, threads: {} }),
      diagnostics: false,
      flows: new FlowHub({
        hello: { program: 'ztunnel', version: '0', node: 'a' },
        watch: () => undefined,
      }),
    };
    server = await serveRoutes({ host: '127.0.0.1', port: 0 }, adminRoutes(actions, readiness, undefined));
    serveDiagnosing = () =>
      serveRoutes(
        { host: '127.0.0.1', port: 0 },
        adminRoutes({ ...actions, diagnostics: true }, readiness, undefined),
      );
  });

  afterEach(() => {
    server.close();
    server.closeAllConnections();
  });

  const ask = (path: string, init?: RequestInit) =>
    fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`, init);

  it('names the gate that blocks', async () => {
    const blocked = await ask('/healthz/ready');
    assert.equal(blocked.status, 503);
    const report = (await blocked.json()) as ReadinessReport;
    assert.deepEqual(report.blockedBy, ['zds-snapshot']);
    assert.deepEqual(report.gates[1], { name: 'zds-snapshot', ready: false, reason: 'no agent' });
    gateOpen = true;
    assert.equal((await ask('/healthz/ready')).status, 200);
  });

  it('takes a bounded number of connections, and goes on when they leave', async () => {
    const { port } = server.address() as AddressInfo;
    const sockets = Array.from({ length: 100 }, () => net.connect(port, '127.0.0.1'));
    let refused = 0;
    for (const socket of sockets) {
      socket.on('error', () => undefined);
      socket.once('close', () => (refused += 1));
      socket.resume();
    }
    await eventually(() => refused >= 100 - 64);
    for (const socket of sockets) socket.destroy();
    await eventually(() => refused === 100);
    assert.equal((await ask('/')).status, 200);
  });

  it('shows state, connections and metrics', async () => {
    assert.deepEqual(await (await ask('/config_dump')).json(), { workloads: [] });
    assert.deepEqual(await (await ask('/connections')).json(), { connections: [] });
    const page = await ask('/metrics', { headers: { accept: 'text/plain;version=0.0.4' } });
    assert.equal(page.headers.get('content-type'), 'text/plain;version=0.0.4', 'as it was asked for');
    assert.equal(await page.text(), 'a 1\n');
    assert.match(await (await ask('/')).text(), /GET \/config_dump/);
  });

  it('sets the log level, to a known one only, and by POST only', async () => {
    assert.equal((await ask('/logging?level=debug', { method: 'POST' })).status, 200);
    assert.equal((await ask('/logging?level=loud', { method: 'POST' })).status, 400);
    assert.equal((await ask('/logging?level=warn')).status, 200);
    assert.deepEqual(calls, ['level debug']);
  });

  it('ends by POST only, and not for a web page', async () => {
    assert.equal((await ask('/quitquitquit')).status, 405);
    const headers = { origin: 'http://evil.example' };
    assert.equal((await ask('/quitquitquit', { method: 'POST', headers })).status, 403);
    assert.deepEqual(calls, []);
    assert.equal((await ask('/quitquitquit', { method: 'POST' })).status, 200);
    assert.deepEqual(calls, ['quit']);
  });

  it('measures memory, and collects garbage only where it was started for that', async () => {
    assert.deepEqual(await (await ask('/memory')).json(), { rss: 2, descriptors: 3, threads: {} });
    assert.equal((await ask('/memory/collect', { method: 'POST' })).status, 404);
    server.close();
    server = await serveDiagnosing();
    assert.equal((await ask('/memory/collect')).status, 405);
    const answer = await ask('/memory/collect', { method: 'POST' });
    assert.deepEqual(await answer.json(), { rss: 1, descriptors: 3, threads: {} });
  });

  it('knows nothing else', async () => {
    assert.equal((await ask('/debug')).status, 404);
  });
});
