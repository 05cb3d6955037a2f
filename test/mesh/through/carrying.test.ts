import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'mocha';
import { Driver } from '../driver.ts';
import { throughMesh, WEB_PORTS } from './mesh.ts';

const {
  http: HTTP,
  declared: DECLARED,
  h2: H2,
  grpc: GRPC,
  h2Found: H2_FOUND,
  banner: BANNER,
  bannerDeclared: BANNER_DECLARED,
  halfClose: HALF_CLOSE,
  tls: TLS,
} = WEB_PORTS;
const BIG = 64 * 1024 * 1024;
const HUGE = 192 * 1024 * 1024;
const sha256 = (text: string | Buffer): string => createHash('sha256').update(text).digest('hex');

describe('mesh: what a waypoint carries', function () {
  this.timeout(240_000);
  const mesh = throughMesh.use();
  let client: Driver;
  before(async () => {
    client = await Driver.in(mesh(), 'client');
  });
  after(() => client?.stop());

  const host = 'web';
  const peak = async (): Promise<number> => {
    const { pid } = await mesh().program('waypoint', undefined, 'm/way-0');
    return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024;
  };

  for (const [what, port, proto, version] of [
    ['HTTP/1.1 by its first bytes', HTTP, 'h1', '1.1'],
    ['HTTP/1.1 by appProtocol', DECLARED, 'h1', '1.1'],
    ['HTTP/2 with prior knowledge, by its first bytes', H2_FOUND, 'h2', '2.0'],
    ['HTTP/2 with prior knowledge by appProtocol', H2, 'h2', '2.0'],
  ] as const) {
    describe(what, () => {
      it('carries a request and tells who the client is, whatever the client says', async () => {
        const { ip } = await mesh().pod('client');
        const told = await client.told({
          ...{ host, port, proto, path: '/a/b?c=d' },
          headers: {
            'x-forwarded-for': '1.2.3.4, 5.6.7.8',
            'x-forwarded-client-cert': 'By=nobody;URI=spiffe://cluster.local/ns/m/sa/admin',
            forwarded: 'for=1.2.3.4',
            'x-mine': 'yes',
          },
        });
        assert.equal(told.url, '/a/b?c=d');
        assert.equal(told.version, version);
        assert.equal(told.headers['x-mine'], 'yes');
        assert.equal(told.headers['x-forwarded-for'], ip);
        assert.equal(
          told.headers['x-forwarded-client-cert'],
          'By=spiffe://cluster.local/ns/m/sa/way;URI=spiffe://cluster.local/ns/m/sa/client',
        );
        assert.equal(told.headers['forwarded'], undefined);
        assert.match(told.headers['x-request-id'] ?? '', /^[0-9a-f-]{36}$/);
      });

      it('carries a body with a length, and one without', async () => {
        for (const size of [0, 1, 100_000]) {
          const told = await client.told({ host, port, proto, method: 'PUT', size });
          assert.equal(told.bytes, size);
          assert.equal(told.sha256, sha256('u'.repeat(size)));
        }
        const told = await client.told({ host, port, proto, method: 'POST', size: 100_000, chunked: true });
        assert.equal(told.bytes, 100_000);
        const text = await client.request({
          host,
          port,
          proto,
          method: 'POST',
          path: '/pipe',
          body: 'a text',
        });
        assert.equal(text.text, 'a text');
      });

      it('carries trailers both ways', async () => {
        const answer = await client.request({
          ...{ host, port, proto, method: 'POST', path: '/trailers', body: 'x' },
          trailers: { 'x-client-sum': 'of the request' },
        });
        assert.equal(answer.error, undefined);
        assert.equal(answer.text, 'body with of the request');
        assert.equal(answer.trailers['x-sum'], 'of the response');
      });

      it('has the endpoint say whether to continue', async () => {
        const answer = await client.request({
          ...{ host, port, proto, method: 'POST', path: '/pipe', size: 10, expect: true },
        });
        assert.deepEqual(answer.informational, [100]);
        assert.equal(answer.text, 'u'.repeat(10));
      });

      it('answers HEAD, 204 and 304 without a body', async () => {
        const head = await client.request({ host, port, proto, method: 'HEAD', path: '/pipe' });
        assert.equal(head.status, 200);
        assert.equal(head.bytes, 0);
        for (const code of [204, 304]) {
          const answer = await client.request({ host, port, proto, path: `/status?code=${code}` });
          assert.deepEqual([answer.status, answer.bytes, answer.error], [code, 0, undefined]);
        }
        assert.equal(
          (await client.told({ host, port, proto })).method,
          'GET',
          'the connection is still good',
        );
      });
    });
  }

  for (const [port, proto] of [
    [HTTP, 'h1'],
    [H2, 'h2'],
  ] as const) {
    it(`carries 192 MB by ${proto} both ways at once, without holding them`, async () => {
      const before = await peak();
      const answer = await client.request({
        ...{
          host,
          port,
          proto,
          method: 'POST',
          path: '/pipe',
          size: HUGE,
          chunked: true,
          timeoutMs: 150_000,
        },
      });
      assert.equal(answer.error, undefined);
      assert.equal(answer.bytes, HUGE);
      assert.equal(answer.sha256, sha256(Buffer.alloc(HUGE, 'u')));
      const grown = (await peak()) - before;
      // Windows of all hops, and garbage not yet collected, are some tens of MB; one direction held would be all of it.
      assert.ok(grown < HUGE, `the waypoint grew by ${grown} bytes`);
    });
  }

  it('stops the endpoint when the client does not read', async () => {
    const { stalledAt, bytes } = await client.stalled({ host, port: HTTP, bytes: BIG, id: 'slow' });
    assert.ok(stalledAt < BIG, `the endpoint could send ${stalledAt} bytes that nobody read`);
    assert.equal(bytes, BIG);
  });

  it('tells when an endpoint does not speak what the client speaks', async () => {
    const answer = await client.request({ host, port: HTTP, proto: 'h2', path: '/', fresh: true });
    assert.equal(answer.status, 503);
    assert.equal((await client.told({ host, port: HTTP })).pod, 'v1', 'the endpoint is still served');
  });

  it('gives the first event of a stream before there is a second one', async () => {
    const { chunks, type } = await client.events(host, HTTP, 'e1');
    assert.deepEqual(chunks, ['data: first\n\n', 'data: second\n\n']);
    assert.equal(type, 'text/event-stream');
  });

  it('gives an early answer while the client still sends', async () => {
    assert.deepEqual(await client.early(host, HTTP), { status: 413, text: 'enough' });
    assert.deepEqual(await client.early(host, DECLARED), { status: 413, text: 'enough' });
  });

  it('switches protocols, with what is said first on either side, and ends halves', async () => {
    const { received, end } = await client.conversation(host, HTTP, [
      {
        say: 'GET /ws HTTP/1.1\r\nhost: web\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: abc\r\n\r\nEARLY ',
        until: 'WELCOME EARLY ',
      },
      { say: 'more', until: 'more' },
      { say: 'last', end: true, until: 'close' },
    ]);
    assert.equal(end, 'done', received);
    assert.match(received, /^HTTP\/1\.1 101 Switching Protocols\r\n/);
    assert.match(received, /\r\nx-said: hello\r\n/i);
    assert.match(received, /\r\nupgrade: websocket\r\n/i);
    assert.match(received, /\r\nconnection: upgrade\r\n/i);
    assert.match(received, /\r\n\r\nWELCOME EARLY morelast$/);
  });

  it('tells a refused upgrade', async () => {
    const { received } = await client.conversation(host, HTTP, [
      {
        say: 'GET /ws HTTP/1.1\r\nhost: web\r\nconnection: upgrade\r\nupgrade: no\r\n\r\n',
        until: 'close',
      },
    ]);
    assert.match(received, /^HTTP\/1\.1 403 /);
    assert.match(received, /\r\n\r\nno$/);
  });

  it('serves requests that were sent without waiting, in their order', async () => {
    const get = (n: number): string => `GET /${n} HTTP/1.1\r\nhost: web\r\n\r\n`;
    const { received, end } = await client.conversation(host, HTTP, [
      { say: get(1) + get(2) + get(3), until: '"url":"/3"' },
    ]);
    assert.equal(end, 'done', received);
    assert.deepEqual(
      [...received.matchAll(/"url":"\/(\d)"/g)].map(([, n]) => n),
      ['1', '2', '3'],
    );
  });

  it('serves HTTP/1.0', async () => {
    const { received, end } = await client.conversation(host, DECLARED, [
      { say: 'GET /old HTTP/1.0\r\nhost: web\r\n\r\n', until: 'close' },
    ]);
    assert.equal(end, 'done', received);
    assert.match(received, /"url":"\/old"/);
    assert.doesNotMatch(received, /transfer-encoding/i);
  });

  describe('gRPC', () => {
    const port = GRPC;
    it('unary, with metadata and trailers', async () => {
      const answer = await client.grpc({ host, port, kind: 'unary', messages: ['a'] });
      assert.deepEqual([answer.code, answer.received], [0, ['unary a']], answer.details);
      assert.equal(answer.header['x-pod'], 'v1');
      assert.match(answer.header['x-saw'] ?? '', /sa\/client$/);
      assert.equal(answer.trailer['x-sum'], 'v1');
    });
    it('a stream of questions', async () => {
      const answer = await client.grpc({ host, port, kind: 'client', messages: ['a', 'b', 'c'] });
      assert.deepEqual([answer.code, answer.received], [0, ['client a+b+c']], answer.details);
    });
    it('a stream of answers', async () => {
      const answer = await client.grpc({ host, port, kind: 'server', messages: ['a,b,c'] });
      assert.deepEqual(
        [answer.code, answer.received],
        [0, ['server a', 'server b', 'server c']],
        answer.details,
      );
      assert.equal(answer.trailer['x-sum'], 'v1');
    });
    it('streams both ways, question for question', async () => {
      const answer = await client.grpc({ host, port, kind: 'both', messages: ['a', 'b'] });
      assert.deepEqual([answer.code, answer.received], [0, ['both a', 'both b']], answer.details);
    });
    it('a failure, as the endpoint told it', async () => {
      const answer = await client.grpc({ host, port, kind: 'fail', messages: ['9'] });
      assert.deepEqual([answer.code, answer.details], [9, 'no: v1']);
    });
    it('a large message, and many calls on one connection', async () => {
      const large = 'x'.repeat(1024 * 1024);
      const [first, ...rest] = await Promise.all([
        client.grpc({ host, port, kind: 'unary', messages: [large] }),
        ...['a', 'b', 'c', 'd'].map((text) =>
          client.grpc({ host, port, kind: 'both', messages: [text, text] }),
        ),
      ]);
      assert.equal(first?.received[0], `unary ${large}`);
      assert.deepEqual(
        rest.map(({ code }) => code),
        [0, 0, 0, 0],
      );
    });
  });

  describe('connections that pass unread', () => {
    for (const [what, port] of [
      ['a port that says nothing', BANNER],
      ['appProtocol tcp', BANNER_DECLARED],
    ] as const) {
      it(`a server that speaks first, at ${what}: it sees the client itself`, async () => {
        const { ip } = await mesh().pod('client');
        const { received, end } = await client.conversation(host, port, [
          { until: 'HELLO .*\\n' },
          { say: 'ping', until: 'ping' },
        ]);
        assert.equal(end, 'done', received);
        assert.equal(received, `HELLO ${ip} from v1\nping`);
      });
    }
    it('keep a half-close', async () => {
      const { ip } = await mesh().pod('client');
      const { received, end, sha256: sum } = await client.tcp(host, HALF_CLOSE, 3_000_000);
      assert.equal(end, 'closed');
      assert.equal(received, `3000000 ${sum} ${ip}\n`);
    });
    it("carry the applications' own TLS", async () => {
      const { ip } = await mesh().pod('client');
      assert.deepEqual(await client.tls(host, TLS), { received: `TLS ${ip}`, end: 'closed' });
    });
  });
});
