import assert from 'node:assert/strict';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { serveRoutes } from '../../../../lib/admin/http-routes.ts';
import { FlowHub } from '../../../../lib/flow/hub.ts';
import { Readiness } from '../../../../lib/admin/readiness.ts';
import { adminRoutes } from '../../../../waypoint/admin/routes.ts';

describe('waypoint/admin/routes', () => {
  let server: Server;

  beforeEach(async () => {
    const actions = {
      configDump: () => ({ resources: [] }),
      upstreams: () => Promise.resolve([{ worker: 'connections-0' }]),
      logLevel: () => 'info',
      setLogLevel: () => undefined,
      quit: () => undefined,
      metrics: (accept = 'text/plain') => Promise.resolve({ type: accept, body: 'a 1\n' }),
      memory: (collect: boolean) => Promise.resolve({ rss: collect ? 1 : 2, descriptors: 3, threads: {} }),
      diagnostics: false,
      flows: new FlowHub({
        hello: { program: 'waypoint', version: '0', node: 'a' },
        watch: () => undefined,
      }),
    };
    server = await serveRoutes({ host: '127.0.0.1', port: 0 }, adminRoutes(actions, new Readiness()));
  });
  afterEach(() => {
    server.close();
    server.closeAllConnections();
  });

  const ask = (path: string) => fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`);

  it('shows upstreams by worker, beside what every program shows', async () => {
    assert.deepEqual(await (await ask('/upstreams')).json(), { workers: [{ worker: 'connections-0' }] });
    assert.deepEqual(await (await ask('/config_dump')).json(), { resources: [] });
    const list = await (await ask('/')).text();
    for (const route of ['GET /upstreams', 'GET /config_dump', 'POST /logging', 'POST /quitquitquit'])
      assert.ok(list.includes(route), route);
  });
});
