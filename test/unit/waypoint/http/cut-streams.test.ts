import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2 from 'node:http2';
import net, { type AddressInfo } from 'node:net';
import { after, afterEach, before, describe, it } from 'mocha';
import { resetStream, sendReset } from '../../../../lib/mesh/hbone/stream-reset.ts';
import { Protocol } from '../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { OwnWaypoint } from '../support/own-waypoint.ts';
import { DATA, frame, headerBlock, HEADERS, PREFACE, RawHttp2, RST_STREAM } from '../support/raw-http2.ts';
import { eventually } from '../support/streams.ts';

const WAYS = ['hbone', 'direct'] as const;
const PART = 'the first part, ';

/** An endpoint of which a test decides each byte, and what came to it. */
class Endpoint {
  received = '';
  /** How the last connection ended: `end` in good order, else `error`. */
  ended: 'end' | 'error' | undefined;
  socket: net.Socket | undefined;
  readonly server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    this.received = '';
    this.ended = undefined;
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => (this.received += chunk.toString('latin1')));
    socket.on('end', () => (this.ended ??= 'end'));
    socket.on('error', () => (this.ended ??= 'error'));
  });

  async listen(ip: string): Promise<number> {
    this.server.listen(0, ip);
    await once(this.server, 'listening');
    return (this.server.address() as AddressInfo).port;
  }

  async heard(text: string | RegExp): Promise<net.Socket> {
    await eventually(() => this.received.search(text) >= 0);
    assert.ok(this.socket);
    return this.socket;
  }
}

describe('waypoint: what is cut looks cut', () => {
  let waypoint: OwnWaypoint;
  const endpoints = { hbone: new Endpoint(), direct: new Endpoint() };
  const h2Streams: http2.ServerHttp2Stream[] = [];
  const h2Servers: http2.Http2Server[] = [];
  let h2Socket: net.Socket | undefined;
  const open: { destroy(): void }[] = [];

  before(async () => {
    waypoint = await OwnWaypoint.start();
    for (const via of WAYS) {
      const ip = via === 'hbone' ? waypoint.podIp : '127.0.0.1';
      const targetPort = await endpoints[via].listen(ip);
      waypoint.serve({ name: `h1-${via}`, protocol: Protocol.HTTP1, targetPort, via });
      waypoint.serve({ name: `raw-${via}`, protocol: Protocol.TCP, targetPort, via });
      const server = http2.createServer();
      server.on('session', (session) => session.on('error', () => undefined));
      server.on('connection', (socket: net.Socket) => (h2Socket = socket));
      server.on('stream', (stream: http2.ServerHttp2Stream) => {
        stream.on('error', () => undefined);
        h2Streams.push(stream);
      });
      server.listen(0, ip);
      await once(server, 'listening');
      h2Servers.push(server);
      const { port } = server.address() as AddressInfo;
      waypoint.serve({ name: `h2-${via}`, protocol: Protocol.HTTP2, targetPort: port, via });
    }
  });
  afterEach(() => {
    h2Streams.length = 0;
    for (const each of open.splice(0)) each.destroy();
    for (const endpoint of Object.values(endpoints)) {
      endpoint.socket?.destroy();
      endpoint.received = '';
    }
  });
  after(async () => {
    await waypoint.close();
    for (const { server } of Object.values(endpoints)) server.close();
    for (const server of h2Servers) server.close();
  });

  async function connect(service: string) {
    const stream = await waypoint.connect(service);
    open.push(stream);
    return stream;
  }

  /** All that a client gets, and whether its end was a good one. */
  function reading(stream: http2.Http2Stream): { text: string; end: 'end' | 'cut' | undefined } {
    const seen: { text: string; end: 'end' | 'cut' | undefined } = { text: '', end: undefined };
    stream.on('data', (chunk: Buffer) => (seen.text += chunk.toString('latin1')));
    stream.on('close', () => (seen.end ??= stream.rstCode === 0 ? 'end' : 'cut'));
    stream.on('end', () => {
      if (!stream.destroyed) seen.end ??= 'end';
    });
    return seen;
  }

  for (const via of WAYS) {
    describe(via === 'hbone' ? 'through a tunnel' : 'without a tunnel', () => {
      it('a body that only the end of its connection ends', async () => {
        const client = await connect(`h1-${via}`);
        const seen = reading(client);
        client.write('GET / HTTP/1.1\r\nhost: web\r\n\r\n');
        const endpoint = await endpoints[via].heard('host: web');
        endpoint.write(`HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n${PART}`);
        await eventually(() => seen.text.includes(PART));
        endpoint.resetAndDestroy();
        await eventually(() => seen.end !== undefined);
        assert.equal(seen.end, 'cut');
        assert.doesNotMatch(seen.text, /\r\n0\r\n/, 'the last chunk must not come');
      });

      it('but not one that was ended in good order', async () => {
        const client = await connect(`h1-${via}`);
        const seen = reading(client);
        client.write('GET / HTTP/1.1\r\nhost: web\r\n\r\n');
        const endpoint = await endpoints[via].heard('host: web');
        endpoint.end(`HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n${PART}`);
        await eventually(
          () => seen.text.includes(PART) && /content-length: 16|\r\n0\r\n\r\n/i.test(seen.text),
        );
        assert.notEqual(seen.end, 'cut');
      });

      it('bytes that are not read', async () => {
        for (const who of ['endpoint', 'client'] as const) {
          const client = await connect(`raw-${via}`);
          const seen = reading(client);
          client.write('hello');
          const endpoint = await endpoints[via].heard('hello');
          endpoint.write(PART);
          await eventually(() => seen.text === PART);
          if (who === 'endpoint') {
            endpoint.resetAndDestroy();
            await eventually(() => seen.end !== undefined);
            assert.equal(seen.end, 'cut');
          } else {
            resetStream(client);
            await eventually(() => endpoints[via].ended !== undefined);
            assert.equal(endpoints[via].ended, 'error');
          }
        }
      });

      it('a response of HTTP/2 whose endpoint closes its half of the connection', async () => {
        const own = await waypoint.http2(`h2-${via}`);
        const stream = own.request({ ':path': '/' });
        stream.on('error', () => undefined);
        const seen = reading(stream);
        await eventually(() => h2Streams.length === 1);
        h2Streams[0]?.respond({ ':status': 200 });
        h2Streams[0]?.write(PART);
        await eventually(() => seen.text === PART);
        // The whole connection ends its half, in the middle of the response.
        h2Socket?.end();
        await eventually(() => seen.end !== undefined);
        assert.equal(seen.end, 'cut');
      });

      it('a request of HTTP/2 that its client resets', async () => {
        const own = await waypoint.http2(`h2-${via}`);
        const stream = own.request({ ':path': '/', ':method': 'POST' }, { endStream: false });
        stream.on('error', () => undefined);
        stream.write(PART);
        await eventually(() => h2Streams.length === 1);
        const [upload] = h2Streams;
        assert.ok(upload);
        let got = '';
        let whole = false;
        upload.on('data', (chunk: Buffer) => (got += chunk.toString()));
        upload.on('end', () => (whole ||= !upload.destroyed));
        await eventually(() => got === PART);
        sendReset(stream, http2.constants.NGHTTP2_CANCEL);
        await eventually(() => upload.destroyed);
        assert.equal(whole, false, 'half an upload was taken for a whole one');
      });
    });
  }

  it('a response that breaks, frame by frame', async () => {
    const stream = await connect('h2-hbone');
    const client = new RawHttp2(stream);
    const head = [
      [':method', 'GET'],
      [':scheme', 'http'],
      [':authority', 'web'],
      [':path', '/'],
    ] as const;
    client.send(Buffer.concat([PREFACE, frame(HEADERS, 0x5, 1, headerBlock(head))]));
    await eventually(() => h2Streams.length === 1);
    h2Streams[0]?.respond({ ':status': 200 });
    h2Streams[0]?.write(PART);
    await client.until(() => client.frames.find(({ type }) => type === DATA));
    const [broken] = h2Streams;
    assert.ok(broken);
    sendReset(broken, http2.constants.NGHTTP2_INTERNAL_ERROR);
    await client.until(() => client.frames.find(({ type }) => type === RST_STREAM));
    const ends = client.frames.filter(({ type, flags }) => type === DATA && (flags & 1) !== 0);
    assert.equal(ends.length, 0, 'END_STREAM came before the reset');
  });
});
