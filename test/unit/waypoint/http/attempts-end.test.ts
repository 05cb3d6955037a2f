import assert from 'node:assert/strict';
import http from 'node:http';
import http2 from 'node:http2';
import net from 'node:net';
import { after, before, describe, it } from 'mocha';
import { Protocol, RetryCondition } from '../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { closedPort } from '../../ztunnel/support/toy-waypoint.ts';
import { OwnWaypoint } from '../support/own-waypoint.ts';
import { eventually } from '../support/streams.ts';

/** What an endpoint may do with a request, by its path. */
const BEHAVIOURS = ['ok', 'large', 'early', 'unavailable', 'reset', 'break', 'slow'] as const;
/** What the client may do meanwhile. */
const CLIENTS = ['reads', 'goes early', 'goes at the head', 'goes while it sends'] as const;
const PER_TRY_MS = 60;

interface Circuit {
  readonly requests: number;
  readonly pending: number;
  readonly connections: number;
}

/** An application that speaks both versions of HTTP on one port. */
function application(): net.Server {
  const serve = (
    request: http.IncomingMessage | http2.Http2ServerRequest,
    response: http.ServerResponse | http2.Http2ServerResponse,
  ): void => {
    request.on('error', () => undefined);
    response.on('error', () => undefined);
    const cut = (): void => {
      if ('stream' in response) response.stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR);
      else request.socket.destroy();
    };
    const path = request.url ?? '';
    if (path === '/early') response.end('early');
    else request.resume();
    if (path === '/reset') cut();
    request.on('end', () => {
      switch (path) {
        case '/ok':
          response.end('ok');
          return;
        case '/large':
          response.end(Buffer.alloc(300_000));
          return;
        case '/unavailable':
          response.statusCode = 503;
          response.end('unavailable');
          return;
        case '/break':
          response.setHeader('content-length', 1_000_000);
          (response as http.ServerResponse).write('a part');
          setImmediate(cut);
          return;
        case '/slow':
          setTimeout(() => response.end('slow'), 4 * PER_TRY_MS);
      }
    });
  };
  const http1 = http.createServer(serve);
  const h2 = http2.createServer(serve);
  h2.on('sessionError', () => undefined);
  return net.createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('readable', () => {
      const first = socket.read() as Buffer | null;
      if (first === null) {
        socket.destroy();
        return;
      }
      socket.unshift(first);
      (first.subarray(0, 3).toString() === 'PRI' ? h2 : http1).emit('connection', socket);
    });
  });
}

describe('waypoint: every attempt ends', function () {
  this.timeout(60_000);
  const servers: net.Server[] = [];
  const sockets = new Set<net.Socket>();
  let waypoint: OwnWaypoint;

  before(async () => {
    waypoint = await OwnWaypoint.start();
    const port = await closedPort();
    for (const host of [waypoint.podIp, '127.0.0.1']) {
      const server = application();
      server.on('connection', (socket: net.Socket) => {
        sockets.add(socket);
        socket.on('close', () => sockets.delete(socket));
      });
      servers.push(server);
      await new Promise<void>((resolve) => server.listen(port, host, () => resolve()));
    }
    // Told and not found out: a slow machine would else have some connections pass as opaque ones.
    for (const via of ['hbone', 'direct'] as const)
      for (const [version, protocol] of [
        ['1', Protocol.HTTP1],
        ['2', Protocol.HTTP2],
      ] as const)
        waypoint.serve({
          name: `${via}-${version}`,
          protocol,
          targetPort: port,
          via,
          trafficPolicy: 'default/policy',
        });
    waypoint.configure({
      'traffic/default/policy': {
        case: 'trafficPolicy',
        value: {
          namespace: 'default',
          name: 'policy',
          retries: {
            on: [RetryCondition.CONNECT_FAILURE, RetryCondition.RESET, RetryCondition.GATEWAY_ERROR],
            attempts: 2,
            perTryTimeout: PER_TRY_MS,
            backoffBase: 1,
            backoffMax: 5,
            maxBufferedBytes: 65_536,
          },
          circuitBreaker: { maxConnections: 4 },
        },
      },
    });
  });
  after(async () => {
    await waypoint.close();
    for (const socket of sockets) socket.destroy();
    for (const server of servers) server.close();
  });

  function circuits(): Circuit[] {
    return (waypoint.worker.answer('upstreams') as { circuit: Circuit }[]).map(({ circuit }) => circuit);
  }

  async function byHttp1(service: string, path: string, client: string, hasBody: boolean): Promise<void> {
    const request = http.request({
      port: await waypoint.front(service),
      host: '127.0.0.1',
      path,
      method: hasBody ? 'PUT' : 'GET',
      agent: false,
    });
    const ended = new Promise<void>((resolve) => request.once('close', () => resolve()));
    request.on('error', () => undefined);
    request.on('response', (response) => {
      response.on('error', () => undefined);
      if (client === 'goes at the head') request.destroy();
      else response.resume();
    });
    if (hasBody) request.write('first');
    if (client === 'goes early') setTimeout(() => request.destroy(), 5);
    if (client === 'goes while it sends') setTimeout(() => request.destroy(), 30);
    else request.end();
    await ended;
  }

  async function byHttp2(service: string, path: string, client: string, hasBody: boolean): Promise<void> {
    const session = await waypoint.http2(service);
    const stream = session.request(
      { ':path': path, ':method': hasBody ? 'PUT' : 'GET' },
      { endStream: !hasBody },
    );
    const ended = new Promise<void>((resolve) => stream.once('close', () => resolve()));
    stream.on('error', () => undefined);
    stream.on('response', () => {
      if (client === 'goes at the head') setImmediate(() => stream.close(http2.constants.NGHTTP2_CANCEL));
      else stream.resume();
    });
    if (hasBody) stream.write('first');
    if (client === 'goes early') setTimeout(() => session.destroy(), 5);
    if (client === 'goes while it sends') setTimeout(() => stream.close(http2.constants.NGHTTP2_CANCEL), 30);
    else if (hasBody) stream.end();
    await ended;
    session.destroy();
  }

  for (const via of ['hbone', 'direct'])
    for (const [version, send] of [
      ['1', byHttp1],
      ['2', byHttp2],
    ] as const)
      it(`HTTP/${version} by ${via}: whatever endpoint and client do, nothing stays in flight`, async () => {
        const service = `${via}-${version}`;
        const all = BEHAVIOURS.flatMap((behaviour) =>
          CLIENTS.flatMap((client) =>
            [true, false].map((hasBody) => send(service, `/${behaviour}`, client, hasBody)),
          ),
        );
        await Promise.all(all);
        await eventually(
          () =>
            waypoint.worker.status().requests === 0 &&
            circuits().every(({ requests, pending }) => requests === 0 && pending === 0),
        );
        // And it still serves: no place was lost.
        for (let i = 0; i < 10; i += 1) await send(service, '/ok', 'reads', i % 2 === 0);
        assert.ok(circuits().every(({ connections }) => connections <= 4));
      });

  it('its connections go with their endpoints', async () => {
    const before = waypoint.worker.answer('upstreams') as { circuit: Circuit }[];
    assert.ok(before.some(({ circuit }) => circuit.connections > 0));
    const services = ['hbone-1', 'hbone-2', 'direct-1', 'direct-2'];
    const removed = services.map((name) => `Kubernetes//Pod/default/${name}-1`);
    waypoint.worker.applyAddresses({ upserts: [], removed });
    // What left is looked at with the next request.
    for (const service of services)
      await (service.endsWith('2') ? byHttp2 : byHttp1)(service, '/ok', 'reads', false);
    await eventually(() => circuits().every(({ connections }) => connections === 0));
  });
});
