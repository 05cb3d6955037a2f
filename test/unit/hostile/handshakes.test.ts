import assert from 'node:assert/strict';
import http2 from 'node:http2';
import net from 'node:net';
import { after, before, describe, it } from 'mocha';
import { Protocol } from '../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { dialTls, OwnZtunnel } from '../../support/hostile/own-ztunnel.ts';
import { OwnWaypoint } from '../waypoint/support/own-waypoint.ts';
import { TestCa } from '../ztunnel/support/certificates.ts';
import { eventually } from '../ztunnel/support/streams.ts';

const SILENT = 2_000;

/** What peers do before they have said anything of HBONE, and what they may not ask then. */
interface Victim {
  readonly ca: TestCa;
  readonly port: number;
  readonly authority: string;
  readonly size: () => number;
  readonly close: () => unknown;
}

const VICTIMS: Readonly<Record<string, () => Promise<Victim>>> = {
  ztunnel: async () => {
    const ztunnel = await OwnZtunnel.start({ tunnelsPerPod: 500 });
    const { ca, port, authority } = ztunnel;
    return { ca, port, authority, size: () => ztunnel.server.size, close: () => ztunnel.close() };
  },
  waypoint: async () => {
    const waypoint = await OwnWaypoint.start({}, { maxTunnels: 500 });
    waypoint.serve({ name: 'web', protocol: Protocol.HTTP1, targetPort: 1 });
    const { ca, port } = waypoint;
    const authority = waypoint.addressOf('web');
    return { ca, port, authority, size: () => waypoint.tunnels, close: () => waypoint.close() };
  },
};

for (const [name, start] of Object.entries(VICTIMS)) {
  describe(`hostile peers at port 15008: ${name}`, () => {
    let victim: Victim;
    let status: (fields: http2.OutgoingHttpHeaders) => Promise<number | undefined>;
    let session: http2.ClientHttp2Session;

    before(async () => {
      victim = await start();
      const bundle = await victim.ca.issue('spiffe://cluster.local/ns/default/sa/client');
      session = http2.connect('https://victim', {
        createConnection: () => dialTls(victim.port, victim.ca, bundle),
      });
      session.on('error', () => undefined);
      status = async (fields) => {
        const stream = session.request(fields, { endStream: false });
        stream.on('error', () => undefined);
        const headers = await new Promise<{ ':status'?: number } | undefined>((resolve) => {
          stream.once('response', resolve);
          stream.once('close', () => resolve(undefined));
        });
        stream.close();
        return headers?.[':status'];
      };
      assert.equal(await status({ ':method': 'CONNECT', ':authority': victim.authority }), 200);
    });
    after(async () => {
      session.destroy();
      await victim.close();
    });

    // Undefined: nghttp2 resets some of them by itself.
    it('answers 400 to other methods, and to an authority that is none, or resets the stream', async () => {
      const heads: http2.OutgoingHttpHeaders[] = [
        ...['GET', 'OPTIONS', 'connect'].map((method) => ({
          ...{ ':method': method, ':path': '/', ':scheme': 'https' },
          ':authority': victim.authority,
        })),
        ...['', 'localhost', '127.0.0.1', '127.0.0.1:0', '127.0.0.1:65536', '127.0.0.1:+80', '127.1:80'].map(
          connectTo,
        ),
        ...['0x7f000001:80', '[::1', 'a@127.0.0.1:80', '127.0.0.1:80:80', '127.0.0.1:80 '].map(connectTo),
      ];
      for (const each of heads)
        assert.ok([400, undefined].includes(await status(each)), JSON.stringify(each));
      assert.equal(await status(connectTo(victim.authority)), 200, 'the tunnel lives on');
    });

    it('carries nothing to a foreign address, nor to a port of the mesh', async () => {
      for (const authority of ['198.51.100.1:80', '169.254.169.254:80', '127.0.0.9:22', '[::1]:22'])
        assert.notEqual(await status({ ':method': 'CONNECT', ':authority': authority }), 200, authority);
    });

    it('closes plaintext, TLS 1.2, no ALPN, another root and another trust domain, before HTTP/2', async () => {
      const stranger = await (await TestCa.create()).issue('spiffe://cluster.local/ns/default/sa/client');
      const foreign = await victim.ca.issue('spiffe://other.domain/ns/default/sa/client');
      const good = await victim.ca.issue('spiffe://cluster.local/ns/default/sa/other');
      const plain = net.connect(victim.port, '127.0.0.1');
      plain.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
      const all = [
        plain,
        dialTls(victim.port, victim.ca, good, { maxVersion: 'TLSv1.2' }),
        dialTls(victim.port, victim.ca, good, { ALPNProtocols: [] }),
        dialTls(victim.port, victim.ca, good, { ALPNProtocols: ['http/1.1'] }),
        dialTls(victim.port, victim.ca, undefined),
        dialTls(victim.port, victim.ca, stranger),
        dialTls(victim.port, victim.ca, foreign),
      ];
      for (const socket of all) {
        socket.on('error', () => undefined);
        socket.resume();
      }
      await eventually(() => all.every(({ destroyed }) => destroyed));
      await eventually(() => victim.size() === 1);
    });

    it(`serves others while ${SILENT} connections say nothing, or one byte of TLS`, async () => {
      const silent = Array.from({ length: SILENT }, (_, i) => {
        const socket = net.connect(victim.port, '127.0.0.1');
        socket.on('error', () => undefined);
        if (i % 2 === 0) socket.write(Buffer.of(0x16));
        socket.resume();
        return socket;
      });
      // Those that came first make room for those that come.
      await eventually(() => silent.filter(({ destroyed }) => destroyed).length >= SILENT - 500);
      assert.ok(victim.size() <= 500, String(victim.size()));
      assert.equal(
        await status({ ':method': 'CONNECT', ':authority': victim.authority }),
        200,
        'the tunnel before',
      );
      for (const socket of silent) socket.destroy();
      await eventually(() => victim.size() === 1);
    });
  });
}

function connectTo(authority: string): http2.OutgoingHttpHeaders {
  return { ':method': 'CONNECT', ':authority': authority };
}
