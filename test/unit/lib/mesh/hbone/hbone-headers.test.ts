import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import {
  baggageHeader,
  forwardedHeader,
  newTraceparent,
  parseAuthority,
  parseForwardedFor,
  plainIp,
  trueClient,
} from '../../../../../lib/mesh/hbone/hbone-headers.ts';

describe('ztunnel/proxy/hbone-headers', () => {
  it('writes what Istio reads', () => {
    const source = {
      clusterId: 'Kubernetes',
      namespace: 'shop',
      workloadType: 'deployment',
      workloadName: 'pay ments',
      canonicalName: 'payments',
      canonicalRevision: '',
    };
    assert.equal(
      baggageHeader(source),
      'k8s.cluster.name=Kubernetes,k8s.namespace.name=shop,k8s.deployment.name=pay%20ments,service.name=payments',
    );
    const client = { ip: '198.18.0.1', port: 40000 };
    assert.equal(forwardedHeader(client), 'for="198.18.0.1:40000"');
    assert.equal(forwardedHeader(client, 'a.b.svc'), 'for="198.18.0.1:40000";host=a.b.svc');
    assert.match(newTraceparent(), /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
  });

  it('reads its own forwarded header', () => {
    const address = fc.record({ ip: fc.ipV4(), port: fc.integer({ min: 1, max: 65535 }) });
    fc.assert(
      fc.property(address, (a) => assert.deepEqual(parseForwardedFor(forwardedHeader(a, 'h')), { ...a })),
    );
  });

  it('takes nothing from a header that is not one', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const read = parseForwardedFor(text);
        assert.ok(read === undefined || text.includes(read.ip));
      }),
    );
    for (const bad of [undefined, 'for=unknown', 'for="[::1]:80"', 'for="1.2.3.4"', 'for="1.2.3.999:80"']) {
      assert.equal(parseForwardedFor(bad), undefined);
    }
    assert.equal(parseForwardedFor(`for="1.2.3.4:5";${'x'.repeat(5000)}`), undefined);
  });

  it('believes a claimed port, but never a claimed address', () => {
    const peer = { ip: '198.18.0.1', port: 5000 };
    assert.deepEqual(trueClient(peer, 'for="198.18.0.1:41000"'), { ip: '198.18.0.1', port: 41000 });
    assert.deepEqual(trueClient(peer, 'for="10.0.0.1:41000"'), peer);
    assert.deepEqual(trueClient(peer, undefined), peer);
  });

  it('accepts an authority of address and port only', () => {
    assert.deepEqual(parseAuthority('198.18.0.2:80'), { ip: '198.18.0.2', port: 80 });
    for (const bad of [
      'host:80',
      '1.2.3.4',
      '1.2.3.4:0',
      '1.2.3.4:65536',
      '[::1]:80',
      '',
      ' 1.2.3.4:80',
      undefined,
    ]) {
      assert.equal(parseAuthority(bad), undefined);
    }
  });

  it('unmaps IPv4 addresses', () => {
    assert.equal(plainIp('::ffff:198.18.0.1'), '198.18.0.1');
    assert.equal(plainIp('198.18.0.1'), '198.18.0.1');
    assert.equal(plainIp(undefined), '');
  });
});
