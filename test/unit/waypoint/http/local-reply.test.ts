import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { failureReply } from '../../../../waypoint/http/failure-reply.ts';
import { Http1Server } from '../../../../waypoint/http/http1-server.ts';
import { localReply, sendReply, type LocalReply } from '../../../../waypoint/http/local-reply.ts';
import type { Outcome } from '../../../../waypoint/resilience/outcome.ts';
import { Exchanges, headers, limits } from '../support/exchanges.ts';
import { readAll, StreamPairs } from '../support/streams.ts';

const DENIED: LocalReply = { status: 403, text: 'denied by policy', flags: ['DENY', 'DC'] };

describe('waypoint/http/local-reply', () => {
  it('says in plain text why, with the flags', () => {
    const { status, headers: sent, body } = localReply(DENIED, 'http1');
    assert.deepEqual([status, body], [403, 'denied by policy\n']);
    assert.deepEqual(
      { ...sent },
      {
        'x-loam-response-flags': 'DENY,DC',
        'content-type': 'text/plain; charset=utf-8',
        'content-length': '17',
      },
    );
  });

  it('counts the length in bytes, and has one of 0 without a text', () => {
    assert.equal(localReply({ ...DENIED, text: 'é' }, 'http2').headers['content-length'], '3');
    assert.equal(localReply({ ...DENIED, text: '' }, 'http2').headers['content-length'], '0');
  });

  it('adds headers of the reply, and changes none of them', () => {
    const own = headers({ 'retry-after': '3' });
    assert.equal(localReply({ ...DENIED, headers: own }, 'http1').headers['retry-after'], '3');
    assert.deepEqual({ ...own }, { 'retry-after': '3' });
  });

  it('has neither body nor length for a status that has none', () => {
    for (const status of [204, 304]) {
      const reply = localReply({ ...DENIED, status }, 'http1');
      assert.equal(reply.body, '');
      assert.equal(reply.headers['content-length'], undefined);
    }
  });

  describe('for gRPC', () => {
    const codes: [status: number, code: number][] = [
      [400, 13],
      [401, 16],
      [403, 7],
      [404, 12],
      [408, 4],
      [429, 8],
      [500, 13],
      [503, 14],
      [504, 4],
    ];
    for (const [status, code] of codes) {
      it(`is a response of trailers alone, status ${code} for ${status}`, () => {
        const reply = localReply({ status, text: 'no é', flags: ['UH'] }, 'grpc');
        assert.deepEqual([reply.status, reply.body], [200, '']);
        assert.deepEqual(
          { ...reply.headers },
          {
            'x-loam-response-flags': 'UH',
            'content-type': 'application/grpc',
            'grpc-status': String(code),
            'grpc-message': 'no %C3%A9',
          },
        );
      });
    }

    it('takes the very status that a fault asks for', () => {
      const reply = localReply({ status: 200, text: '', flags: ['FI'], grpcStatus: 9 }, 'grpc');
      assert.equal(reply.headers['grpc-status'], '9');
    });
  });

  describe('is sent', () => {
    let pairs: StreamPairs;
    let server: Http1Server;
    let exchanges: Exchanges;

    beforeEach(() => {
      pairs = new StreamPairs();
      exchanges = new Exchanges();
      server = new Http1Server(limits(), () => undefined);
    });
    afterEach(() => {
      server.close();
      pairs.close();
    });

    async function answer(method: string, reply: LocalReply): Promise<[bytes: number, seen: string]> {
      const { near, far } = await pairs.http2();
      server.accept(far, exchanges.handler);
      near.write(`${method} / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n`);
      const bytes = sendReply(await exchanges.next(), localReply(reply, 'http1'));
      return [bytes, await readAll(near)];
    }

    it('with its body', async () => {
      const [bytes, seen] = await answer('GET', DENIED);
      assert.equal(bytes, 17);
      assert.ok(seen.startsWith('HTTP/1.1 403 ') && seen.endsWith('\r\n\r\ndenied by policy\n'), seen);
    });

    it('without it to HEAD, but with its length', async () => {
      const [bytes, seen] = await answer('HEAD', DENIED);
      assert.equal(bytes, 0);
      assert.match(seen, /content-length: 17\r\n/);
      assert.ok(seen.endsWith('\r\n\r\n'), seen);
    });

    it('without anything after a 204', async () => {
      const [bytes, seen] = await answer('GET', { ...DENIED, status: 204 });
      assert.equal(bytes, 0);
      assert.ok(seen.startsWith('HTTP/1.1 204 ') && seen.endsWith('\r\n\r\n'), seen);
      assert.doesNotMatch(seen, /content-length/);
    });

    it('once only, and not to a client that left', async () => {
      const { near, far } = await pairs.http2();
      server.accept(far, exchanges.handler);
      near.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n');
      const exchange = await exchanges.next();
      const gone = new Promise<void>((resolve) => exchange.onAbort(resolve));
      near.destroy();
      await gone;
      assert.equal(sendReply(exchange, localReply(DENIED, 'http1')), 0);
      assert.equal(exchange.headSent, false);
    });
  });
});

describe('waypoint/http/failure-reply', () => {
  const replies: [outcome: Outcome, status: number, flags: string[]][] = [
    [{ kind: 'no-endpoint' }, 503, ['UH']],
    [{ kind: 'circuit-open' }, 503, ['UO']],
    [{ kind: 'connect-failure' }, 503, ['UF']],
    [{ kind: 'refused-stream' }, 503, ['UR']],
    [{ kind: 'reset' }, 503, ['UC']],
    [{ kind: 'protocol-error' }, 502, ['UPE']],
    [{ kind: 'try-timeout' }, 504, ['UT']],
    [{ kind: 'request-timeout', by: 'policy' }, 504, ['DT']],
    [{ kind: 'client-gone' }, 499, ['DC']],
  ];
  for (const [outcome, status, flags] of replies) {
    it(`answers ${outcome.kind} with ${status} and ${flags.join()}`, () => {
      const reply = failureReply(outcome);
      assert.deepEqual([reply.status, reply.flags], [status, flags]);
    });
  }
});
