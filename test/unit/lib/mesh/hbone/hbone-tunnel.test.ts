import assert from 'node:assert/strict';
import { once } from 'node:events';
import net, { type AddressInfo, type Socket } from 'node:net';
import tls from 'node:tls';
import { after, before, describe, it } from 'mocha';
import { CertificateStore, type Certificate } from '../../../../../lib/mesh/hbone/certificate-store.ts';
import { connectSession } from '../../../../../lib/mesh/hbone/hbone-tunnel.ts';
import { ProxyError } from '../../../../../lib/mesh/hbone/proxy-error.ts';
import type { CertificateBundle } from '../../../../../lib/mesh/identity/certificate-bundle.ts';
import { hboneServerTls } from '../../../../../lib/mesh/identity/tls-context.ts';
import { TestCa } from '../../../ztunnel/support/certificates.ts';

const CLIENT = 'spiffe://cluster.local/ns/default/sa/client';
const SERVER = 'spiffe://cluster.local/ns/default/sa/server';

describe('lib/mesh/hbone/hbone-tunnel: a connection that fails while it is made', () => {
  let certificate: Certificate;
  let serverBundle: CertificateBundle;
  const servers: net.Server[] = [];

  before(async () => {
    const ca = await TestCa.create();
    const store = new CertificateStore();
    store.put(await ca.issue(CLIENT));
    certificate = await store.whenValid(CLIENT, 1_000);
    serverBundle = await ca.issue(SERVER);
  });
  after(() => {
    for (const server of servers) server.close();
  });

  /** What a client meets whose peer does this with its connection. */
  async function failure(server: net.Server, expected = SERVER): Promise<ProxyError> {
    servers.push(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const error: unknown = await connectSession(
      { dialRemote: ({ ip, port: to }) => net.connect(to, ip) },
      { address: { ip: '127.0.0.1', port }, expectedIdentities: [expected] },
      certificate,
    ).then(
      (session) => session.destroy(),
      (reason: unknown) => reason,
    );
    assert.ok(error instanceof ProxyError, String(error));
    return error;
  }
  const raw = (serve: (socket: Socket) => void): net.Server => net.createServer(serve);
  const secure = (serve: (socket: tls.TLSSocket) => void): net.Server =>
    tls.createServer(hboneServerTls(serverBundle), (socket) => {
      socket.on('error', () => undefined);
      serve(socket);
    });

  it('may be tried again where the peer went away: at once, in the handshake, or before its SETTINGS', async () => {
    for (const [server, code] of [
      // A reset may be there before the client has seen that it was connected.
      [raw((socket) => socket.destroy()), /^(CONNECT_FAILED|TLS_FAILURE)$/],
      [raw((socket) => socket.resetAndDestroy()), /^(CONNECT_FAILED|TLS_FAILURE)$/],
      [raw((socket) => socket.once('data', () => socket.resetAndDestroy())), /^TLS_FAILURE$/],
      [secure((socket) => socket.destroy()), /^H2_FAILURE$/],
    ] as const) {
      const error = await failure(server);
      assert.match(error.code, code, error.message);
      assert.equal(error.unused, true, String(error.cause));
    }
  });

  it('is not tried again where the peer answered, with what will not do', async () => {
    const nonsense = await failure(
      raw((socket) => socket.once('data', () => socket.end('HTTP/1.1 400 Bad\r\n\r\n'))),
    );
    assert.deepEqual([nonsense.code, nonsense.unused], ['TLS_FAILURE', false]);
    const other = await failure(
      secure(() => undefined),
      'spiffe://cluster.local/ns/default/sa/another',
    );
    assert.deepEqual([other.code, other.unused], ['PEER_IDENTITY', false]);
  });
});
