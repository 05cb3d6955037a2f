import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { AddressDelta } from '../../../../../lib/mesh/state/model.ts';
import { WorkloadStore } from '../../../../../lib/mesh/state/workload-store.ts';
import { port, service, serves, storeOf, workload } from './mesh.ts';

const WEB = 'shop/web.shop.svc.cluster.local';

describe('workload store', () => {
  it('finds workloads by uid, by address in their network, and by pod', () => {
    const a = workload('a', '10.0.0.1');
    const other = workload('b', '10.0.0.1', { network: 'n2' });
    const store = storeOf(a, other);
    assert.equal(store.byUid(a.uid), a);
    assert.equal(store.workloadAt('', '10.0.0.1'), a);
    assert.equal(store.workloadAt('', '::ffff:10.0.0.1'), a);
    assert.equal(store.workloadAt('n2', '10.0.0.1'), other);
    assert.equal(store.workloadAt('n3', '10.0.0.1'), undefined);
    const pod = { clusterId: 'Kubernetes', namespace: 'shop', name: 'a', serviceAccount: 'a' };
    assert.equal(store.workloadOfPod(pod), a);
    assert.equal(store.workloadOfPod({ ...pod, serviceAccount: 'other' }), undefined);
    assert.equal(store.workloadOfPod({ ...pod, name: 'z' }), undefined);
  });

  it('finds services by key, host name and virtual address, headless ones too', () => {
    const web = service('web', '198.19.0.1');
    const headless = service('db', undefined);
    const store = storeOf(web, headless);
    assert.equal(store.service(WEB), web);
    assert.equal(store.serviceAt('', '198.19.0.1'), web);
    assert.equal(store.byAddress('', '198.19.0.1'), web);
    assert.deepEqual(store.servicesByHostname('DB.shop.svc.cluster.local'), [headless]);
    assert.equal(store.service('shop/db.shop.svc.cluster.local'), headless);
  });

  it('knows endpoints, whichever of service and workload comes first', () => {
    const a = workload('a', '10.0.0.1', { services: [serves('web', port(80, 8080))] });
    const store = storeOf(a);
    assert.equal(store.endpoints(WEB).get(a.uid)?.workload, a);
    store.apply({ upserts: [service('web', '198.19.0.1')], removed: [] });
    const moved = { ...a, services: [serves('other')] };
    store.apply({ upserts: [moved], removed: [] });
    assert.equal(store.endpoints(WEB).size, 0);
    assert.equal(store.endpoints('shop/other.shop.svc.cluster.local').get(a.uid)?.workload, moved);
    store.apply({ upserts: [], removed: [a.uid] });
    assert.equal(store.endpoints('shop/other.shop.svc.cluster.local').size, 0);
  });

  it('forgets old addresses on update and everything on removal', () => {
    const a = workload('a', '10.0.0.1');
    const web = service('web', '198.19.0.1');
    const store = storeOf(a, web);
    store.apply({ upserts: [{ ...a, addresses: ['10.0.0.2'] }, service('web', '198.19.0.2')], removed: [] });
    assert.equal(store.byAddress('', '10.0.0.1'), undefined);
    assert.equal(store.byAddress('', '198.19.0.1'), undefined);
    assert.equal(store.byAddress('', '10.0.0.2')?.kind, 'workload');
    store.apply({ upserts: [], removed: [a.uid, WEB, 'never known'] });
    assert.deepEqual(store.size, { workloads: 0, services: 0 });
    assert.equal(store.byAddress('', '10.0.0.2'), undefined);
    assert.equal(store.byAddress('', '198.19.0.2'), undefined);
    assert.deepEqual(store.servicesByHostname('web.shop.svc.cluster.local'), []);
  });

  it('gives a reused address to its new owner while the old one is still there', () => {
    const old = workload('old', '10.0.0.1');
    const next = workload('next', '10.0.0.1');
    const store = storeOf(old, next);
    assert.equal(store.workloadAt('', '10.0.0.1'), next);
    store.apply({ upserts: [{ ...old, healthy: false }], removed: [] });
    assert.equal(store.workloadAt('', '10.0.0.1'), next, 'an update of the old one changes nothing');
    store.apply({ upserts: [], removed: [old.uid] });
    assert.equal(store.workloadAt('', '10.0.0.1'), next);
  });

  it('gives an address to the pod that has it, whoever else claims it', () => {
    const pod = workload('pod', '10.0.0.1');
    const entry = workload('entry', '10.0.0.1', {
      uid: 'Kubernetes/networking.istio.io/WorkloadEntry/shop/entry',
    });
    assert.equal(storeOf(pod, entry).workloadAt('', '10.0.0.1'), pod);
  });

  it('does not take an address of the host for one workload on it', () => {
    const store = storeOf(workload('a', '10.0.0.1', { hostNetwork: true, services: [serves('web')] }));
    assert.equal(store.workloadAt('', '10.0.0.1'), undefined);
    assert.equal(store.endpoints(WEB).size, 1);
  });

  it('prefers the canonical of several services of one address, and shows private ones to their namespace only', () => {
    const mine = service('web', '198.19.0.1', {
      namespace: 'mine',
      canonical: false,
      visibility: 'namespace',
    });
    const theirs = service('web', '198.19.0.1', { namespace: 'theirs', canonical: false });
    const canonical = service('web', '198.19.0.1', { namespace: 'third' });
    const store = storeOf(mine, theirs);
    assert.equal(store.serviceAt('', '198.19.0.1', 'mine'), mine);
    assert.equal(store.serviceAt('', '198.19.0.1', 'theirs'), theirs);
    store.apply({ upserts: [canonical], removed: [] });
    assert.equal(store.serviceAt('', '198.19.0.1', 'mine'), canonical);
  });

  it('finds a service by a range of addresses, the longest first, one address and workloads before it', () => {
    const range = (bytes: number[], length: number) => ({
      network: '',
      ip: bytes.join('.'),
      range: { bytes, length },
    });
    const wide = service('wide', undefined, { addresses: [range([10, 0, 0, 0], 8)] });
    const near = service('near', undefined, { addresses: [range([10, 1, 0, 0], 16)] });
    const one = service('one', '10.1.0.1');
    const pod = workload('pod', '10.1.0.2');
    const store = storeOf(wide, near, one, pod);
    assert.equal(store.byAddress('', '10.1.0.1'), one);
    assert.equal(store.byAddress('', '10.1.0.2'), pod);
    assert.equal(store.byAddress('', '10.1.0.3'), near);
    assert.equal(store.byAddress('', '10.2.0.3'), wide);
    assert.equal(store.byAddress('', '11.2.0.3'), undefined);
    assert.equal(store.byAddress('', '::1'), undefined);
    store.apply({ upserts: [], removed: [near.key] });
    assert.equal(store.byAddress('', '10.1.0.3'), wide);
    store.apply({ upserts: [], removed: [wide.key] });
    assert.equal(store.byAddress('', '10.1.0.3'), undefined);
  });

  it('lets a name stand for one thing only', () => {
    const store = storeOf(workload('a', '10.0.0.1', { uid: WEB }));
    store.apply({ upserts: [service('web', '198.19.0.1')], removed: [] });
    assert.equal(store.workloadAt('', '10.0.0.1'), undefined);
    store.apply({ upserts: [workload('a', '10.0.0.1', { uid: WEB })], removed: [] });
    assert.equal(store.serviceAt('', '198.19.0.1'), undefined);
    assert.deepEqual(store.size, { workloads: 1, services: 0 });
  });

  it('tells of each change after it is in force', () => {
    const store = new WorkloadStore();
    const seen: AddressDelta[] = [];
    const stop = store.onChange((delta) => {
      assert.equal(store.size.workloads, 1);
      seen.push(delta);
    });
    const delta = { upserts: [workload('a', '10.0.0.1')], removed: [] };
    store.apply(delta);
    stop();
    store.apply({ upserts: [workload('b', '10.0.0.2')], removed: [] });
    assert.deepEqual(seen, [delta]);
  });

  it('indexes 100,000 workloads, each found again and each removed without trace', () => {
    const store = new WorkloadStore();
    const names = Array.from({ length: 100_000 }, (_, i) => `p${i}`);
    const ip = (i: number) => `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`;
    const all = names.map((name, i) => workload(name, ip(i), { services: [serves(`s${i % 1000}`)] }));
    store.apply({ upserts: all, removed: [] });
    for (const [i, expected] of all.entries()) assert.equal(store.workloadAt('', ip(i)), expected);
    assert.equal(store.endpoints('shop/s7.shop.svc.cluster.local').size, 100);
    store.apply({ upserts: [], removed: all.map((w) => w.uid) });
    assert.deepEqual(store.size, { workloads: 0, services: 0 });
    assert.equal(store.workloadAt('', ip(7)), undefined);
    assert.equal(store.endpoints('shop/s7.shop.svc.cluster.local').size, 0);
  });
});
