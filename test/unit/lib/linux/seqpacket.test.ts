import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  fstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer, type Server } from 'node:net';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { closeFd } from '../../../../lib/linux/libc.ts';
import { siblingModule } from '../../../../lib/package-root.ts';
import { SeqpacketClient, SeqpacketServer } from '../../../../lib/linux/seqpacket.ts';
import type { Packet, SeqpacketConnection, SeqpacketError } from '../../../../lib/linux/seqpacket.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (packet: Packet): string => new TextDecoder().decode(packet.data);

/** How many descriptors of this process refer to a file. */
function held(file: string): number {
  const targets = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return ''; // the directory's own descriptor is closed by now
    }
  });
  return targets.filter((target) => target === file).length;
}

/** Collects what a connection brings, to be awaited one by one. */
class Inbox {
  readonly #packets: Packet[] = [];
  readonly #takers: ((packet: Packet) => void)[] = [];
  readonly closed: Promise<Error | undefined>;

  constructor(connection: SeqpacketConnection) {
    this.closed = new Promise((resolve) => connection.onClose(resolve));
    connection.onPacket((packet) => {
      const taker = this.#takers.shift();
      if (taker === undefined) this.#packets.push(packet);
      else taker(packet);
    });
  }

  next(): Promise<Packet> {
    const packet = this.#packets.shift();
    if (packet !== undefined) return Promise.resolve(packet);
    return new Promise((resolve) => this.#takers.push(resolve));
  }
}

describe('SEQPACKET connections', () => {
  let dir: string;
  let path: string;
  let server: SeqpacketServer | undefined;
  let connections: SeqpacketConnection[];
  let waiting: ((connection: SeqpacketConnection) => void)[];
  let refused: SeqpacketError[];

  function listen(maxConnections = 4): SeqpacketServer {
    server = SeqpacketServer.listen({
      path,
      maxConnections,
      onConnection: (connection) => {
        const taker = waiting.shift();
        if (taker === undefined) connections.push(connection);
        else taker(connection);
      },
      onRefused: (error) => refused.push(error),
      onFailure: (error) => assert.fail(error),
    });
    return server;
  }

  function accepted(): Promise<SeqpacketConnection> {
    const connection = connections.shift();
    if (connection !== undefined) return Promise.resolve(connection);
    return new Promise((resolve) => waiting.push(resolve));
  }

  /** Both ends of a new connection. */
  async function pair(): Promise<{ client: SeqpacketConnection; served: SeqpacketConnection }> {
    const client = await SeqpacketClient.connect(path);
    return { client, served: await accepted() };
  }

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'lau-'));
    path = join(dir, 'zds');
    connections = [];
    waiting = [];
    refused = [];
  });

  afterEach(async () => {
    await server?.close();
    server = undefined;
    rmSync(dir, { recursive: true });
  });

  it('keeps packets apart and in order, both ways', async () => {
    listen();
    const { client, served } = await pair();
    const [atServer, atClient] = [new Inbox(served), new Inbox(client)];
    await Promise.all([client.send(bytes('one')), client.send(bytes('two'))]);
    await served.send(bytes('answer'));
    assert.equal(text(await atServer.next()), 'one');
    assert.equal(text(await atServer.next()), 'two');
    assert.equal(text(await atClient.next()), 'answer');
    assert.deepEqual([served.peer.pid, served.peer.uid], [process.pid, 0]);
    client.close();
    assert.equal(await atServer.closed, undefined);
    assert.equal(await atClient.closed, undefined);
  });

  it('passes descriptors both ways, close-on-exec, and the sender keeps its own', async () => {
    listen();
    const { client, served } = await pair();
    const [atServer, atClient] = [new Inbox(served), new Inbox(client)];
    const file = join(dir, 'file');
    writeFileSync(file, 'content');
    const own = openSync(file, 'r');
    await served.send(bytes('to client'), [own, own]);
    await client.send(bytes('to server'), [own]);
    const [down, up] = [await atClient.next(), await atServer.next()];
    closeSync(own);
    assert.deepEqual([down.fds.length, up.fds.length], [2, 1]);
    for (const fd of [...down.fds, ...up.fds]) {
      assert.equal(fstatSync(fd).ino, statSync(file).ino);
      assert.match(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'), /flags:\s+02/, 'close-on-exec');
      closeFd(fd);
    }
    client.close();
    await atServer.closed;
  });

  it('makes a file of mode 0600, replaces a dead one, refuses a live one and a foreign file', async () => {
    writeFileSync(path, '');
    assert.throws(() => listen(), { code: 'SEQPACKET_PATH' });
    rmSync(path);
    listen();
    assert.equal(statSync(path).mode & 0o777, 0o600);
    const first = server;
    assert.throws(() => listen(), { code: 'SEQPACKET_IN_USE' });
    await first?.close();
    assert.equal(statSync(path, { throwIfNoEntry: false }), undefined, 'removed by close');
    execFileSync('python3', [
      '-c',
      `import socket,sys; s=socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.bind(sys.argv[1])`,
      path,
    ]);
    listen();
    const { client } = await pair();
    client.close();
  });

  it('refuses a live listener of another socket type', async () => {
    const stream: Server = createServer().listen(path);
    await once(stream, 'listening');
    assert.throws(() => listen(), { code: 'SEQPACKET_IN_USE' });
    stream.close();
  });

  it('refuses a path that the kernel would cut', () => {
    path = join(dir, 'x'.repeat(120));
    assert.throws(() => listen(), { code: 'SEQPACKET_PATH' });
  });

  it('refuses a peer that runs as another user', async () => {
    listen();
    const script = `
import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
os.chmod(sys.argv[2], 0o755); os.chmod(sys.argv[1], 0o777); os.setuid(65534)
s.connect(sys.argv[1]); print(s.recv(100))`;
    const out = execFileSync('python3', ['-c', script, path, dir], { encoding: 'utf8' });
    assert.equal(out.trim(), "b''");
    await pair();
    assert.deepEqual(
      refused.map((error) => error.code),
      ['SEQPACKET_PEER'],
    );
  });

  it('turns away more connections than allowed, and takes new ones when one has gone', async () => {
    listen(1);
    const { client, served } = await pair();
    const over = await SeqpacketClient.connect(path);
    assert.equal(await new Inbox(over).closed, undefined);
    assert.deepEqual(
      refused.map((error) => error.code),
      ['SEQPACKET_BUSY'],
    );
    const gone = new Inbox(served).closed;
    client.close();
    await gone;
    const again = await pair();
    again.client.close();
  });

  it('ends a connection whose packet or descriptors are too many, and closes those', async () => {
    listen();
    const script = `
import array, os, socket, sys
def attempt(data, fds):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.connect(sys.argv[1])
    s.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', fds))]); print(s.recv(10))
f = os.open(sys.argv[2], os.O_RDONLY)
attempt(b'x' * 70000, [f])
attempt(b'x', [f] * 40)`;
    const file = join(dir, 'file');
    writeFileSync(file, '');
    const out = execFileSync('python3', ['-c', script, path, file], { encoding: 'utf8' });
    assert.deepEqual(out.trim().split('\n'), ["b''", "b''"]);
    for (let i = 0; i < 2; i += 1) {
      const error = await new Inbox(await accepted()).closed;
      assert.equal((error as SeqpacketError).code, 'SEQPACKET_TRUNCATED');
    }
    assert.equal(held(file), 0);
  });

  it('lets a flood wait in the sender while nobody consumes, and loses nothing of it', async () => {
    listen();
    const { client, served } = await pair();
    const sends: Promise<void>[] = [];
    for (let i = 0; i < 60; i += 1) sends.push(client.send(bytes(`${i}:${'x'.repeat(60000)}`)));
    let settled = 0;
    for (const send of sends) void send.then(() => (settled += 1));
    await served.send(bytes('turn'));
    await new Inbox(client).next();
    assert.ok(settled < 60, 'the kernel took all, so nothing was held back');
    const inbox = new Inbox(served);
    for (let i = 0; i < 60; i += 1) assert.ok(text(await inbox.next()).startsWith(`${i}:`));
    await Promise.all(sends);
    client.close();
    await inbox.closed;
  });

  it('delivers what came before the end, then the end', async () => {
    listen();
    const { client, served } = await pair();
    await client.send(bytes('last words'));
    client.close();
    const inbox = new Inbox(served);
    assert.equal(text(await inbox.next()), 'last words');
    assert.equal(await inbox.closed, undefined);
    await assert.rejects(served.send(bytes('too late')), { code: 'SEQPACKET_CLOSED' });
  });

  it('closes descriptors that nobody took', async () => {
    listen();
    const { client, served } = await pair();
    const file = join(dir, 'file');
    writeFileSync(file, '');
    const own = openSync(file, 'r');
    await client.send(bytes('take this'), [own, own, own]);
    closeSync(own);
    await client.send(bytes('and go on'));
    await served.send(bytes('turn'));
    await new Inbox(client).next();
    const over = new Promise((resolve) => served.onClose(resolve));
    served.close();
    await over;
    assert.equal(held(file), 0);
  });

  it('reports that nobody listens', async () => {
    await assert.rejects(SeqpacketClient.connect(path), { code: 'SYSTEM_CALL', errno: 'ENOENT' });
  });

  it('lets a process that exits with a live connection go', async () => {
    listen();
    const module = siblingModule(import.meta.url, '../../../../lib/linux/seqpacket').href;
    const script = `const { SeqpacketClient } = await import(${JSON.stringify(module)});
      await SeqpacketClient.connect(${JSON.stringify(path)}); process.exit(7);`;
    const file = join(dir, 'exits.mjs');
    writeFileSync(file, script);
    assert.throws(() => execFileSync(process.execPath, [file], { timeout: 30_000 }), { status: 7 });
    const served = await accepted();
    assert.equal(await new Inbox(served).closed, undefined);
  });
});
