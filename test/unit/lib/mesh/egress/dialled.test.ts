import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { Service, Workload } from '../../../../../lib/mesh/state/model.ts';
import { WorkloadStore } from '../../../../../lib/mesh/state/workload-store.ts';
import { readDialled } from '../../../../../lib/mesh/egress/dialled.ts';
import { resolveUpstream } from '../../../../../lib/mesh/outbound/upstream.ts';
import { toyWorkload } from '../../../ztunnel/support/toy-mesh.ts';

const VIP = '198.19.0.5';
const VIP6 = 'fd00::5';
const KEY = 'default/web.default.svc.cluster.local';
const HEADLESS = 'default/head.default.svc.cluster.local';
const ports = [{ servicePort: 80, targetPort: 8080, appProtocol: 'unknown' }] as const;

function service(key: string, addresses: readonly string[], changes: Partial<Service> = {}): Service {
  const hostname = key.slice(key.indexOf('/') + 1);
  return {
    kind: 'service',
    key,
    name: hostname.split('.')[0] ?? '',
    namespace: 'default',
    hostname,
    addresses: addresses.map((ip) => ({ network: '', ip })),
    ports: [...ports],
    subjectAltNames: [],
    ipFamilies: 'automatic',
    weightedWaypoints: [],
    loadBalancing: { routingPreference: [], mode: 'unspecified', allowUnhealthy: false },
    canonical: true,
    visibility: 'public',
    ...changes,
  };
}

const source = toyWorkload('client', '198.18.0.2');
const member = (keys: readonly string[]) => keys.map((key) => ({ service: key, ports: [...ports] }));

function dial(ip: string, port: number, upserts: readonly (Workload | Service)[]) {
  const store = new WorkloadStore();
  store.apply({ upserts: [source, ...upserts], removed: [] });
  return readDialled(store, source, { ip, port }, resolveUpstream(store, source, { ip, port }));
}

describe('ztunnel/egress/dialled', () => {
  const pod = toyWorkload('web', '198.18.1.2', { services: member([KEY, HEADLESS]) });
  const all = [pod, service(KEY, [VIP, VIP6]), service(HEADLESS, [])];

  it('takes a virtual address for its Service, of either family, with the identity of the pod that was chosen', () => {
    for (const ip of [VIP, VIP6, `::ffff:${VIP}`]) {
      const { facts, workload } = dial(ip, 80, all);
      assert.deepEqual(facts.services, [KEY]);
      assert.equal(facts.namespace, 'default');
      assert.deepEqual(facts.identity, pod.identity);
      assert.equal(facts.known, true);
      assert.equal(workload?.uid, pod.uid);
    }
  });

  it('knows no identity of what is outside the mesh, nor of what is behind a waypoint', () => {
    const outside = { ...pod, tunnelProtocol: 'none' as const };
    assert.equal(dial(VIP, 80, [outside, service(KEY, [VIP])]).facts.identity, undefined);
    assert.equal(dial('198.18.1.2', 8080, [outside]).facts.identity, undefined);
    const waypoint = {
      by: 'hostname',
      service: 'default/w.default.svc.cluster.local',
      hboneMtlsPort: 15008,
    } as const;
    const behind = dial(VIP, 80, [
      pod,
      service(KEY, [VIP], { waypoint }),
      service(waypoint.service, ['198.19.0.9']),
      toyWorkload('w', '198.18.3.3', { services: [{ service: waypoint.service, ports: [] }] }),
    ]);
    assert.deepEqual(behind.facts.services, [KEY]);
    assert.equal(behind.facts.identity, undefined);
    assert.equal(behind.workload, undefined);
  });

  it('knows no identity of a pod that has a waypoint of its own, which alone proves one to the caller', () => {
    const waypoint = {
      by: 'hostname',
      service: 'default/w.default.svc.cluster.local',
      hboneMtlsPort: 15008,
    } as const;
    const { facts, workload } = dial('198.18.1.2', 8080, [
      { ...pod, waypoint },
      service(waypoint.service, ['198.19.0.9']),
      toyWorkload('w', '198.18.3.3', { services: [{ service: waypoint.service, ports: [] }] }),
    ]);
    assert.equal(workload?.uid, pod.uid);
    assert.equal(facts.identity, undefined);
  });

  it('knows no identity where the peer may present several', () => {
    const subjectAltNames = ['spiffe://cluster.local/ns/default/sa/other'];
    const { facts } = dial(VIP, 80, [pod, service(KEY, [VIP], { subjectAltNames })]);
    assert.deepEqual(facts.services, [KEY]);
    assert.equal(facts.identity, undefined);
  });

  it('takes a pod by its address for that pod, and for its headless Services at their ports', () => {
    const { facts } = dial('198.18.1.2', 8080, all);
    assert.deepEqual(facts.services, [HEADLESS], 'and for no Service with an address of its own');
    assert.deepEqual(facts.identity, pod.identity);
    assert.deepEqual(dial('198.18.1.2', 9090, all).facts.services, []);
    assert.match(facts.text, /pod default\/web port 8080 by its address/);
  });

  it('keeps a Service what it is when nothing can be reached behind it', () => {
    const { facts, workload } = dial(VIP, 80, [service(KEY, [VIP])]);
    assert.deepEqual(facts.services, [KEY]);
    assert.equal(facts.identity, undefined);
    assert.equal(workload, undefined);
  });

  it('knows nothing of other addresses but the address', () => {
    const { facts } = dial('192.0.2.1', 443, all);
    assert.equal(facts.known, false);
    assert.deepEqual([facts.services, facts.namespace, facts.identity], [[], undefined, undefined]);
    assert.equal(facts.text, '192.0.2.1:443');
    assert.equal(dial('2001:db8::1', 443, all).facts.text, '[2001:db8::1]:443');
  });
});
