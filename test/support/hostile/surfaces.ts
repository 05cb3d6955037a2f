import { once } from 'node:events';
import http2 from 'node:http2';
import net, { type AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import type tls from 'node:tls';
import type { CertificateBundle } from '../../../lib/mesh/identity/certificate-bundle.ts';
import { Protocol } from '../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { OwnWaypoint } from '../../unit/waypoint/support/own-waypoint.ts';
import { RecordingBackend } from '../../unit/waypoint/support/recording-backend.ts';
import { EchoStream } from './echo-stream.ts';
import { connectFields, GET_FIELDS, type Fields } from './floods.ts';
import { dialTls, type DialOptions, OwnZtunnel } from './own-ztunnel.ts';

/** Hostile peers come from an address of their own, as pods do. */
const ATTACKER_IP = '127.0.0.2';

/** A place where Loam speaks HTTP/2 with a peer. */
export interface Surface {
  /** What an ordinary client asks there. */
  readonly fields: Fields;
  /** Flags of the HEADERS frame that asks it: END_HEADERS, and END_STREAM where there is no body. */
  readonly flags: number;
  /** Where HBONE is taken, on 127.0.0.1. */
  readonly port: number;
  /** A connection of the hostile peer on which nothing of HTTP/2 was said yet. */
  open(): Promise<Duplex>;
  /** A long stream of another client, through the same server. */
  innocent(): Promise<EchoStream>;
  /** Connections of anybody, open now: of the hostile peer none may stay. */
  connections(): number;
  /** Why peers were refused so far, with how often. */
  refusals(): Readonly<Record<string, number>>;
  close(): Promise<void>;
}

export const SURFACES: Readonly<Record<string, () => Promise<Surface>>> = {
  'ztunnel, HBONE': ztunnelSurface,
  'waypoint, HBONE': () => waypointSurface('tunnel'),
  'waypoint, within a tunnel': () => waypointSurface('within'),
};

async function ztunnelSurface(): Promise<Surface> {
  const ztunnel = await OwnZtunnel.start();
  const attacker = await ztunnel.client('attacker');
  const honest = await ztunnel.client('honest');
  const refusals = new Map<string, number>();
  return {
    fields: connectFields(ztunnel.authority),
    flags: 4,
    port: ztunnel.port,
    open: () => secured(ztunnel.tls(attacker, { localAddress: ATTACKER_IP })),
    innocent: () => echoThrough(ztunnel.session(honest), ztunnel.authority),
    connections: () => ztunnel.server.size,
    refusals: () => {
      for (const [reason, count] of Object.entries(ztunnel.mesh.metrics.takeBatch().refused))
        refusals.set(reason, (refusals.get(reason) ?? 0) + count);
      return Object.fromEntries(refusals);
    },
    close: () => Promise.resolve(ztunnel.close()),
  };
}

async function waypointSurface(where: 'tunnel' | 'within'): Promise<Surface> {
  const waypoint = await OwnWaypoint.start({}, { maxTunnels: 1_000, maxConnections: 10_000 });
  const backend = await RecordingBackend.start(waypoint.podIp);
  const echo = net.createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => undefined);
    socket.pipe(socket);
  });
  echo.listen(0, waypoint.podIp);
  await once(echo, 'listening');
  waypoint.serve({ name: 'web', protocol: Protocol.HTTP1, targetPort: backend.port });
  waypoint.serve({ name: 'echo', protocol: Protocol.TCP, targetPort: (echo.address() as AddressInfo).port });
  const attacker = await waypoint.client('attacker');
  const honest = await waypoint.client('honest');
  const open = new Set<{ destroy(): unknown }>();
  const keep = <T extends { destroy(): unknown }>(each: T): T => {
    open.add(each);
    return each;
  };
  const dial = (bundle: CertificateBundle, more: DialOptions = {}): tls.TLSSocket =>
    keep(dialTls(waypoint.port, waypoint.ca, bundle, more));
  const session = (bundle: CertificateBundle, more: DialOptions = {}): http2.ClientHttp2Session => {
    const made = http2.connect('https://waypoint', { createConnection: () => dial(bundle, more) });
    made.on('error', () => undefined);
    return keep(made);
  };
  return {
    fields: where === 'tunnel' ? connectFields(waypoint.addressOf('web')) : GET_FIELDS,
    flags: where === 'tunnel' ? 4 : 5,
    port: waypoint.port,
    open: () =>
      where === 'tunnel'
        ? secured(dial(attacker, { localAddress: ATTACKER_IP }))
        : connected(session(attacker, { localAddress: ATTACKER_IP }), waypoint.addressOf('web'), true),
    innocent: () => echoThrough(session(honest), waypoint.addressOf('echo')),
    connections: () => waypoint.tunnels,
    refusals: () => waypoint.counted(),
    close: async () => {
      for (const each of open) each.destroy();
      echo.close();
      backend.close();
      await waypoint.close();
    },
  };
}

async function secured(socket: tls.TLSSocket): Promise<Duplex> {
  await new Promise<void>((resolve) => {
    socket.once('secureConnect', resolve);
    socket.once('close', () => resolve());
  });
  return socket;
}

/** @param withSession whether the session is ended with the stream */
async function connected(
  session: http2.ClientHttp2Session,
  authority: string,
  withSession: boolean,
): Promise<http2.ClientHttp2Stream> {
  const stream = session.request({ ':method': 'CONNECT', ':authority': authority }, { endStream: false });
  stream.on('error', () => undefined);
  if (withSession) stream.once('close', () => session.destroy());
  await new Promise<void>((resolve) => {
    stream.once('response', () => resolve());
    stream.once('close', () => resolve());
  });
  return stream;
}

async function echoThrough(session: http2.ClientHttp2Session, authority: string): Promise<EchoStream> {
  return new EchoStream(await connected(session, authority, false));
}
