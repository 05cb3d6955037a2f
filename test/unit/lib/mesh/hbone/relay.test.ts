import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, describe, it } from 'mocha';
import { Relay, RELAY_BUFFER_BYTES } from '../../../../../lib/mesh/hbone/relay.ts';
import { errorCode, readAll } from '../../../ztunnel/support/streams.ts';

const toClose: (() => void)[] = [];

/** Both ends of a TCP connection. */
async function tcpPair(): Promise<[near: net.Socket, far: net.Socket]> {
  const server = net.createServer({ allowHalfOpen: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const near = net.connect({ port: (server.address() as net.AddressInfo).port, allowHalfOpen: true });
  const [far] = (await once(server, 'connection')) as [net.Socket];
  server.close();
  for (const socket of [near, far]) {
    socket.on('error', () => undefined);
    toClose.push(() => socket.destroy());
  }
  return [near, far];
}

/** Both ends of a CONNECT stream, over cleartext HTTP/2. */
async function streamPair(): Promise<[near: http2.ClientHttp2Stream, far: http2.ServerHttp2Stream]> {
  const server = http2.createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const session = http2.connect(`http://127.0.0.1:${(server.address() as net.AddressInfo).port}`);
  session.on('error', () => undefined);
  const near = session.request({ ':method': 'CONNECT', ':authority': 'x:1' }, { endStream: false });
  const [far] = (await once(server, 'stream')) as [http2.ServerHttp2Stream];
  far.respond({ ':status': 200 });
  await once(near, 'response');
  for (const stream of [near, far]) stream.on('error', () => undefined);
  toClose.push(
    () => session.destroy(),
    () => server.close(),
  );
  return [near, far];
}

/** A client and a server with a relay between them, the way through HTTP/2 in the middle. */
async function tunnel() {
  const [client, accepted] = await tcpPair();
  const [near, far] = await streamPair();
  const [dialled, server] = await tcpPair();
  const counted = { forward: 0, backward: 0 };
  const source = new Relay(accepted, near, {
    onForward: (bytes) => (counted.forward += bytes),
    onBackward: (bytes) => (counted.backward += bytes),
  });
  const destination = new Relay(far, dialled);
  return { client, server, source, destination, counted, streams: { near, far } };
}

describe('ztunnel/proxy/relay', () => {
  afterEach(() => {
    for (const close of toClose.splice(0)) close();
  });

  it('keeps the other direction open after a half-close, and ends when both are closed', async () => {
    const { client, server, source, destination, counted } = await tunnel();
    client.end('question');
    assert.equal(await readAll(server), 'question');
    server.end('answer');
    assert.equal(await readAll(client), 'answer');
    assert.deepEqual(await source.done, { kind: 'closed' });
    assert.deepEqual(await destination.done, { kind: 'closed' });
    assert.deepEqual(counted, { forward: 8, backward: 6 });
  });

  it('keeps it as well when the server closes first', async () => {
    const { client, server, source } = await tunnel();
    server.end('banner');
    assert.equal(await readAll(client), 'banner');
    client.end('late');
    assert.equal(await readAll(server), 'late');
    assert.deepEqual(await source.done, { kind: 'closed' });
  });

  it('turns a TCP reset into one at the far end', async () => {
    const { client, server, source, destination } = await tunnel();
    client.write('x');
    await once(server, 'data');
    client.resetAndDestroy();
    assert.equal(await errorCode(server), 'ECONNRESET');
    assert.equal((await source.done).kind, 'reset');
    assert.equal((await destination.done).kind, 'reset');
  });

  it('turns the death of the server into a reset of the client', async () => {
    const { client, server, source } = await tunnel();
    server.resetAndDestroy();
    assert.equal(await errorCode(client), 'ECONNRESET');
    // An ordinary way to end: no error of ours.
    assert.deepEqual(await source.done, { kind: 'reset', side: 'b' });
  });

  it('does not take more from a fast writer than its buffers while the reader sleeps', async () => {
    const [client, accepted] = await tcpPair();
    const [dialled, server] = await tcpPair();
    new Relay(accepted, dialled);
    server.pause();
    const chunk = Buffer.alloc(1024 * 1024);
    const total = 64;
    for (let i = 0; i < total; i++) client.write(chunk);
    // Until nothing moves any more: the kernel's buffers and ours are full.
    let before = -1;
    while (before !== client.writableLength || client.writableLength === total * chunk.length) {
      before = client.writableLength;
      for (let i = 0; i < 200; i++) await turn();
    }
    assert.ok(
      dialled.writableLength <= RELAY_BUFFER_BYTES + 64 * 1024,
      `${dialled.writableLength} bytes wait`,
    );
    assert.ok(client.writableLength > 0, 'the writer was not stopped');
    let received = 0;
    server.on('data', (data: Buffer) => (received += data.length));
    client.end();
    server.resume();
    await once(server, 'end');
    assert.equal(received, total * chunk.length);
  });

  it('carries what came before it was made, and much of it', async () => {
    const { client, server } = await tunnel();
    const sent = Buffer.alloc(5 * 1024 * 1024, 'loam');
    client.end(sent);
    const chunks: Buffer[] = [];
    for await (const chunk of server) chunks.push(chunk as Buffer);
    assert.ok(Buffer.concat(chunks).equals(sent));
  });

  for (const end of ['near', 'far'] as const) {
    for (const halfClosed of [false, true]) {
      const how = halfClosed ? ', after the other half was closed in good order' : '';
      it(`never takes the end of its own session (${end}) for the end of a stream${how}`, async () => {
        const { client, server, streams } = await tunnel();
        const [cut, other] = end === 'near' ? [client, server] : [server, client];
        other.write('not all of it');
        await once(cut, 'data');
        if (halfClosed) {
          cut.end();
          await once(other, 'end');
        }
        const ended = errorCode(cut);
        cut.once('end', () => assert.fail('what was cut looks whole'));
        streams[end].session?.destroy();
        assert.equal(await ended, 'ECONNRESET');
      });
    }
  }

  it('gives up a half-closed connection on which nothing moves', async () => {
    const [client, accepted] = await tcpPair();
    const [dialled, server] = await tcpPair();
    const relay = new Relay(accepted, dialled, { halfClosedIdleMs: 20 });
    client.end();
    server.resume();
    assert.deepEqual(await relay.done, { kind: 'aborted', reason: 'half-closed and idle' });
  });

  it('resets both ends when told to, once', async () => {
    const { client, server, source } = await tunnel();
    const ended = Promise.all([errorCode(client), errorCode(server)]);
    source.abort('closed due to policy change');
    source.abort('again');
    await ended;
    assert.deepEqual(await source.done, { kind: 'aborted', reason: 'closed due to policy change' });
  });

  it('passes on an end that came before it was made', async () => {
    const [client, accepted] = await tcpPair();
    const [dialled, server] = await tcpPair();
    client.end();
    assert.equal(await readAll(accepted), '');
    new Relay(accepted, dialled);
    assert.equal(await readAll(server), '');
    server.end('answer');
    assert.equal(await readAll(client), 'answer');
  });

  it('ends when one stream was closed before', async () => {
    const [client, accepted] = await tcpPair();
    const [dialled, server] = await tcpPair();
    dialled.destroy();
    await once(dialled, 'close');
    server.resume();
    const relay = new Relay(accepted, dialled);
    await errorCode(client);
    assert.equal((await relay.done).kind, 'reset');
  });
});
