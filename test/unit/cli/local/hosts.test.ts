import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { hostsFile, serviceNames, type NamedPod } from '../../../../cli/local/hosts.ts';
import type { ServiceManifest } from '../../../../cli/local/model.ts';

const pod = (name: string, ip: string, over: Partial<NamedPod> = {}): NamedPod => ({
  ...{ namespace: 'shop', name, labels: { app: name }, ips: [ip], ready: true },
  ...over,
});
const service = (name: string, over: Partial<ServiceManifest> = {}): ServiceManifest => ({
  ...{
    namespace: 'shop',
    name,
    headless: false,
    families: ['IPv4'],
    clusterIPs: [],
    selector: { app: name },
  },
  ...over,
});
const web = pod('web', '198.18.1.2');

function linesFor(name: string, input: Partial<Parameters<typeof hostsFile>[0]>): string[] {
  const text = hostsFile({
    ...{ self: web, enrolled: true, services: [], pods: [web], vips: new Map() },
    ...input,
  });
  return text.split('\n').filter((line) => line.split(' ').includes(name));
}

describe('local mesh: the hosts file of a pod', () => {
  it('names the pod itself and the loopback', () => {
    assert.deepEqual(linesFor('web', {}), ['198.18.1.2 web']);
    assert.deepEqual(linesFor('localhost', {}), [
      '127.0.0.1 localhost',
      '::1 localhost ip6-localhost ip6-loopback',
    ]);
  });

  it('gives the short name of a Service only within its namespace', () => {
    assert.deepEqual(serviceNames({ namespace: 'shop', name: 'db' }, 'shop'), [
      'db.shop.svc.cluster.local',
      'db.shop.svc',
      'db.shop',
      'db',
    ]);
    assert.ok(!serviceNames({ namespace: 'other', name: 'db' }, 'shop').includes('db'));
  });

  it('gives virtual addresses within the mesh, and the pods themselves outside', () => {
    const input = { services: [service('web')], vips: new Map([['shop/web', ['198.18.24.1']]]) };
    assert.deepEqual(linesFor('web.shop', input), [
      '198.18.24.1 web.shop.svc.cluster.local web.shop.svc web.shop web',
    ]);
    assert.match(linesFor('web.shop', { ...input, enrolled: false })[0] ?? '', /^198\.18\.1\.2 /);
  });

  it('gives what has two families an address of each, and a Service none of another family', () => {
    const dual = pod('db', '', { ips: ['198.18.1.3', 'fd4c:1::3'] });
    assert.deepEqual(linesFor('db', { self: dual }), ['198.18.1.3 db', 'fd4c:1::3 db']);
    const addresses = (over: Partial<ServiceManifest>, more: Partial<Parameters<typeof hostsFile>[0]> = {}) =>
      linesFor('db.shop', { services: [service('db', over)], pods: [dual], ...more }).map(
        (line) => line.split(' ')[0],
      );
    const vips = new Map([['shop/db', ['fd4c:24::1', '198.18.24.1']]]);
    assert.deepEqual(addresses({ families: ['IPv6', 'IPv4'] }, { vips }), ['fd4c:24::1', '198.18.24.1']);
    assert.deepEqual(addresses({ headless: true }), ['198.18.1.3']);
    assert.deepEqual(addresses({ headless: true, families: ['IPv6'] }), ['fd4c:1::3']);
    assert.deepEqual(addresses({ families: ['IPv4', 'IPv6'] }, { vips, enrolled: false }), [
      '198.18.1.3',
      'fd4c:1::3',
    ]);
  });

  it('gives a headless Service the addresses of its ready pods', () => {
    const pods = [
      web,
      pod('b', '198.18.1.4', { labels: { app: 'web' } }),
      pod('c', '198.18.1.5', { labels: { app: 'web' }, ready: false }),
      pod('d', '198.18.1.6', { labels: { app: 'web' }, namespace: 'other' }),
    ];
    const lines = linesFor('web.shop', { services: [service('web', { headless: true })], pods });
    assert.deepEqual(
      lines.map((line) => line.split(' ')[0]),
      ['198.18.1.4', '198.18.1.2'],
    );
    const none = linesFor('x.shop', {
      services: [service('x', { headless: true, selector: undefined })],
      pods,
    });
    assert.deepEqual(none, [], 'without a selector it has no pods');
  });
});
