import assert from 'node:assert/strict';
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import tls from 'node:tls';
import { afterEach, before, describe, it } from 'mocha';
import type { CertificateBundle } from '../../../../lib/mesh/identity/certificate-bundle.ts';
import { CertificateStore } from '../../../../lib/mesh/hbone/certificate-store.ts';
import { HboneAcceptor } from '../../../../lib/mesh/hbone/hbone-acceptor.ts';
import { HbonePool } from '../../../../lib/mesh/hbone/hbone-pool.ts';
import { ProxyError } from '../../../../lib/mesh/hbone/proxy-error.ts';
import { parseSpiffeUri } from '../../../../lib/spiffe.ts';
import { TestCa, validNow } from '../../lib/mesh/identity/test-ca.ts';

const CLIENT = 'spiffe://cluster.local/ns/default/sa/client';
const SERVER = 'spiffe://cluster.local/ns/default/sa/server';
const HOUR_MS = 3_600_000;
const past = { notBefore: new Date(Date.now() - 2 * HOUR_MS), notAfter: new Date(Date.now() - 1_000) };
const future = { notBefore: new Date(Date.now() + HOUR_MS), notAfter: new Date(Date.now() + 2 * HOUR_MS) };
const uri = (value: string) => ({ type: 'url' as const, value });

/** The end of the tunnel whose certificate is wrong presents it whatever it is; the other end is ours, as it is. */
describe('ztunnel/proxy: wrong certificates', () => {
  let root: TestCa;
  let stranger: TestCa;
  let good: { client: CertificateBundle; server: CertificateBundle };
  const toClose: (() => void)[] = [];

  before(async () => {
    [root, stranger] = [await TestCa.root(), await TestCa.root('CN=somebody else')];
    good = {
      client: await bundle(root, CLIENT, [uri(CLIENT)]),
      server: await bundle(root, SERVER, [uri(SERVER)]),
    };
  });
  afterEach(() => {
    for (const close of toClose.splice(0)) close();
  });

  async function bundle(
    ca: TestCa,
    identity: string,
    names: Parameters<TestCa['issue']>[0],
    validity = validNow(),
  ): Promise<CertificateBundle> {
    const { certPem, keyPem } = await ca.issue(names, validity);
    return {
      identity: parseSpiffeUri(identity),
      certChainPem: certPem,
      keyPem,
      rootsPem: root.pem,
      serialNumber: '1',
      // What our own checks of our own certificate would look at: here the peer has to find out.
      notBefore: Date.now() - 1_000,
      notAfter: Date.now() + HOUR_MS,
    };
  }

  const KINDS: Readonly<Record<string, (own: string) => Promise<CertificateBundle>>> = {
    expired: (own) => bundle(root, own, [uri(own)], past),
    'not valid yet': (own) => bundle(root, own, [uri(own)], future),
    'of another authority': (own) => bundle(stranger, own, [uri(own)]),
    'of another trust domain': (own) =>
      bundle(root, own, [uri(own.replace('cluster.local', 'other.example'))]),
    'without a URI name': (own) => bundle(root, own, [{ type: 'dns', value: 'server.default.svc' }]),
    'without any name': (own) => bundle(root, own, []),
    'with two URI names': (own) => bundle(root, own, [uri(own), uri(`${own}-2`)]),
    'with a URI that is no SPIFFE ID': (own) => bundle(root, own, [uri(own.replace('spiffe:', 'https:'))]),
  };

  async function listen(serve: (socket: net.Socket) => void): Promise<number> {
    const server = net.createServer({ pauseOnConnect: true, allowHalfOpen: true }, serve);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    toClose.push(() => server.close());
    return (server.address() as AddressInfo).port;
  }

  /** Our server's end: which streams it was given, and what it refused. */
  async function acceptor(certificate: CertificateBundle) {
    const certificates = new CertificateStore();
    certificates.put(certificate);
    const seen = { streams: 0, refused: [] as string[] };
    const made = new HboneAcceptor({
      certificates,
      identityUri: SERVER,
      trustDomain: 'cluster.local',
      maxTunnels: 10,
      certificateWaitMs: 100,
      onRefused: (reason) => void seen.refused.push(reason),
      log: () => undefined,
      onStream: (_peer, stream) => {
        seen.streams += 1;
        stream.respond({ ':status': 200 });
      },
    });
    toClose.push(() => made.destroy());
    return { port: await listen((socket) => void made.accept(socket)), seen };
  }

  async function open(port: number, certificate: CertificateBundle): Promise<string> {
    const pool = new HbonePool();
    toClose.push(() => pool.evictPod('uid'));
    try {
      await pool.open(
        {
          sourcePodUid: 'uid',
          sourceIdentity: CLIENT,
          destinationUid: 'server',
          address: { ip: '127.0.0.1', port },
          expectedIdentities: [SERVER],
        },
        {
          sockets: {
            dialRemote: ({ ip, port: to }) => net.connect({ host: ip, port: to, allowHalfOpen: true }),
          },
          certificate: () =>
            Promise.resolve({
              bundle: certificate,
              clientContext: tls.createSecureContext({
                cert: certificate.certChainPem,
                key: certificate.keyPem,
                ca: certificate.rootsPem,
              }),
            }),
        },
        { ':authority': '127.0.0.1:80' },
      );
      return 'open';
    } catch (error) {
      assert.ok(error instanceof ProxyError, String(error));
      return error.code;
    }
  }

  it('are none between two good ones', async () => {
    const { port, seen } = await acceptor(good.server);
    assert.equal(await open(port, good.client), 'open');
    assert.deepEqual(seen, { streams: 1, refused: [] });
  });

  for (const [kind, make] of Object.entries(KINDS)) {
    it(`of a client, ${kind}: no stream of it is ever looked at, and it is counted`, async () => {
      const { port, seen } = await acceptor(good.server);
      const code = await open(port, await make(CLIENT));
      assert.match(code, /^(TLS_FAILURE|H2_FAILURE|STREAM_REFUSED)$/);
      assert.equal(seen.streams, 0);
      assert.ok(
        seen.refused.length > 0 && seen.refused.every((why) => /TLS_FAILURE|PEER_IDENTITY/.test(why)),
      );
    });

    it(`of a server, ${kind}: it gets no CONNECT`, async () => {
      const { port, seen } = await acceptor(await make(SERVER));
      assert.match(await open(port, good.client), /^(TLS_FAILURE|PEER_IDENTITY)$/);
      assert.equal(seen.streams, 0);
    });
  }
});
