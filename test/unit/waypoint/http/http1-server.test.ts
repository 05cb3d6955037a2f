import assert from 'node:assert/strict';
import diagnostics_channel from 'node:diagnostics_channel';
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { detectProtocol } from '../../../../waypoint/http/detect.ts';
import { Http1Server } from '../../../../waypoint/http/http1-server.ts';
import { Exchanges, headers, limits } from '../support/exchanges.ts';
import { eventually, happened, readAll, readUntil, StreamPairs, turns } from '../support/streams.ts';

describe('waypoint/http/http1-server', () => {
  let pairs: StreamPairs;
  let server: Http1Server;
  let exchanges: Exchanges;
  let errors: [status: number, reason: string][];

  beforeEach(() => {
    pairs = new StreamPairs();
    exchanges = new Exchanges();
    errors = [];
    server = new Http1Server(limits({ headersTimeoutMs: 200 }), (_connection, status, reason) =>
      errors.push([status, reason]),
    );
  });
  afterEach(() => {
    server.close();
    pairs.close();
  });

  /** A client's end of a connection that is served. */
  async function connect(): Promise<Duplex> {
    const { near, far } = await pairs.http2();
    server.accept(far, exchanges.handler);
    return near;
  }

  it('serves a connection whose first bytes were looked at', async () => {
    const { near, far } = await pairs.http2();
    const detected = detectProtocol(far, { timeoutMs: 60_000 });
    near.write('POST /a?b=1 HTTP/1.1\r\nHost: Pay.Shop\r\nX-A: 1\r\ncontent-length: 4\r\n\r\nbo');
    assert.equal(await detected, 'http1');
    server.accept(far, exchanges.handler);
    const exchange = await exchanges.next();
    const { incoming } = exchange;
    assert.deepEqual(
      [incoming.method, incoming.target, incoming.authority, incoming.protocol],
      ['POST', '/a?b=1', 'pay.shop', 'http1'],
    );
    assert.equal(incoming.headers['x-a'], '1');
    assert.equal(Object.getPrototypeOf(incoming.headers), null);
    near.write('dy');
    assert.ok(exchange.body);
    assert.equal(await readAll(exchange.body), 'body');
    exchange.respond(200, headers({ 'content-length': '2' }), false);
    exchange.out.write('ok');
    exchange.endWithTrailers(headers());
    assert.match(await readUntil(near, 'ok'), /^HTTP\/1\.1 200 OK\r\ncontent-length: 2\r\n/);
  });

  it('keeps the connection for one request after another, and serves none before the former is answered', async () => {
    const near = await connect();
    near.write('GET /1 HTTP/1.1\r\nhost: a\r\n\r\nGET /2 HTTP/1.1\r\nhost: a\r\n\r\n');
    const first = await exchanges.next();
    await turns(20);
    assert.equal(exchanges.all.length, 1);
    first.respond(201, headers({ 'content-length': '0' }), true);
    const second = await exchanges.next();
    second.respond(202, headers({ 'content-length': '0' }), true);
    const seen = await readUntil(near, 'HTTP/1.1 202');
    assert.ok(seen.startsWith('HTTP/1.1 201'), seen);
  });

  it('sends a response that is whole in one piece', async () => {
    const near = await connect();
    near.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n');
    const exchange = await exchanges.next();
    exchange.respondWhole(200, headers({ 'content-length': '4' }), Buffer.from('body'));
    assert.equal(exchange.headSent, true);
    const [piece] = (await once(near, 'data')) as [Buffer];
    assert.match(piece.toString('latin1'), /^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\nbody$/);
  });

  it('has no body where a request has none, and the body of a chunked one with its trailers', async () => {
    const near = await connect();
    near.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n');
    const get = await exchanges.next();
    assert.equal(get.body, undefined);
    get.respond(204, headers(), true);
    near.write(
      'PUT / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n',
    );
    const put = await exchanges.next();
    assert.ok(put.body);
    assert.equal(await readAll(put.body), 'abc');
    assert.deepEqual({ ...put.requestTrailers() }, { 'x-sum': '7' });
  });

  it('sends chunks and trailers where no length is given', async () => {
    const near = await connect();
    near.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n');
    const exchange = await exchanges.next();
    exchange.respond(200, headers({ trailer: 'x-end' }), false);
    exchange.out.write('abc');
    exchange.endWithTrailers(headers({ 'x-end': 'yes' }));
    const seen = await readUntil(near, '\r\n0\r\n');
    assert.match(seen, /transfer-encoding: chunked\r\n/i);
    assert.ok(seen.endsWith('\r\n\r\n3\r\nabc\r\n0\r\nx-end: yes\r\n\r\n'), seen);
  });

  it('leaves trailers out where the length was given', async () => {
    const near = await connect();
    near.write('GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n');
    const exchange = await exchanges.next();
    exchange.respond(200, headers({ 'content-length': '3' }), false);
    exchange.out.write('abc');
    exchange.endWithTrailers(headers({ 'x-end': 'yes' }));
    assert.ok((await readAll(near)).endsWith('\r\n\r\nabc'));
  });

  it('answers HEAD without a body, whatever is written', async () => {
    const near = await connect();
    near.write('HEAD / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n');
    const exchange = await exchanges.next();
    exchange.respond(200, headers({ 'content-length': '5' }), false);
    exchange.out.write('never');
    exchange.endWithTrailers(headers());
    const seen = await readAll(near);
    assert.match(seen, /content-length: 5\r\n/);
    assert.ok(seen.endsWith('\r\n\r\n'), seen);
  });

  it('tells of 100-continue and sends interim responses only when told to', async () => {
    const near = await connect();
    near.write('PUT / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\n');
    const exchange = await exchanges.next();
    assert.equal(exchange.expectsContinue, true);
    exchange.informational(103, headers({ link: '</a.css>; rel=preload' }));
    exchange.informational(100, headers());
    const seen = await readUntil(near, '100 Continue\r\n\r\n');
    assert.match(seen, /^HTTP\/1\.1 103 Early Hints\r\nlink: <\/a\.css>; rel=preload\r\n/i);
    near.write('x');
    assert.ok(exchange.body);
    assert.equal(await readAll(exchange.body), 'x');
    exchange.respond(200, headers(), true);
    await readUntil(near, 'HTTP/1.1 200');
    exchange.informational(100, headers());
  });

  it('sends no interim response to HTTP/1.0, and closes after the response', async () => {
    const near = await connect();
    near.write('GET / HTTP/1.0\r\nhost: a\r\n\r\n');
    const exchange = await exchanges.next();
    exchange.informational(103, headers({ link: '</a>; rel=preload' }));
    exchange.respond(200, headers(), false);
    exchange.out.write('all');
    exchange.endWithTrailers(headers());
    const seen = await readAll(near);
    assert.ok(seen.startsWith('HTTP/1.1 200'), seen);
    assert.doesNotMatch(seen, /chunked/);
    assert.ok(seen.endsWith('\r\n\r\nall'), seen);
  });

  it('breaks the connection where a response is incomplete', async () => {
    const near = await connect();
    near.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n');
    const exchange = await exchanges.next();
    exchange.respond(200, headers({ 'content-length': '10' }), false);
    exchange.out.write('half');
    await readUntil(near, 'half');
    const closed = happened(near, 'close');
    exchange.reset();
    await closed;
    assert.notEqual((near as Duplex & { rstCode?: number }).rstCode, 0);
  });

  it('tells that the client left, once and only then', async () => {
    const near = await connect();
    near.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n');
    const first = await exchanges.next();
    let aborts = 0;
    first.onAbort(() => (aborts += 1));
    first.respond(200, headers({ 'content-length': '0' }), true);
    await readUntil(near, '\r\n\r\n');
    near.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n');
    const second = await exchanges.next();
    const aborted = new Promise<void>((resolve) => second.onAbort(resolve));
    assert.equal(second.aborted, false);
    near.destroy();
    await aborted;
    assert.equal(second.aborted, true);
    assert.equal(aborts, 0);
    second.respond(200, headers(), true);
    assert.equal(second.headSent, false);
  });

  describe('upgrades', () => {
    const ASK = 'GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: WebSocket\r\n\r\n';

    it('hand over the bytes both ways, those that came with the request too', async () => {
      const near = await connect();
      near.write(`${ASK}early`);
      const exchange = await exchanges.next();
      assert.equal(exchange.upgrade, 'websocket');
      assert.equal(exchange.body, undefined);
      let aborts = 0;
      exchange.onAbort(() => (aborts += 1));
      const raw = exchange.switchProtocols(headers({ connection: 'upgrade', upgrade: 'websocket' }));
      const sent = readAll(raw);
      raw.write('hello');
      assert.match(
        await readUntil(near, 'hello'),
        /^HTTP\/1\.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhello$/,
      );
      near.end(' and late');
      assert.equal(await sent, 'early and late');
      assert.equal(aborts, 0);
    });

    it('that are refused get a response and the end of the connection', async () => {
      const near = await connect();
      near.write(ASK);
      const exchange = await exchanges.next();
      exchange.respond(403, headers({ 'content-length': '2' }), false);
      exchange.out.write('no');
      exchange.endWithTrailers(headers());
      const seen = await readAll(near);
      assert.match(seen, /^HTTP\/1\.1 403 Forbidden\r\n/);
      assert.ok(seen.endsWith('\r\n\r\nno'));
    });

    it('tell when the client leaves before they are answered', async () => {
      const near = await connect();
      near.write(ASK);
      const exchange = await exchanges.next();
      const aborted = new Promise<void>((resolve) => exchange.onAbort(resolve));
      near.destroy();
      await aborted;
      assert.equal(exchange.aborted, true);
    });

    for (const [what, lines] of [
      ['to HTTP/2', 'connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n'],
      ['with a body', 'connection: upgrade\r\nupgrade: websocket\r\ncontent-length: 1\r\n'],
      ['to what is no token', 'connection: upgrade\r\nupgrade: a b\r\n'],
    ] as const) {
      it(`${what} are ordinary requests`, async () => {
        const near = await connect();
        near.write(`GET / HTTP/1.1\r\nhost: a\r\n${lines}\r\n`);
        assert.equal((await exchanges.next()).upgrade, undefined);
      });
    }
  });

  describe('refuses and closes', () => {
    for (const [what, bytes, status] of [
      ['what is not HTTP', 'hello\r\n\r\n', 400],
      ['a request without Host', 'GET / HTTP/1.1\r\n\r\n', 400],
      ['headers beyond the bound', `GET / HTTP/1.1\r\nhost: a\r\nx: ${'y'.repeat(70_000)}\r\n\r\n`, 431],
      ['CONNECT', 'CONNECT a:80 HTTP/1.1\r\nhost: a\r\n\r\n', 405],
      [
        'an expectation that is not known',
        'GET / HTTP/1.1\r\nhost: a\r\nexpect: more\r\nconnection: close\r\n\r\n',
        417,
      ],
    ] as const) {
      it(what, async () => {
        const near = await connect();
        near.write(bytes);
        const seen = await readAll(near);
        assert.ok(seen.startsWith(`HTTP/1.1 ${status} `), seen);
        assert.equal(exchanges.all.length, 0);
      });
    }

    it('a head that does not end in time', async () => {
      const near = await connect();
      near.write('GET / HTTP/1.1\r\nhost: ');
      assert.match(await readAll(near), /^HTTP\/1\.1 408 /);
      assert.deepEqual(errors, [[408, 'ERR_HTTP_REQUEST_TIMEOUT']]);
    });
  });

  it('closes a connection that had its last request long ago', async () => {
    server.close();
    server = new Http1Server(limits({ connectionIdleTimeoutMs: 30 }), () => undefined);
    const near = await connect();
    near.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n');
    (await exchanges.next()).respond(200, headers({ 'content-length': '0' }), true);
    assert.match(await readAll(near), /^HTTP\/1\.1 200 /);
  });

  describe('reads no more requests after the last response', () => {
    const FLOOD = 'GET / HTTP/1.1\r\nhost: a\r\n\r\n'.repeat(30_000);
    let parsed = 0;
    const count = (): void => void (parsed += 1);
    // Each one that Node parses it keeps until the connection closes, served or not.
    beforeEach(() => {
      parsed = 0;
      diagnostics_channel.subscribe('http.server.request.start', count);
    });
    afterEach(() => diagnostics_channel.unsubscribe('http.server.request.start', count));

    // Answered with 417 and the end of the connection, which the client need not heed.
    const LAST = 'GET / HTTP/1.1\r\nhost: a\r\nexpect: nothing\r\n\r\n';

    it('of a client that has read it', async () => {
      const near = await connect();
      near.write(LAST);
      await readUntil(near, '\r\n\r\n');
      near.end(FLOOD);
      await once(near, 'close');
      assert.ok(parsed < 5_000, `${parsed} requests were kept`);
    });

    it('of a client that does not read it', async () => {
      const { near, far } = await pairs.http2({ initialWindowSize: 0 });
      server.accept(far, exchanges.handler);
      let sent = false;
      near.write(LAST);
      near.end(FLOOD, () => (sent = true));
      await eventually(() => sent);
      assert.ok(parsed < 5_000, `${parsed} requests were kept`);
    });
  });

  it('drains: a busy connection closes after its next response, an idle one when no request came to it', async () => {
    const [idle, busy] = [await connect(), await connect()];
    for (const near of [idle, busy]) near.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n');
    const [first, second] = [await exchanges.next(), await exchanges.next()];
    first.respond(200, headers({ 'content-length': '0' }), true);
    await readUntil(idle, '\r\n\r\n');
    await turns(3);
    const idleClosed = happened(idle, 'close');
    server.drain();
    server.closeIdle(3_600_000);
    await turns(3);
    assert.equal(idle.destroyed, false, 'a request may be on its way to it');
    server.closeIdle(0);
    await idleClosed;
    assert.equal(busy.destroyed, false);
    second.respond(200, headers({ 'content-length': '0' }), true);
    await readUntil(busy, '\r\n\r\n');
    busy.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n');
    (await exchanges.next()).respond(200, headers({ 'content-length': '0' }), true);
    assert.match(await readAll(busy), /connection: close/i);
  });
});
