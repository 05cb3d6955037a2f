import assert from 'node:assert/strict';
import type { Duplex } from 'node:stream';
import { afterEach, beforeEach, describe, it } from 'mocha';
import type { AttemptRequest } from '../../../../waypoint/http/exchange.ts';
import { Http1Client } from '../../../../waypoint/upstream/http1-client.ts';
import { headers } from '../support/exchanges.ts';
import { readAll, readUntil, StreamPairs } from '../support/streams.ts';

describe('waypoint/upstream/http1-client', () => {
  let pairs: StreamPairs;
  let client: Http1Client;
  let endpoints: Duplex[];

  beforeEach(() => {
    pairs = new StreamPairs();
    endpoints = [];
    const connect = async (): Promise<Duplex> => {
      const { near, far } = await pairs.http2();
      endpoints.push(far);
      return near;
    };
    client = new Http1Client(
      { connect },
      () => false,
      () => undefined,
    );
  });
  afterEach(() => {
    client.retire();
    pairs.close();
  });

  function request(changes: Partial<AttemptRequest> = {}): AttemptRequest {
    return {
      head: { method: 'GET', authority: 'pay.shop', path: '/a', query: 'b=1', protocol: 'http1' },
      headers: headers({ 'x-a': '1', 'set-cookie': ['a=1', 'b=2'] }),
      hasBody: false,
      upgrade: undefined,
      onInformational: () => undefined,
      ...changes,
    };
  }

  async function endpoint(): Promise<Duplex> {
    while (endpoints[0] === undefined) await new Promise((resolve) => setImmediate(resolve));
    return endpoints[0];
  }

  it('sends each header, and each of several values on a line of its own', async () => {
    const attempt = client.request(request());
    const sent = await readUntil(await endpoint(), '\r\n\r\n');
    assert.equal(
      sent,
      'GET /a?b=1 HTTP/1.1\r\nx-a: 1\r\nset-cookie: a=1\r\nset-cookie: b=2\r\nhost: pay.shop\r\n\r\n',
    );
    attempt.abort();
    await assert.rejects(attempt.response);
  });

  it('refuses a header that would end its line', () => {
    assert.throws(() => client.request(request({ headers: headers({ 'x-a': '1\r\nx-b: 2' }) })), {
      code: 'ERR_INVALID_CHAR',
    });
  });

  it('sends a body of unknown length in chunks, with its trailers', async () => {
    const head = { method: 'POST', authority: 'a', path: '/', query: '', protocol: 'http1' } as const;
    const attempt = client.request(request({ head, headers: headers(), hasBody: true }));
    attempt.body?.write('abc');
    attempt.endBody(headers({ 'x-sum': '7' }));
    const sent = await readUntil(await endpoint(), 'x-sum: 7\r\n\r\n');
    assert.match(sent, /\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n$/);
    attempt.abort();
    await assert.rejects(attempt.response);
  });

  it('has a small response whole, and the connection is free for the next request', async () => {
    const first = client.request(request());
    const far = await endpoint();
    await readUntil(far, '\r\n\r\n');
    far.write('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody');
    assert.equal((await first.response).takeWhole()?.toString(), 'body');
    while (!client.hasFree) await new Promise((resolve) => setImmediate(resolve));
    const second = client.request(request());
    await readUntil(far, '\r\n\r\n');
    far.write('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
    assert.equal((await second.response).takeWhole()?.length, 0);
    assert.equal(endpoints.length, 1);
  });

  it('has one that came in several pieces whole, too', async () => {
    for (const pieces of [1, 2, 5]) {
      const attempt = client.request(request());
      const far = await endpoint();
      await readUntil(far, '\r\n\r\n');
      const chunks = '4\r\nbody\r\n'.repeat(pieces);
      far.write(`HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${chunks}0\r\n\r\n`);
      assert.equal((await attempt.response).takeWhole()?.toString(), 'body'.repeat(pieces));
      while (!client.hasFree) await new Promise((resolve) => setImmediate(resolve));
    }
  });

  it('does not take for whole what goes on, nor what has trailers', async () => {
    const first = client.request(request());
    const far = await endpoint();
    await readUntil(far, '\r\n\r\n');
    far.write('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbo');
    const partial = await first.response;
    assert.equal(partial.takeWhole(), undefined);
    far.write('dy');
    assert.ok(partial.body);
    assert.equal(await readAll(partial.body), 'body');
    while (!client.hasFree) await new Promise((resolve) => setImmediate(resolve));
    const second = client.request(request());
    await readUntil(far, '\r\n\r\n');
    far.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n');
    const trailed = await second.response;
    assert.equal(trailed.takeWhole(), undefined);
    assert.ok(trailed.body);
    assert.equal(await readAll(trailed.body), 'ok');
    assert.deepEqual({ ...trailed.trailers() }, { 'x-sum': '7' });
  });
});
