import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import http2 from 'node:http2';
import net, { type AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, describe, it } from 'mocha';
import {
  AuthorizationPolicy_Action as Action,
  Protocol,
} from '../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { OwnWaypoint } from '../support/own-waypoint.ts';

const GET = 'GET /late HTTP/1.1\r\nhost: late\r\nconnection: close\r\n\r\n';
/** Of the first bytes, shortened so that a test need not wait for it. */
const DETECT_MS = 20;
const LATE_MS = 5 * DETECT_MS;

describe('waypoint: a client that begins late, at a port whose protocol is not declared', () => {
  let waypoint: OwnWaypoint;
  let web: http.Server;
  let h2: http2.Http2Server;
  let framer: net.Server;
  let greeter: net.Server;
  let echo: net.Server;
  let breaker: net.Server;
  let outside: net.Server;
  let connections = 0;
  let echoing = 0;

  const listen = async (server: net.Server): Promise<number> => {
    server.listen(0, waypoint.podIp);
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  };

  before(async () => {
    waypoint = await OwnWaypoint.start({ detectTimeoutMs: DETECT_MS });
    web = http.createServer((request, response) => {
      response.end(`id ${request.headers['x-request-id'] === undefined ? 'none' : 'given'}`);
    });
    h2 = http2.createServer((request, response) => {
      response.end(`id ${request.headers['x-request-id'] === undefined ? 'none' : 'given'}`);
    });
    greeter = net.createServer((socket) => {
      connections += 1;
      socket.on('error', () => undefined);
      socket.write('220 ready\r\n');
      socket.on('data', (chunk) => socket.write(`you said ${chunk.toString()}`));
      socket.on('end', () => socket.end());
    });
    // Its first byte could be HTTP/2's, its second could not.
    framer = net.createServer((socket) => {
      socket.on('error', () => undefined);
      socket.write('\0');
      setTimeout(() => socket.end('greets'), DETECT_MS);
    });
    echo = net.createServer({ allowHalfOpen: true }, (socket) => {
      echoing += 1;
      socket.once('close', () => (echoing -= 1));
      socket.on('error', () => undefined);
      socket.pipe(socket);
    });
    // Only after the silence was noticed, so while it is waited for who speaks first.
    const breaks = (socket: net.Socket): void => {
      socket.on('error', () => undefined);
      setTimeout(() => socket.resetAndDestroy(), LATE_MS);
    };
    breaker = net.createServer(breaks);
    outside = net.createServer(breaks);
    outside.listen(0, '127.0.0.1');
    await once(outside, 'listening');
    const targetPort = (outside.address() as AddressInfo).port;
    waypoint.serve({ name: 'outside-breaker', protocol: Protocol.DETECT, targetPort, via: 'direct' });
    const ports = {
      breaker: await listen(breaker),
      web: await listen(web),
      h2: await listen(h2),
      framer: await listen(framer),
      greeter: await listen(greeter),
      echo: await listen(echo),
    };
    for (const [name, targetPort] of Object.entries(ports)) {
      waypoint.serve({ name, protocol: Protocol.DETECT, targetPort });
    }
  });
  after(async () => {
    await waypoint.close();
    for (const server of [web, h2, framer, greeter, echo, breaker, outside]) server.close();
  });

  it('is read as HTTP, so that everything for requests acts on it', async () => {
    const stream = await waypoint.connect('web');
    await sleep(LATE_MS);
    stream.write(GET);
    const answer = await text(stream);
    assert.match(answer, /^HTTP\/1\.1 200 /);
    assert.match(answer, /id given/);
  });

  it('is read as HTTP although its first bytes came in pieces, the first of them in time', async () => {
    const stream = await waypoint.connect('web');
    stream.write(GET.slice(0, 2));
    await sleep(LATE_MS);
    stream.write(GET.slice(2, 3));
    await sleep(LATE_MS);
    stream.write(GET.slice(3));
    assert.match(await text(stream), /^HTTP\/1\.1 200 [^]*id given/);
  });

  it('gets what the server says first, unread, and may say anything then', async () => {
    const before = connections;
    const stream = await waypoint.connect('greeter');
    const [greeting] = (await once(stream, 'data')) as [Buffer];
    assert.equal(greeting.toString(), '220 ready\r\n');
    stream.write(GET);
    const [answer] = (await once(stream, 'data')) as [Buffer];
    assert.equal(answer.toString(), `you said ${GET}`);
    stream.end();
    stream.resume();
    await once(stream, 'close');
    assert.equal(connections, before + 1, 'one connection, made once');
  });

  it('is read as HTTP/2 although the server has sent its settings meanwhile', async () => {
    const tunnel = await waypoint.connect('h2');
    await sleep(LATE_MS);
    const session = http2.connect('http://late', { createConnection: () => tunnel });
    const request = session.request({ ':path': '/late' });
    assert.equal(await text(request), 'id given');
    session.close();
  });

  it('speaks with an HTTP/2 server as it likes when that is not HTTP', async () => {
    const tunnel = await waypoint.connect('h2');
    await sleep(LATE_MS);
    tunnel.write('\x16\x03 not HTTP');
    const [settings] = (await once(tunnel, 'data')) as [Buffer];
    assert.equal(settings[3], 4, 'what the server had said came first');
    tunnel.close(8);
  });

  it('gets what a server says whose first byte alone could be HTTP/2', async () => {
    const stream = await waypoint.connect('framer');
    assert.equal(await text(stream), '\0greets');
  });

  it('passes whole when it speaks something else', async () => {
    const stream = await waypoint.connect('echo');
    await sleep(LATE_MS);
    stream.end('\x16\x03 not HTTP');
    assert.equal(await text(stream), '\x16\x03 not HTTP');
  });

  it('passes the end of a client that never said a word', async () => {
    const stream = await waypoint.connect('echo');
    await sleep(LATE_MS);
    stream.end();
    assert.equal(await text(stream), '');
    assert.equal(stream.rstCode, 0);
  });

  for (const name of ['breaker', 'outside-breaker']) {
    it(`learns it when the server breaks the connection meanwhile, and nobody else is hurt (${name})`, async () => {
      const stream = await waypoint.connect(name);
      stream.on('error', () => undefined);
      stream.resume();
      await new Promise((resolve) => stream.once('close', resolve));
      assert.notEqual(stream.rstCode, 0);
      const other = await waypoint.connect('web');
      other.write(GET);
      assert.match(await text(other), /^HTTP\/1\.1 200 /);
    });
  }

  it('may leave by a reset while it is waited for', async () => {
    const stream = await waypoint.connect('echo');
    stream.on('error', () => undefined);
    await sleep(LATE_MS);
    stream.close(8);
    await new Promise((resolve) => stream.once('close', resolve));
    while (echoing > 0) await sleep(5);
    const other = await waypoint.connect('web');
    other.write(GET);
    assert.match(await text(other), /^HTTP\/1\.1 200 /);
  });

  describe('where a policy speaks of requests', () => {
    const KEY = 'default/web.default.svc.cluster.local';
    before(() => {
      waypoint.configure({
        'authorization/default/get': {
          case: 'authorization',
          value: {
            namespace: 'default',
            name: 'get',
            action: Action.ALLOW,
            rules: [{ to: [{ paths: ['/late'] }] }],
          },
        },
        [`service/${KEY}`]: {
          case: 'service',
          value: {
            key: KEY,
            name: 'web',
            namespace: 'default',
            served: true,
            ports: [{ port: 80, protocol: Protocol.DETECT }],
            authorization: ['default/get'],
          },
        },
      });
    });

    it('is judged by its request, not by having been silent', async () => {
      for (const [path, status] of [
        ['/late', 200],
        ['/other', 403],
      ] as const) {
        const stream = await waypoint.connect('web');
        await sleep(LATE_MS);
        stream.write(GET.replace('/late', path));
        assert.match(await text(stream), new RegExp(`^HTTP/1\\.1 ${status} `));
      }
    });

    it('is refused when it then speaks something else', async () => {
      const stream = await waypoint.connect('web');
      stream.on('error', () => undefined);
      stream.resume();
      await sleep(LATE_MS);
      stream.write('\x16\x03 not HTTP');
      await new Promise((resolve) => stream.once('close', resolve));
      assert.notEqual(stream.rstCode, 0);
    });
  });
});
