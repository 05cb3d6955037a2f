import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import {
  baggageHeader,
  forwardedHeader,
  newTraceparent,
  parseAuthority,
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

  it('believes a claimed port, but never a claimed address', () => {
    const peer = { ip: '198.18.0.1', port: 5000 };
    assert.deepEqual(trueClient(peer, 'for="198.18.0.1:41000"'), { ip: '198.18.0.1', port: 41000 });
    assert.deepEqual(trueClient(peer, 'for="10.0.0.1:41000"'), peer);
    assert.deepEqual(trueClient(peer, undefined), peer);
    assert.deepEqual(trueClient(peer, 'for="[::ffff:198.18.0.1]:41000"'), { ip: '198.18.0.1', port: 41000 });
    const peer6 = { ip: 'fd00::1', port: 5000 };
    assert.deepEqual(trueClient(peer6, 'for="[fd00::1]:41000"'), { ip: 'fd00::1', port: 41000 });
    assert.deepEqual(trueClient(peer6, 'for="[fd00::2]:41000"'), peer6);
    assert.deepEqual(trueClient(peer6, 'for="198.18.0.1:41000"'), peer6);
  });

  it('accepts an authority of address and port only', () => {
    assert.deepEqual(parseAuthority('198.18.0.2:80'), { ip: '198.18.0.2', port: 80 });
    assert.deepEqual(parseAuthority('[fd00::2]:80'), { ip: 'fd00::2', port: 80 });
    for (const bad of [
      'host:80',
      '1.2.3.4',
      '1.2.3.4:0',
      '1.2.3.4:65536',
      'fd00::2:80',
      '',
      ' 1.2.3.4:80',
      undefined,
    ]) {
      assert.equal(parseAuthority(bad), undefined);
    }
  });

  it('gives an address of a socket its one form', () => {
    assert.equal(plainIp('fe80::1%eth0'), 'fe80::1');
    assert.equal(plainIp('FD00:0::1'), 'fd00::1');
    assert.equal(plainIp('nonsense'), '');
    assert.equal(plainIp('::ffff:198.18.0.1'), '198.18.0.1');
    assert.equal(plainIp('198.18.0.1'), '198.18.0.1');
    assert.equal(plainIp(undefined), '');
  });
});
