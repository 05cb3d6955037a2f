import assert from 'node:assert/strict';
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { promisify } from 'node:util';
import { afterEach, describe, it } from 'mocha';
import {
  dialCommand,
  lookUpCommand,
  ROUTE_HEADER,
  serveCommand,
  showCommand,
  type Dialled,
} from '../../../../../cli/install/verify/pod-scripts.ts';

/** The scripts that are sent into pods, in processes of this machine. */
describe('the scripts of a verification', () => {
  let server: ChildProcess | undefined;
  afterEach(() => {
    server?.kill('SIGKILL');
    server = undefined;
  });

  async function run(command: readonly string[]): Promise<unknown> {
    const { stdout } = await promisify(execFile)(process.execPath, command.slice(1));
    return JSON.parse(stdout);
  }

  async function freePort(): Promise<number> {
    const taken = createServer().listen(0);
    await once(taken, 'listening');
    const { port } = taken.address() as AddressInfo;
    taken.close();
    await once(taken, 'close');
    return port;
  }

  async function serve(): Promise<number> {
    const port = await freePort();
    server = spawn(process.execPath, serveCommand(port).slice(1), { stdio: 'inherit' });
    for (;;) {
      const seen = (await run(dialCommand(`http://127.0.0.1:${port}/`))) as Dialled;
      if (seen.kind === 'served') return port;
    }
  }

  it('call a server that tells whom it saw, and how many probes', async () => {
    const port = await serve();
    const url = `http://127.0.0.1:${port}/`;
    const answer = { remote: '127.0.0.1', probes: 0, route: null };
    assert.deepEqual(await run(dialCommand(url)), { kind: 'served', status: 200, by: answer });
    await fetch(`${url}probe`);
    const marked = await fetch(url, { headers: { [ROUTE_HEADER]: 'x' } });
    assert.deepEqual(await marked.json(), { ...answer, probes: 1, route: 'x' });
    assert.deepEqual(await run(showCommand(url)), { ...answer, probes: 1 });
  });

  it('tell why a call failed', async () => {
    const refused = (await run(dialCommand(`http://127.0.0.1:${await freePort()}/`))) as Dialled;
    assert.equal(refused.kind, 'failed');
    assert.match(refused.kind === 'failed' ? refused.error : '', /ECONNREFUSED/);
  });

  it('look up names', async () => {
    const { addresses } = (await run(lookUpCommand('localhost'))) as { addresses: string[] };
    assert.ok(addresses.includes('127.0.0.1') || addresses.includes('::1'), addresses.join());
    const { error } = (await run(lookUpCommand('there-is-none.invalid'))) as { error: string };
    assert.match(error, /there-is-none\.invalid/);
  });
});
