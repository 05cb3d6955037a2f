import assert from 'node:assert/strict';
import http2 from 'node:http2';
import net from 'node:net';
import { afterEach, describe, it } from 'mocha';
import { Http2Client, type Http2ClientOptions } from '../../../../waypoint/upstream/http2-client.ts';
import { CountingConnector, failureOf, listen, request } from '../support/endpoints.ts';
import { headers } from '../support/exchanges.ts';
import { eventually, readAll, StreamPairs } from '../support/streams.ts';

type OnStream = (stream: http2.ServerHttp2Stream, head: http2.IncomingHttpHeaders) => void;

const OPTIONS: Http2ClientOptions = {
  usedUp: () => false,
  onRoom: () => undefined,
  waitForRoom: () => Promise.resolve('refused'),
};

describe('waypoint: HTTP/2 to an endpoint', () => {
  const ends: (() => void)[] = [];
  afterEach(() => {
    for (const end of ends.splice(0)) end();
  });

  async function endpoint(
    onStream: OnStream,
    settings: http2.Settings = {},
    options: Partial<Http2ClientOptions> = {},
  ): Promise<{ client: Http2Client; connector: CountingConnector; rooms: number[] }> {
    const server = http2.createServer({ settings });
    const sessions = new Set<http2.ServerHttp2Session>();
    server.on('session', (session) => {
      sessions.add(session);
      session.on('error', () => undefined);
    });
    server.on('stream', (stream: http2.ServerHttp2Stream, head: http2.IncomingHttpHeaders) => {
      stream.on('error', () => undefined);
      onStream(stream, head);
    });
    const connector = new CountingConnector(await listen(server));
    const rooms: number[] = [];
    const client = new Http2Client(connector, {
      ...{ ...OPTIONS, ...options },
      onRoom: (places) => rooms.push(places),
    });
    ends.push(() => {
      client.retire();
      for (const session of sessions) session.destroy();
      server.close();
    });
    return { client, connector, rooms };
  }

  const ok: OnStream = (stream) => {
    stream.respond({ ':status': 200 });
    stream.end('ok');
  };

  it('gives an attempt up at once that still waits for its connection', async () => {
    const { client, connector } = await endpoint(ok);
    let go!: () => void;
    connector.hold = new Promise((resolve) => (go = resolve));
    const attempt = client.request(request());
    attempt.abort();
    assert.deepEqual(await failureOf(attempt), { kind: 'aborted' });
    assert.equal(connector.made, 0, 'it did not wait for the connection');
    go();
    const { body } = await client.request(request()).response;
    assert.equal((await readAll(body as never)).toString(), 'ok');
    assert.equal(connector.made, 1, 'the connection serves whoever comes next');
  });

  it('serves those who wait when it is retired while it connects, once, and then closes', async () => {
    const { client, connector } = await endpoint(ok);
    const attempts = [client.request(request()), client.request(request())];
    client.retire();
    for (const { response } of attempts) {
      const { status, body } = await response;
      assert.equal(status, 200);
      await readAll(body as never);
    }
    await eventually(() => connector.open === 0);
    assert.equal(connector.made, 1);
    assert.equal(client.connections, 0);
  });

  it('does not make one connection after another to an endpoint that admits no request', async () => {
    const { client, connector } = await endpoint(ok, { maxConcurrentStreams: 0 });
    assert.equal((await failureOf(client.request(request()))).kind, 'connect');
    assert.equal(connector.made, 1);
    await eventually(() => connector.open === 0);
  });

  it('leaves no connection when the endpoint closes it before HTTP/2 begins', async () => {
    const server = net.createServer((socket) => {
      socket.on('error', () => undefined);
      socket.once('data', () => socket.destroy());
    });
    const connector = new CountingConnector(await listen(server));
    ends.push(() => server.close());
    const client = new Http2Client(connector, OPTIONS);
    assert.equal((await failureOf(client.request(request()))).kind, 'connect');
    await eventually(() => connector.open === 0);
    assert.equal(client.connections, 0);
  });

  it('takes an endpoint that closes its half of a connection for gone', async () => {
    const pairs = new StreamPairs();
    ends.push(() => pairs.close());
    const { near, far } = await pairs.http2();
    const server = http2.createServer();
    server.on('stream', ok);
    server.on('sessionError', () => undefined);
    const client = new Http2Client({ connect: () => Promise.resolve(near) }, OPTIONS);
    server.emit('connection', far);
    await readAll((await client.request(request()).response).body as never);
    assert.equal(client.hasRoom, true);
    far.end();
    await eventually(() => !client.hasRoom && client.connections === 0 && near.destroyed);
  });

  it('calls what an endpoint disowned in a GOAWAY refused, for whatever reason it left', async () => {
    let streams = 0;
    const { client } = await endpoint((stream) => {
      streams += 1;
      if (streams === 2) stream.session?.goaway(http2.constants.NGHTTP2_ENHANCE_YOUR_CALM, 1);
    });
    const [seen, disowned] = [client.request(request()), client.request(request({ method: 'POST' }))];
    assert.equal((await failureOf(disowned)).kind, 'refused');
    assert.equal((await failureOf(seen)).kind, 'reset');
  });

  it('calls a stream reset that was reset', async () => {
    const { client } = await endpoint((stream) => stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR));
    assert.equal((await failureOf(client.request(request()))).kind, 'reset');
  });

  it('gives back the place of a response that ended unread', async () => {
    const { client, rooms } = await endpoint(ok, { maxConcurrentStreams: 1 });
    const attempt = client.request(request());
    const { body } = await attempt.response;
    assert.ok(body);
    body.pause();
    await eventually(() => (body as http2.ClientHttp2Stream).closed);
    assert.equal(client.hasRoom, false);
    const before = rooms.length;
    attempt.abort();
    await eventually(() => client.hasRoom);
    assert.equal(rooms.length, before + 1, 'and whoever waits is told');
  });

  it('gives back the place of a request that was answered before all of it was sent', async () => {
    const { client } = await endpoint(ok, { maxConcurrentStreams: 1 });
    const attempt = client.request(request({ method: 'POST', hasBody: true }));
    attempt.body?.write('first');
    const { body } = await attempt.response;
    await readAll(body as never);
    attempt.complete();
    await eventually(() => client.hasRoom);
  });

  it('lets a complete request be: its connection goes on', async () => {
    let reset = false;
    const { client, connector } = await endpoint((stream, head) => {
      stream.on('aborted', () => (reset = true));
      stream.resume();
      stream.on('end', () => ok(stream, head));
    });
    const attempt = client.request(request({ method: 'POST', hasBody: true }));
    attempt.body?.write('all');
    attempt.endBody(headers());
    await readAll((await attempt.response).body as never);
    attempt.complete();
    await eventually(() => client.hasRoom);
    assert.equal(reset, false);
    assert.equal(connector.open, 1);
  });

  it('closes a connection that is idle for long enough, whatever PINGs come on it', async () => {
    let pings: NodeJS.Timeout | undefined;
    ends.push(() => clearInterval(pings));
    const { client, connector } = await endpoint(
      (stream, head) => {
        const { session } = stream;
        pings ??= setInterval(() => session?.destroyed === false && session.ping(() => undefined), 5);
        ok(stream, head);
      },
      {},
      { idleMs: 50 },
    );
    await readAll((await client.request(request()).response).body as never);
    await eventually(() => connector.open === 0 && client.connections === 0);
    await readAll((await client.request(request()).response).body as never);
    assert.equal(connector.made, 2);
  });

  it('keeps a connection on which a request waits, however long nothing moves', async () => {
    const { client, connector } = await endpoint(
      (stream, head) => setTimeout(() => ok(stream, head), 120),
      {},
      { idleMs: 10 },
    );
    const { body } = await client.request(request()).response;
    assert.equal((await readAll(body as never)).toString(), 'ok');
    assert.equal(connector.made, 1);
    await eventually(() => connector.open === 0);
  });

  it('closes a connection that is used up with its last request', async () => {
    const { connector } = await endpoint(ok);
    const client = new Http2Client(connector, { ...OPTIONS, usedUp: () => true });
    const attempt = client.request(request());
    await readAll((await attempt.response).body as never);
    await eventually(() => connector.open === 0);
  });
});
