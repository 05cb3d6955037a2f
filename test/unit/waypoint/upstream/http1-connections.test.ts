import assert from 'node:assert/strict';
import net from 'node:net';
import { PassThrough, type Duplex } from 'node:stream';
import { afterEach, describe, it } from 'mocha';
import { Http1Client } from '../../../../waypoint/upstream/http1-client.ts';
import { CountingConnector, failureOf, listen, request } from '../support/endpoints.ts';
import { headers } from '../support/exchanges.ts';
import { eventually, readAll, readUntil, StreamPairs } from '../support/streams.ts';

const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok';

describe('waypoint: connections of HTTP/1.1 to an endpoint', () => {
  const ends: (() => void)[] = [];
  afterEach(() => {
    for (const end of ends.splice(0)) end();
  });

  /** @param serve what it does with each connection */
  async function endpoint(
    serve: (socket: net.Socket) => void,
  ): Promise<{ client: Http1Client; connector: CountingConnector }> {
    const sockets = new Set<net.Socket>();
    const server = net.createServer({ allowHalfOpen: true }, (socket) => {
      sockets.add(socket);
      socket.on('error', () => undefined);
      serve(socket);
    });
    const connector = new CountingConnector(await listen(server));
    ends.push(() => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
    return {
      connector,
      client: new Http1Client(
        connector,
        () => false,
        () => undefined,
      ),
    };
  }

  /** Answers each head as it comes. */
  const answers =
    (text: string): ((socket: net.Socket) => void) =>
    (socket) =>
      socket.on('data', (chunk) => {
        if (chunk.includes('\r\n\r\n')) socket.write(text);
      });

  it('gives an attempt up at once that still waits for its connection, which serves whoever comes next', async () => {
    const { client, connector } = await endpoint(answers(OK));
    let go!: () => void;
    connector.hold = new Promise((resolve) => (go = resolve));
    const attempt = client.request(request());
    attempt.abort();
    assert.deepEqual(await failureOf(attempt), { kind: 'aborted' });
    assert.equal(connector.made, 0);
    go();
    await eventually(() => client.hasFree);
    await readAll((await client.request(request()).response).body as never);
    assert.equal(connector.made, 1);
  });

  it('serves those who wait when it is retired while it connects, and then closes', async () => {
    const { client, connector } = await endpoint(answers(OK));
    const { response } = client.request(request());
    client.retire();
    const { body } = await response;
    assert.equal((await readAll(body as never)).toString(), 'ok');
    await eventually(() => connector.made === 1 && connector.open === 0);
  });

  it('makes a new connection for who wants a fresh one, and keeps those that are idle', async () => {
    const { client, connector } = await endpoint(answers(OK));
    const take = async (fresh: boolean): Promise<void> => {
      const { response } = client.request({ ...request(), fresh });
      await readAll((await response).body as never);
      await eventually(() => client.hasFree);
    };
    await take(false);
    await take(true);
    assert.equal(connector.made, 2);
    await take(false);
    assert.deepEqual([connector.made, connector.open], [2, 2]);
    client.retire();
    await eventually(() => connector.open === 0);
  });

  it('fails at once where the connection ended as it was handed over', async () => {
    const gone = new PassThrough();
    gone.destroy();
    const client = new Http1Client(
      { connect: () => Promise.resolve(gone as Duplex) },
      () => false,
      () => undefined,
    );
    const { kind } = await failureOf(client.request(request({ method: 'POST' })));
    assert.equal(kind, 'refused');
  });

  it('does not use a connection that ended as it was chosen', async () => {
    const { client, connector } = await endpoint(answers(OK));
    await readAll((await client.request(request()).response).body as never);
    await eventually(() => client.hasFree);
    client.closeOneIdle();
    const late = client.request(request({ method: 'POST' }));
    // Either it was seen in time, and another was made, or nothing was sent.
    const result = await late.response.then(
      ({ status }) => status,
      () => failureOf(late).then(({ kind }) => kind),
    );
    assert.ok(result === 200 || result === 'refused', String(result));
    assert.ok(connector.made <= 2);
  });

  it('closes the connection of a request that was answered before all of it was sent', async () => {
    const { client, connector } = await endpoint(answers(OK));
    const attempt = client.request(request({ method: 'POST', hasBody: true }));
    attempt.body?.write('first');
    await readAll((await attempt.response).body as never);
    attempt.complete();
    await eventually(() => connector.open === 0);
  });

  it('lets a complete request be: its connection is used again', async () => {
    const { client, connector } = await endpoint((socket) =>
      socket.on('data', (chunk) => {
        if (chunk.includes('0\r\n\r\n')) socket.write(OK);
      }),
    );
    for (let i = 0; i < 2; i += 1) {
      const attempt = client.request(request({ method: 'POST', hasBody: true }));
      attempt.body?.write('all');
      attempt.endBody(headers());
      await readAll((await attempt.response).body as never);
      attempt.complete();
      await eventually(() => client.hasFree);
    }
    assert.equal(connector.made, 1);
  });

  it('uses no connection again that its endpoint is about to close, by its own word', async () => {
    const kept = (hint: string): string => OK.replace('\r\n\r\n', `\r\n${hint}\r\n\r\n`);
    const made = async (hint: string): Promise<number> => {
      const { client, connector } = await endpoint(answers(kept(hint)));
      for (let i = 0; i < 2; i += 1) {
        await readAll((await client.request(request({ method: 'POST' })).response).body as never);
        await eventually(() => client.hasFree || connector.open === 0);
      }
      return connector.made;
    };
    // A second is what a request may be on its way.
    assert.equal(await made('keep-alive: timeout=1'), 2);
    assert.equal(await made('Keep-Alive: max=5, timeout=0'), 2);
    assert.equal(await made('keep-alive: timeout=3600'), 1);
    assert.equal(await made('keep-alive: nonsense'), 1);
  });

  it('closes an idle connection before its endpoint does', async () => {
    const pairs = new StreamPairs();
    ends.push(() => pairs.close());
    const { near, far } = await pairs.http2();
    let farEnded = false;
    far.once('end', () => (farEnded = true)).once('close', () => (farEnded = true));
    const client = new Http1Client(
      { connect: () => Promise.resolve(near) },
      () => false,
      () => undefined,
    );
    const { response } = client.request(request());
    await readUntil(far, '\r\n\r\n');
    far.write(OK.replace('\r\n\r\n', '\r\nkeep-alive: timeout=2\r\n\r\n'));
    await readAll((await response).body as never);
    await eventually(() => near.destroyed && client.connections === 0);
    far.resume();
    await eventually(() => farEnded);
  });

  it('closes a tunnel after its last response, whether or not the other side does', async () => {
    const pairs = new StreamPairs();
    ends.push(() => pairs.close());
    const { near, far } = await pairs.http2();
    const client = new Http1Client(
      { connect: () => Promise.resolve(near) },
      () => false,
      () => undefined,
    );
    const { response } = client.request(request());
    await readUntil(far, '\r\n\r\n');
    far.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok');
    await readAll((await response).body as never);
    await eventually(() => near.destroyed && client.connections === 0);
  });

  it('takes a switch of protocols that nobody asked for as a broken answer', async () => {
    const { client, connector } = await endpoint(
      answers('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nbytes'),
    );
    assert.equal((await failureOf(client.request(request()))).kind, 'protocol');
    await eventually(() => connector.open === 0);
  });
});
