import assert from 'node:assert/strict';
import { once } from 'node:events';
import type http2 from 'node:http2';
import net, { type AddressInfo } from 'node:net';
import { afterEach, before, beforeEach, describe, it } from 'mocha';
import { CertificateStore } from '../../../../lib/mesh/hbone/certificate-store.ts';
import { HbonePool } from '../../../../lib/mesh/hbone/hbone-pool.ts';
import { ProxyError, type ProxyErrorCode } from '../../../../lib/mesh/hbone/proxy-error.ts';
import type { Path } from '../../../../lib/mesh/waypoint/backend-endpoints.ts';
import { EndpointDialer } from '../../../../waypoint/upstream/endpoint-connector.ts';
import { TestCa } from '../../ztunnel/support/certificates.ts';
import { closedPort, ToyWaypoint } from '../../ztunnel/support/toy-waypoint.ts';
import { happened, readUntil, StreamPairs } from '../support/streams.ts';

const OWN = 'spiffe://cluster.local/ns/shop/sa/waypoint';
const PAY = 'spiffe://cluster.local/ns/shop/sa/pay';
const LONG_MS = 30_000;

describe('waypoint/upstream/endpoint-connector', () => {
  let ca: TestCa;
  let server: ToyWaypoint;
  let pool: HbonePool;
  let dialer: EndpointDialer;
  let path: Extract<Path, { via: 'hbone' }>;

  before(async () => (ca = await TestCa.create()));

  beforeEach(async () => {
    server = new ToyWaypoint(await ca.issue(PAY));
    pool = new HbonePool();
    dialer = await dialerWith(pool);
    path = {
      via: 'hbone',
      tunnel: { ip: '127.0.0.1', port: await server.listen() },
      tunnelUid: 'pod',
      expectedIdentities: [PAY],
      target: { ip: '198.18.0.9', port: 8080 },
    };
  });
  afterEach(() => {
    pool.evictPod('waypoint');
    server.close();
  });

  async function dialerWith(used: HbonePool): Promise<EndpointDialer> {
    const certificates = new CertificateStore();
    certificates.put(await ca.issue(OWN));
    return new EndpointDialer({
      pool: used,
      certificates,
      identityUri: OWN,
      ownUid: 'waypoint',
      baggage: 'service.name=waypoint',
    });
  }

  const fails = (opening: Promise<unknown>, code: ProxyErrorCode) =>
    assert.rejects(opening, (error) => error instanceof ProxyError && error.code === code);

  it('opens a stream through the tunnel, and tells the target and the Service', async () => {
    const stream = await dialer.open(path, 'pay.shop', LONG_MS);
    stream.write('echo');
    assert.equal(await readUntil(stream, 'echo'), 'echo');
    const [told] = server.connects;
    assert.equal(told?.[':authority'], '198.18.0.9:8080');
    assert.equal(told['forwarded'], 'host=pay.shop');
    assert.equal(told['baggage'], 'service.name=waypoint');
    assert.match(String(told['traceparent']), /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
    stream.destroy();
  });

  it('tells of the client only where a stream is for it alone', async () => {
    const client = {
      address: { ip: '10.0.0.5', port: 40_000 },
      identity: { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'frontend' },
    };
    const streams = [
      await dialer.open(path, 'pay.shop', LONG_MS, client),
      await dialer.open(path, undefined, LONG_MS, { ...client, identity: undefined }),
      await dialer.open(path, undefined, LONG_MS),
    ];
    assert.deepEqual(
      server.connects.map((told) => told['forwarded']),
      [
        'for="10.0.0.5:40000";host=pay.shop;identity="spiffe://cluster.local/ns/shop/sa/frontend"',
        'for="10.0.0.5:40000"',
        undefined,
      ],
    );
    assert.equal(server.sessions, 1);
    for (const stream of streams) stream.destroy();
  });

  it('does not speak to an endpoint that is not who it should be', async () => {
    await fails(dialer.open({ ...path, expectedIdentities: [OWN] }, undefined, LONG_MS), 'PEER_IDENTITY');
    assert.deepEqual(server.connects, []);
  });

  it('says that the endpoint denies, or is not there', async () => {
    server.status = 401;
    await fails(dialer.open(path, undefined, LONG_MS), 'POLICY_DENIED');
    const nobody = { ip: '127.0.0.1', port: await closedPort() };
    await fails(
      dialer.open({ ...path, tunnel: nobody, tunnelUid: 'gone' }, undefined, LONG_MS),
      'CONNECT_FAILED',
    );
    await fails(dialer.open({ via: 'direct', target: nobody }, undefined, LONG_MS), 'CONNECT_FAILED');
  });

  it('goes straight to what has no tunnel', async () => {
    const plain = net.createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1');
    await once(plain, 'listening');
    const target = { ip: '127.0.0.1', port: (plain.address() as AddressInfo).port };
    const stream = await dialer.open({ via: 'direct', target }, 'pay.shop', LONG_MS);
    stream.write('echo');
    assert.equal(await readUntil(stream, 'echo'), 'echo');
    stream.destroy();
    plain.close();
  });

  it('gives up after its time, and resets the stream that comes too late', async () => {
    const pairs = new StreamPairs();
    const { near, far } = await pairs.http2();
    const arriving = Promise.withResolvers<http2.ClientHttp2Stream>();
    class SlowPool extends HbonePool {
      override open(): Promise<http2.ClientHttp2Stream> {
        return arriving.promise;
      }
    }
    const slow = await dialerWith(new SlowPool());
    await fails(slow.open(path, undefined, 10), 'CONNECT_TIMEOUT');
    const reset = happened(far, 'close');
    arriving.resolve(near);
    far.resume();
    await reset;
    assert.notEqual(far.rstCode, 0);
    pairs.close();
  });
});
