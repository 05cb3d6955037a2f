import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import type { Answer } from '../../../../lib/admin/http-routes.ts';
import { agentMetricsRoute } from '../../../../ztunnel/admin/agent-metrics.ts';

describe("the agent's metrics by way of ztunnel", () => {
  let folder: string;
  let path: string;
  let server: Server | undefined;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'lam-'));
    path = join(folder, 'agent.sock');
  });
  afterEach(() => {
    server?.closeAllConnections();
    server?.close();
    server = undefined;
    rmSync(folder, { recursive: true });
  });

  async function agent(listener: RequestListener): Promise<void> {
    server = createServer(listener).listen(path);
    await once(server, 'listening');
  }
  const ask = () => agentMetricsRoute(path)(new URLSearchParams()) as Promise<Answer>;

  it('are its page, and nothing else of it is asked for', async () => {
    const asked: string[] = [];
    await agent((request, response) => {
      asked.push(`${request.method} ${request.url}`);
      response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4' }).end('loam_agent_x 1\n');
    });
    assert.deepEqual(await ask(), {
      status: 200,
      type: 'text/plain; version=0.0.4',
      body: 'loam_agent_x 1\n',
    });
    assert.deepEqual(asked, ['GET /metrics']);
  });

  it('are missing with a reason while there is no agent, and when it fails', async () => {
    const none = await ask();
    assert.equal(none.status, 502);
    assert.match(none.body, /agent\.sock: .*ENOENT/);
    await agent((_, response) => response.writeHead(500).end('{}'));
    const failed = await ask();
    assert.equal(failed.status, 502);
    assert.match(failed.body, /status 500/);
  });

  it('are given up when they do not end', async () => {
    await agent((_, response) => {
      response.writeHead(200);
      const more = (): void => {
        while (!response.destroyed && response.write(Buffer.alloc(2 ** 20, 'x')));
      };
      response.on('drain', more);
      more();
    });
    const answer = await ask();
    assert.equal(answer.status, 502);
    assert.match(answer.body, /more than 16777216 bytes/);
  });

  it('are asked for by one at a time, and once in a second: everybody may ask', async () => {
    let asked = 0;
    let now = 0;
    await agent((_, response) => {
      asked += 1;
      setImmediate(() => response.end(`loam_agent_x ${asked}\n`));
    });
    const route = agentMetricsRoute(path, () => now);
    const asking = async (): Promise<Answer> => (await route(new URLSearchParams())) as Answer;
    const all = await Promise.all(Array.from({ length: 50 }, asking));
    assert.ok(all.every(({ body }) => body === 'loam_agent_x 1\n'));
    now = 900;
    await asking();
    assert.equal(asked, 1);
    now = 1_000;
    assert.equal((await asking()).body, 'loam_agent_x 2\n');
  });
});
