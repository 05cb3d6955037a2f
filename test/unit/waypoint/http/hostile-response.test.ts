import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { after, before, describe, it } from 'mocha';
import { Protocol } from '../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { OwnWaypoint } from '../support/own-waypoint.ts';
import { RawClient } from '../support/raw-client.ts';
import { RecordingBackend } from '../support/recording-backend.ts';

const EVIL = 'HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil';
const ok = (headers: string, body = ''): string => `HTTP/1.1 200 OK\r\n${headers}\r\n\r\n${body}`;

/** What an endpoint sends, and the status that its client gets. Another client never gets anything of it. */
const REFUSED: Readonly<Record<string, { readonly send: string; readonly status: number }>> = {
  'length and coding': {
    send: ok('content-length: 5\r\ntransfer-encoding: chunked', `0\r\n\r\n${EVIL}`),
    status: 502,
  },
  'two lengths that differ': { send: ok('content-length: 0\r\ncontent-length: 42', EVIL), status: 502 },
  'lengths in one line': { send: ok('content-length: 0, 42', EVIL), status: 502 },
  'negative length': { send: ok('content-length: -1', EVIL), status: 502 },
  'bare line feeds': { send: 'HTTP/1.1 200 OK\ncontent-length: 0\n\n', status: 502 },
  'folded header': { send: ok('x-a: 1\r\n 2\r\ncontent-length: 0'), status: 502 },
  'space before a colon': { send: ok('content-length : 0'), status: 502 },
  'null in a header': { send: ok('x-a: \0\r\ncontent-length: 0'), status: 502 },
  'carriage return in a header': { send: ok('x-a: 1\rx-b: 2\r\ncontent-length: 0'), status: 502 },
  'no status': { send: 'HTTP/1.1\r\n\r\n', status: 502 },
  'no HTTP': { send: 'SSH-2.0-OpenSSH_9.6\r\n', status: 502 },
  'version 2.0': { send: 'HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n', status: 502 },
  'more header bytes than are taken': {
    send: ok(`x-a: ${'a'.repeat(70_000)}\r\ncontent-length: 0`),
    status: 502,
  },
  '101 that nobody asked for': {
    send: `HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n${EVIL}`,
    status: 502,
  },
};

describe('waypoint: answers of hostile endpoints, HTTP/1.1', () => {
  let waypoint: OwnWaypoint;
  let backend: RecordingBackend;

  before(async () => {
    waypoint = await OwnWaypoint.start();
    backend = await RecordingBackend.start(waypoint.podIp);
    waypoint.serve({ name: 'web', protocol: Protocol.HTTP1, targetPort: backend.port });
    waypoint.serve({
      name: 'outside',
      protocol: Protocol.HTTP1,
      targetPort: (outside = await RecordingBackend.start('127.0.0.1')).port,
      via: 'direct',
    });
  });
  let outside: RecordingBackend;
  after(async () => {
    await waypoint.close();
    backend.close();
    outside.close();
  });

  for (const [name, { send, status }] of Object.entries(REFUSED)) {
    it(`refuses ${name}`, async () => {
      backend.answer = () => send;
      assert.equal(await get('web'), status);
      backend.answer = () => ok('content-length: 2', 'ok');
      assert.equal(await get('web'), 200);
    });
  }

  for (const service of ['web', 'outside']) {
    it(`gives nobody a second answer that nobody asked for (${service})`, async () => {
      const endpoint = service === 'web' ? backend : outside;
      endpoint.answer = () => `${ok('content-length: 2', 'ok')}${EVIL}`;
      const bodies: (string | undefined)[] = [];
      for (let i = 0; i < 20; i += 1) {
        const client = new RawClient(await waypoint.connect(service));
        client.send('GET /x HTTP/1.1\r\nHost: web\r\n\r\n');
        bodies.push((await client.answer())?.message.body);
        client.close();
      }
      assert.deepEqual(new Set(bodies), new Set(['ok']));
    });

    it(`gives nobody what came on an idle connection (${service})`, async () => {
      const endpoint = service === 'web' ? backend : outside;
      let idle: Socket | undefined;
      endpoint.answer = (_seen, socket) => {
        idle = socket;
        return ok('content-length: 2', 'ok');
      };
      assert.equal(await bodyOf(service), 'ok');
      const closed = once(idle ?? assert.fail(), 'close');
      idle?.write(EVIL);
      // The waypoint ends the connection, since what came was asked for by nobody.
      await closed;
      endpoint.answer = () => ok('content-length: 4', 'good');
      assert.equal(await bodyOf(service), 'good');
    });
  }

  it('hands on no more interim responses than the client understands, and then the final one', async () => {
    backend.answer = () =>
      `${'HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n'.repeat(5)}HTTP/1.1 102 Processing\r\n\r\n${ok('content-length: 2', 'ok')}`;
    const client = new RawClient(await waypoint.connect('web'));
    client.send('GET /x HTTP/1.1\r\nHost: web\r\n\r\n');
    for (;;) {
      const answer = await client.answer();
      assert.ok(answer);
      if (answer.status < 200) continue;
      assert.equal(answer.message.body, 'ok');
      break;
    }
    client.close();
  });

  it('ends an endless row of interim responses', async () => {
    const interim = 'HTTP/1.1 102 Processing\r\n\r\n'.repeat(100);
    backend.answer = (_seen, socket) => {
      const more = (): void => {
        if (socket.destroyed) return;
        if (socket.write(interim)) setImmediate(more);
        else socket.once('drain', more);
      };
      more();
      return undefined;
    };
    const client = new RawClient(await waypoint.connect('web'));
    client.send('GET /x HTTP/1.1\r\nHost: web\r\n\r\n');
    let last: number | undefined;
    for (;;) {
      const answer = await client.answer();
      if (answer === undefined) break;
      last = answer.status;
      if (last >= 200) break;
    }
    assert.equal(last, 502);
    client.close();
  });

  it('takes hop-by-hop headers and what connection lists out of answers, and keeps the length', async () => {
    backend.answer = () =>
      ok(
        'Connection: close, x-hop, content-length\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nUpgrade: h2c\r\nContent-Length: 2',
        'ok',
      );
    const client = new RawClient(await waypoint.connect('web'));
    client.send('GET /x HTTP/1.1\r\nHost: web\r\n\r\n');
    const answer = await client.answer();
    assert.equal(answer?.message.body, 'ok');
    const names = answer.message.headers.map((line) => line.split(':', 1)[0]?.toLowerCase());
    for (const name of ['x-hop', 'proxy-authenticate', 'upgrade']) assert.ok(!names.includes(name), name);
    client.close();
  });

  it('breaks off an answer that breaks off, so that it looks complete to nobody', async () => {
    backend.answer = (_seen, socket) => {
      setImmediate(() => socket.destroy());
      return ok('content-length: 10', 'abc');
    };
    const client = new RawClient(await waypoint.connect('web'));
    client.send('GET /x HTTP/1.1\r\nHost: web\r\n\r\n');
    assert.equal(await client.answer(), undefined);
    client.close();
  });

  async function get(service: string): Promise<number | undefined> {
    const client = new RawClient(await waypoint.connect(service));
    client.send('GET /x HTTP/1.1\r\nHost: web\r\n\r\n');
    const answer = await client.answer();
    assert.ok(answer?.message.body !== 'evil');
    client.close();
    return answer?.status;
  }

  async function bodyOf(service: string): Promise<string | undefined> {
    const client = new RawClient(await waypoint.connect(service));
    client.send('GET /x HTTP/1.1\r\nHost: web\r\n\r\n');
    const answer = await client.answer();
    client.close();
    return answer?.message.body;
  }
});
