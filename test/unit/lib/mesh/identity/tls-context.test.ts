import 'reflect-metadata';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type ConnectionOptions, type Server, type TLSSocket } from 'node:tls';
import { BasicConstraintsExtension } from '@peculiar/x509';
import { afterEach, before, describe, it } from 'mocha';
import { spiffeUri, type Identity } from '../../../../../lib/spiffe.ts';
import type { CertificateBundle } from '../../../../../lib/mesh/identity/certificate-bundle.ts';
import {
  hboneClientTls,
  hboneServerTls,
  inboundPeer,
  outboundPeer,
  peerIdentity,
} from '../../../../../lib/mesh/identity/tls-context.ts';
import { TestCa } from './test-ca.ts';

function account(serviceAccount: string, trustDomain = 'cluster.local'): Identity {
  return { trustDomain, namespace: 'shop', serviceAccount };
}
const CLIENT = account('client');
const SERVER = account('server');

describe('HBONE TLS', () => {
  let root: TestCa;
  const cleanups: (() => void)[] = [];
  afterEach(() => {
    for (const cleanup of cleanups.splice(0)) cleanup();
  });
  before(async () => {
    root = await TestCa.root();
  });

  async function bundle(identity: Identity, ca = root): Promise<CertificateBundle> {
    const { certPem, keyPem } = await ca.issue([{ type: 'url', value: spiffeUri(identity) }]);
    const dates = { notBefore: 0, notAfter: 0, serialNumber: '1' };
    return { identity, certChainPem: certPem, keyPem, rootsPem: root.pem, ...dates };
  }

  async function serve(identity = SERVER): Promise<{ server: Server; port: number }> {
    const server = createServer(hboneServerTls(await bundle(identity)));
    server.on('connection', (socket) => {
      socket.on('error', () => undefined);
      cleanups.push(() => socket.destroy());
    });
    server.on('tlsClientError', () => undefined);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    cleanups.push(() => server.close());
    return { server, port: (server.address() as { port: number }).port };
  }

  function dial(port: number, options: ConnectionOptions): TLSSocket {
    const socket = connect({ host: '127.0.0.1', port, ...options });
    socket.on('error', () => undefined);
    cleanups.push(() => socket.destroy());
    return socket;
  }

  it('authenticates both ends with TLS 1.3, AES-256-GCM, h2, and no SNI', async () => {
    const { server, port } = await serve();
    const accepted = once(server, 'secureConnection') as Promise<[TLSSocket]>;
    const socket = dial(port, hboneClientTls(await bundle(CLIENT), [spiffeUri(SERVER)]));
    await once(socket, 'secureConnect');
    const [peer] = await accepted;
    assert.equal(socket.getProtocol(), 'TLSv1.3');
    assert.equal(socket.getCipher().name, 'TLS_AES_256_GCM_SHA384');
    assert.equal(socket.alpnProtocol, 'h2');
    assert.ok(!(peer as TLSSocket & { servername?: string | false }).servername);
    assert.deepEqual(inboundPeer(peer, 'cluster.local'), CLIENT);
    assert.deepEqual(outboundPeer(socket, [spiffeUri(account('x')), spiffeUri(SERVER)]), SERVER);
    assert.throws(() => outboundPeer(socket, [spiffeUri(CLIENT)]), { code: 'PEER_IDENTITY' });
    assert.throws(() => inboundPeer(peer, 'other.example'), /another trust domain/);
  });

  it('reaches nobody but the expected', async () => {
    const { port } = await serve();
    for (const expected of [[spiffeUri(account('x'))], []]) {
      const socket = dial(port, hboneClientTls(await bundle(CLIENT), expected));
      const [error] = (await once(socket, 'error')) as [Error];
      assert.match(error.message, /the peer is .*server, expected/);
    }
  });

  it('refuses a client without certificate, of another root, of TLS 1.2, of another ALPN', async () => {
    const { server, port } = await serve();
    server.on('secureConnection', () => assert.fail('let in'));
    const good = hboneClientTls(await bundle(CLIENT), [spiffeUri(SERVER)]);
    const foreign = hboneClientTls(await bundle(CLIENT, await TestCa.root('CN=foreign')), [
      spiffeUri(SERVER),
    ]);
    const { key: _key, cert: _cert, ...anonymous } = good;
    const old = { ...good, minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2', ciphers: 'ECDHE+AESGCM' } as const;
    for (const options of [anonymous, foreign, old, { ...good, ALPNProtocols: ['http/1.1'] }]) {
      const refused = once(server, 'tlsClientError');
      dial(port, options);
      await refused;
    }
  });

  it('does not take a server of another root', async () => {
    const { port } = await serve();
    const rootsPem = (await TestCa.root('CN=foreign')).pem;
    const options = hboneClientTls({ ...(await bundle(CLIENT)), rootsPem }, [spiffeUri(SERVER)]);
    await once(dial(port, options), 'error');
    // Even where the handshake is let pass, there is no identity in what was not verified.
    const careless = dial(port, { ...options, rejectUnauthorized: false });
    await once(careless, 'secureConnect');
    assert.throws(() => peerIdentity(careless), { code: 'PEER_IDENTITY', message: /not verified/ });
  });

  it('does not take a CA for a workload, whatever names it has', async () => {
    const { server, port } = await serve();
    const ca = await root.issue([{ type: 'url', value: spiffeUri(CLIENT) }], undefined, [
      new BasicConstraintsExtension(true),
    ]);
    const accepted = once(server, 'secureConnection') as Promise<[TLSSocket]>;
    const asCa = { ...(await bundle(CLIENT)), certChainPem: ca.certPem, keyPem: ca.keyPem };
    dial(port, hboneClientTls(asCa, [spiffeUri(SERVER)]));
    const [peer] = await accepted;
    assert.throws(() => inboundPeer(peer, 'cluster.local'), /is a CA/);
  });

  it('never resumes a session, even when the client tries', async () => {
    const { server, port } = await serve();
    const options = hboneClientTls(await bundle(CLIENT), [spiffeUri(SERVER)]);
    // A client that would like to: it keeps whatever tickets it gets.
    const eager = { ...options, secureOptions: 0 };
    const sessions: Buffer[] = [];
    const meet = async (session?: Buffer) => {
      const accepted = once(server, 'secureConnection') as Promise<[TLSSocket]>;
      const socket = dial(port, { ...eager, ...(session && { session }) });
      socket.on('session', (ticket: Buffer) => void sessions.push(ticket));
      await once(socket, 'secureConnect');
      const [peer] = await accepted;
      peer.end('x');
      socket.resume();
      await once(socket, 'end');
      return [socket.isSessionReused(), peer.isSessionReused()];
    };
    await meet();
    for (const session of [...sessions, undefined]) assert.deepEqual(await meet(session), [false, false]);
  });
});
