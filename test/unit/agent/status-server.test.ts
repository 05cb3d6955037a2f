import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { StatusServer } from '../../../agent/status-server.ts';
import type { Readiness, Status } from '../../../agent/status.ts';

describe('status server', () => {
  let level = 'info';
  const logging = { logLevel: () => level, setLogLevel: (next: string) => void (level = next) };
  let dir: string;
  let path: string;
  let server: StatusServer | undefined;
  let readiness: Readiness;
  let status: () => Status;

  async function listen(): Promise<void> {
    server = await StatusServer.listen({
      path,
      status: () => status(),
      metrics: () => 'x 1\n',
      readiness: () => readiness,
      observe: () => false,
      logging,
    });
  }

  async function ask(url: string, method = 'GET'): Promise<[number | undefined, string]> {
    const asked = request({ socketPath: path, path: url, method, agent: false }).end();
    const [response] = (await once(asked, 'response')) as [IncomingMessage];
    return [response.statusCode, (await text(response)).trim()];
  }

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'lau-'));
    path = join(dir, 'status');
    readiness = { ready: true, gates: [] };
    status = () => ({ node: 'node-a' }) as Status;
  });

  afterEach(async () => {
    await server?.close();
    server = undefined;
    rmSync(dir, { recursive: true });
  });

  it('answers on a socket of mode 0600', async () => {
    await listen();
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.deepEqual(await ask('/status'), [200, '{"node":"node-a"}']);
    assert.equal((await ask('/healthz/ready'))[0], 200);
    assert.deepEqual(await ask('/metrics'), [200, 'x 1']);
  });

  it('names the gate that blocks', async () => {
    await listen();
    readiness = { ready: false, gates: [{ name: 'pod-source', ready: false, reason: 'not read yet' }] };
    const [code, body] = await ask('/healthz/ready');
    assert.equal(code, 503);
    assert.match(body, /"name":"pod-source","ready":false,"reason":"not read yet"/);
  });

  it('refuses what it does not know, and survives a status that fails', async () => {
    await listen();
    assert.equal((await ask('/else'))[0], 404);
    assert.equal((await ask('/status', 'POST'))[0], 405);
    status = () => {
      throw new Error('no status today');
    };
    assert.deepEqual(await ask('/status'), [500, '{"error":"no status today"}']);
  });

  it('replaces what a killed process left, and refuses a live one and a foreign file', async () => {
    writeFileSync(path, '');
    await assert.rejects(listen(), /is not a socket/);
    rmSync(path);
    execFileSync('python3', [
      '-c',
      'import socket,sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])',
      path,
    ]);
    await listen();
    await assert.rejects(
      StatusServer.listen({
        path,
        status: () => status(),
        metrics: () => '',
        readiness: () => readiness,
        observe: () => false,
        logging,
      }),
      /another process listens/,
    );
    assert.equal((await ask('/status'))[0], 200);
  });

  it('changes the log level, and nothing by GET', async () => {
    await listen();
    assert.deepEqual(await ask('/logging?level=debug'), [
      200,
      'level: info; POST /logging?level=debug|info|warn|error sets it',
    ]);
    assert.deepEqual(await ask('/logging?level=debug', 'POST'), [200, 'level: debug']);
    assert.deepEqual(await ask('/logging?level=loud', 'POST'), [
      400,
      'level must be one of debug, info, warn, error',
    ]);
    assert.equal(level, 'debug');
    assert.equal((await ask('/status', 'POST'))[0], 405);
  });
});
