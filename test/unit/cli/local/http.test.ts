import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { ask, followJsonLines } from '../../../../cli/local/http.ts';

let dir: string;
let socketPath: string;
let server: Server;
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'loam-test-'));
  socketPath = join(dir, 'http.sock');
  server = createServer((request, response) => {
    if (request.url === '/whole') response.end('all');
    if (request.url === '/connection') response.end(request.headers.connection);
    if (request.url === '/lines') {
      for (const part of ['{"a"', ':1}\n\n{"a":2}\n{"a":', '3}\n']) response.write(part);
      response.end();
    }
    if (request.url === '/line') {
      const part = 'x'.repeat(1 << 20);
      const more = (): void => {
        while (response.writable && response.write(part));
      };
      response.on('drain', more);
      more();
    }
    if (request.url !== '/drips') return;
    const timer = setInterval(() => response.write('.'), 100);
    response.on('close', () => clearInterval(timer));
  });
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
  rmSync(dir, { recursive: true });
});

describe('local mesh: HTTP', () => {
  it('gives an answer whole', async () => {
    assert.deepEqual(await ask({ socketPath }, '/whole'), { status: 200, body: 'all' });
  });

  it('takes a connection for each question: one that is kept may be closed when the next one comes', async () => {
    assert.equal((await ask({ socketPath }, '/connection')).body, 'close');
  });

  it('follows lines, and none that does not end', async () => {
    const values: unknown[] = [];
    const { signal } = new AbortController();
    await followJsonLines({ socketPath }, '/lines', signal, (value) => values.push(value));
    assert.deepEqual(values, [{ a: 1 }, { a: 2 }, { a: 3 }]);
    await assert.rejects(
      followJsonLines({ socketPath }, '/line', signal, () => undefined),
      { code: 'LOCAL_MESH_ANSWER', message: `a line of ${socketPath} /line does not end` },
    );
  });

  for (const [what, path] of [
    ['that never comes', '/nothing'],
    ['that never ends', '/drips'],
  ] as const) {
    it(`gives up on an answer ${what}`, async () => {
      await assert.rejects(ask({ socketPath }, path), {
        code: 'LOCAL_MESH_ANSWER',
        message: `no answer from ${socketPath} ${path}: nothing whole within 2000 ms`,
      });
    });
  }
});
