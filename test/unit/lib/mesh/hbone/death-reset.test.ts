import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { siblingModule } from '../../../../../lib/package-root.ts';
import { errorCode, readAll } from '../../../ztunnel/support/streams.ts';

describe('connections of a process that is killed', () => {
  let application: net.Server;
  let relaying: ChildProcess | undefined;
  const sockets: net.Socket[] = [];

  beforeEach(async () => {
    application = net.createServer({ allowHalfOpen: true });
    application.listen(0, '127.0.0.1');
    await once(application, 'listening');
  });
  afterEach(() => {
    relaying?.kill('SIGKILL');
    for (const socket of sockets.splice(0)) socket.destroy();
    application.close();
  });

  async function startRelay(port: number): Promise<number> {
    const script = fileURLToPath(siblingModule(import.meta.url, './support/relay-process'));
    relaying = spawn(process.execPath, [script, String(port)], { stdio: ['ignore', 'pipe', 'inherit'] });
    const [said] = (await once(relaying.stdout as NodeJS.EventEmitter, 'data')) as [Buffer];
    return Number(said.toString());
  }

  function dial(port: number): net.Socket {
    const client = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    client.on('error', () => undefined);
    sockets.push(client);
    return client;
  }

  /** A client and a server with the process between them; each has heard of the other. */
  async function pair(): Promise<{ client: net.Socket; server: net.Socket }> {
    const client = dial(await startRelay((application.address() as AddressInfo).port));
    const accepted = once(application, 'connection') as Promise<[net.Socket]>;
    client.write('question');
    const [server] = await accepted;
    server.on('error', () => undefined);
    sockets.push(server);
    await once(server, 'data');
    server.write('the first half of an answer');
    await once(client, 'data');
    return { client, server };
  }

  const kill = (): boolean | undefined => relaying?.kill('SIGKILL');

  it('are reset at both ends: nothing that was cut looks whole', async () => {
    const { client, server } = await pair();
    const ended = Promise.all([errorCode(client), errorCode(server)]);
    kill();
    assert.deepEqual(await ended, ['ECONNRESET', 'ECONNRESET']);
  });

  it('are reset where one half was closed in good order and the other was not', async () => {
    const { client, server } = await pair();
    client.end();
    assert.equal(await readAll(server), '');
    const ended = errorCode(client);
    kill();
    assert.equal(await ended, 'ECONNRESET');
  });

  it('are whole where both halves were', async () => {
    const { client, server } = await pair();
    client.end();
    client.pause();
    await readAll(server);
    const large = 'x'.repeat(100_000);
    server.end(large);
    // All of it is with the kernel now, which delivers it also when the process is gone.
    const [said] = (await once(relaying?.stdout as NodeJS.EventEmitter, 'data')) as [Buffer];
    assert.equal(said.toString(), 'closed\n');
    kill();
    assert.equal(await readAll(client), large);
  });

  it('are reset before anything was relayed, too', async () => {
    const client = dial(await startRelay(0));
    await once(client, 'connect');
    // Time for the process to accept; where it has not, the kernel resets it with its listener.
    await new Promise((resolve) => setTimeout(resolve, 100));
    const ended = errorCode(client);
    kill();
    assert.equal(await ended, 'ECONNRESET');
  });
});
