import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import type { Answer } from '../../../../lib/admin/http-routes.ts';
import { agentRoutes } from '../../../../ztunnel/admin/agent-routes.ts';

describe("the agent's pages by way of ztunnel's admin", () => {
  let folder: string;
  let server: Server;
  let path: string;
  const asked: string[] = [];

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'lar-'));
    path = join(folder, 'agent.sock');
    asked.length = 0;
    server = createServer((request, response) => {
      asked.push(`${request.method} ${request.url}`);
      response.writeHead(request.url === '/healthz/ready' ? 503 : 200, {
        'content-type': 'application/json',
      });
      response.end('{}');
    }).listen(path);
    await once(server, 'listening');
  });
  afterEach(() => {
    server.closeAllConnections();
    server.close();
    rmSync(folder, { recursive: true });
  });

  const ask = (route: string, query = ''): Promise<Answer> => {
    const handler = agentRoutes(path)[route];
    assert.ok(handler, route);
    return handler(new URLSearchParams(query)) as Promise<Answer>;
  };

  it('are these, as the agent answers them', async () => {
    assert.equal((await ask('GET /agent/status')).status, 200);
    assert.equal((await ask('GET /agent/healthz/ready')).status, 503);
    assert.equal((await ask('GET /agent/logging')).status, 200);
    assert.equal((await ask('POST /agent/logging', 'level=debug')).status, 200);
    assert.deepEqual(asked, [
      'GET /status',
      'GET /healthz/ready',
      'GET /logging',
      'POST /logging?level=debug',
    ]);
    assert.equal(Object.keys(agentRoutes(path)).length, 4, 'and no other');
  });

  it('are missing with a reason while there is no agent', async () => {
    server.close();
    await once(server, 'close');
    const { status, body } = await ask('GET /agent/status');
    assert.equal(status, 502);
    assert.match(body, /the agent does not answer at .*agent\.sock/);
  });
});
