import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2 from 'node:http2';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { detectProtocol } from '../../../../waypoint/http/detect.ts';
import { Http2Server } from '../../../../waypoint/http/http2-server.ts';
import { Exchanges, headers, limits } from '../support/exchanges.ts';
import { eventually, happened, readAll, StreamPairs } from '../support/streams.ts';

describe('waypoint/http/http2-server', () => {
  let pairs: StreamPairs;
  let server: Http2Server;
  let exchanges: Exchanges;
  let sessions: http2.ClientHttp2Session[];
  let errors: string[];

  beforeEach(() => {
    pairs = new StreamPairs();
    exchanges = new Exchanges();
    sessions = [];
    errors = [];
    server = new Http2Server(limits({ maxConcurrentStreams: 3 }), (_connection, _status, reason) =>
      errors.push(reason),
    );
  });
  afterEach(() => {
    for (const session of sessions) session.destroy();
    server.close();
    pairs.close();
  });

  /** A client over a connection whose first bytes were looked at. */
  async function connect(): Promise<http2.ClientHttp2Session> {
    const { near, far } = await pairs.http2();
    const detected = detectProtocol(far, { timeoutMs: 60_000 });
    const session = http2.connect('http://pay.shop', { createConnection: () => near });
    session.on('error', () => undefined);
    sessions.push(session);
    assert.equal(await detected, 'http2');
    server.accept(far, exchanges.handler);
    await once(session, 'remoteSettings');
    return session;
  }

  function ask(session: http2.ClientHttp2Session, head: http2.OutgoingHttpHeaders = {}, endStream = true) {
    const stream = session.request({ ':authority': 'Pay.Shop', ...head }, { endStream });
    stream.on('error', () => undefined);
    return stream;
  }

  it('tells of a request as it came', async () => {
    const session = await connect();
    ask(session, { ':method': 'GET', ':path': '/a?b=1', 'x-a': '1' });
    const { incoming, body, upgrade } = await exchanges.next();
    assert.deepEqual(
      [incoming.method, incoming.target, incoming.authority, incoming.protocol],
      ['GET', '/a?b=1', 'pay.shop', 'http2'],
    );
    assert.deepEqual({ ...incoming.headers }, { 'x-a': '1' });
    assert.deepEqual([body, upgrade], [undefined, undefined]);
  });

  for (const [type, protocol] of [
    ['application/grpc', 'grpc'],
    ['application/grpc+proto', 'grpc'],
    ['application/grpc;x=1', 'grpc'],
    ['application/grpc-web', 'http2'],
    ['application/json', 'http2'],
  ] as const) {
    it(`takes ${type} for ${protocol}`, async () => {
      ask(await connect(), { ':method': 'POST', 'content-type': type });
      assert.equal((await exchanges.next()).incoming.protocol, protocol);
    });
  }

  it('carries body and trailers both ways', async () => {
    const stream = ask(await connect(), { ':method': 'POST' }, false);
    stream.end('body');
    const exchange = await exchanges.next();
    assert.ok(exchange.body);
    assert.equal(await readAll(exchange.body), 'body');
    const answered = once(stream, 'response') as Promise<[http2.IncomingHttpHeaders]>;
    const trailed = once(stream, 'trailers') as Promise<[http2.IncomingHttpHeaders]>;
    exchange.respond(
      200,
      headers({ 'x-b': '2', connection: 'close', 'transfer-encoding': 'chunked' }),
      false,
    );
    exchange.out.write('answer');
    exchange.endWithTrailers(headers({ 'grpc-status': '0' }));
    const [head] = await answered;
    assert.deepEqual([head[':status'], head['x-b'], head['connection']], [200, '2', undefined]);
    assert.equal(await readAll(stream), 'answer');
    assert.equal((await trailed)[0]['grpc-status'], '0');
  });

  it('hands over the trailers of a request after its body', async () => {
    const session = await connect();
    const stream = session.request({ ':method': 'POST' }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': '7' }));
    stream.end('x');
    const exchange = await exchanges.next();
    assert.ok(exchange.body);
    await readAll(exchange.body);
    assert.equal(exchange.requestTrailers()['x-sum'], '7');
  });

  it('ends with the head where there is no body, and asks an uploading client to stop', async () => {
    const stream = ask(await connect(), { ':method': 'POST' }, false);
    stream.write('first of many');
    const exchange = await exchanges.next();
    const closed = happened(stream, 'close');
    exchange.respond(413, headers({ 'content-length': '0' }), true);
    const [head] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders];
    assert.equal(head[':status'], 413);
    stream.resume();
    await closed;
    assert.equal(stream.rstCode, http2.constants.NGHTTP2_NO_ERROR);
  });

  it('answers HEAD without a body', async () => {
    const stream = ask(await connect(), { ':method': 'HEAD' });
    const exchange = await exchanges.next();
    exchange.respond(200, headers({ 'content-length': '5' }), true);
    const [head] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders];
    assert.equal(head['content-length'], '5');
    assert.equal(await readAll(stream), '');
  });

  it('sends interim responses before the head only', async () => {
    const stream = ask(await connect(), { ':method': 'POST', expect: '100-continue' }, false);
    const interim: unknown[] = [];
    stream.on('headers', (head) => interim.push(head[':status']));
    const exchange = await exchanges.next();
    assert.equal(exchange.expectsContinue, true);
    exchange.informational(103, headers({ link: '</a>' }));
    exchange.informational(100, headers());
    exchange.respond(200, headers(), true);
    exchange.informational(103, headers());
    await once(stream, 'response');
    assert.deepEqual(interim, [103, 100]);
  });

  it('resets a response that is incomplete, so that it never looks whole', async () => {
    const stream = ask(await connect());
    const exchange = await exchanges.next();
    exchange.respond(200, headers(), false);
    exchange.out.write('half');
    await once(stream, 'data');
    const closed = happened(stream, 'close');
    exchange.reset();
    await closed;
    assert.equal(stream.rstCode, http2.constants.NGHTTP2_INTERNAL_ERROR);
  });

  it('tells that the client left, and nothing of the kind after a whole response', async () => {
    const session = await connect();
    const whole = ask(session);
    const first = await exchanges.next();
    let aborts = 0;
    first.onAbort(() => (aborts += 1));
    first.respond(200, headers(), true);
    whole.resume();
    await once(whole, 'close');
    const left = ask(session);
    const second = await exchanges.next();
    const aborted = new Promise<void>((resolve) => second.onAbort(resolve));
    left.close(http2.constants.NGHTTP2_CANCEL);
    await aborted;
    assert.equal(second.aborted, true);
    second.respond(200, headers(), true);
    assert.equal(second.headSent, false);
    assert.equal(aborts, 0);
  });

  it('says how many requests it takes at once, and offers no extended CONNECT', async () => {
    const { maxConcurrentStreams, enableConnectProtocol } = (await connect()).remoteSettings;
    assert.equal(maxConcurrentStreams, 3);
    assert.notEqual(enableConnectProtocol, true);
  });

  for (const [what, head] of [
    ['a head of too many bytes', { 'x-long': 'a'.repeat(61_440) }],
    ['too many lines', Object.fromEntries(Array.from({ length: 201 }, (_, i) => [`x-${i}`, '1']))],
  ] as const) {
    it(`answers ${what} with 431, and serves on`, async () => {
      const session = await connect();
      const stream = ask(session, { ':method': 'POST', ...head }, false);
      const [response] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders];
      assert.equal(response[':status'], 431);
      await happened(stream, 'close');
      assert.deepEqual(errors, ['head-too-large']);
      ask(session, { 'x-long': 'a'.repeat(60_000) });
      assert.equal((await exchanges.next()).incoming.method, 'GET');
    });
  }

  it('drains: requests under way end, new ones are not asked for', async () => {
    const session = await connect();
    const stream = ask(session);
    const exchange = await exchanges.next();
    const left = happened(session, 'goaway');
    const closed = happened(session, 'close');
    const lastIds: unknown[] = [];
    session.on('goaway', (_code, lastStreamId) => lastIds.push(lastStreamId));
    server.drain();
    await left;
    assert.equal(lastIds[0], 2 ** 31 - 1, 'requests on their way to it are still served');
    server.closeIdle();
    exchange.respond(200, headers(), false);
    exchange.endWithTrailers(headers());
    assert.equal(await readAll(stream), '');
    await closed;
  });

  it('serves a request that crosses the notice, also on a connection that has just begun', async () => {
    for (const first of [true, false]) {
      const session = await connect();
      if (first) {
        const stream = ask(session);
        (await exchanges.next()).respond(200, headers(), true);
        assert.equal(await readAll(stream), '');
      }
      const left = happened(session, 'goaway');
      server.drain();
      // The client has not heard of it yet.
      const late = ask(session);
      (await exchanges.next()).respond(204, headers(), true);
      const [answered] = (await once(late, 'response')) as [http2.IncomingHttpHeaders];
      assert.equal(answered[':status'], 204);
      await left;
    }
    assert.deepEqual(errors, []);
  });

  it('ends a connection that breaks the protocol, and tells so', async () => {
    const { near, far } = await pairs.http2();
    server.accept(far, exchanges.handler);
    const closed = happened(far, 'close');
    near.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n');
    await closed;
    await eventually(() => errors.length === 1);
    assert.equal(exchanges.all.length, 0);
  });
});
