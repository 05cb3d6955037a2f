import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'mocha';
import type { Service, Workload } from '../../../../lib/mesh/state/model.ts';
import { WorkloadStore } from '../../../../lib/mesh/state/workload-store.ts';
import { ConfigStore } from '../../../../lib/mesh/waypoint/config-store.ts';
import { ClusterStore } from '../../../../waypoint/upstream/cluster-store.ts';
import type { EndpointDialer } from '../../../../waypoint/upstream/endpoint-connector.ts';
import type { UpstreamCluster } from '../../../../waypoint/upstream/upstream-cluster.ts';
import { port, serves, service as meshService, workload } from '../../lib/mesh/state/mesh.ts';
import { key, remove, service, trafficPolicy, upsert } from '../support/resources.ts';

const OURS = { by: 'hostname', service: key('waypoint'), hboneMtlsPort: 15008 } as const;
const THEIRS = { ...OURS, service: key('other') };

describe('waypoint/upstream/upstream-cluster', () => {
  let workloads: WorkloadStore;
  let config: ConfigStore;
  let clusters: ClusterStore;
  let self: Workload | undefined;

  beforeEach(() => {
    workloads = new WorkloadStore();
    config = new ConfigStore();
    self = undefined;
    clusters = new ClusterStore(config, {
      // Nothing is dialled here.
      dialer: {} as EndpointDialer,
      workloads,
      network: '',
      ownService: key('waypoint'),
      self: () => self,
      onOutlier: () => undefined,
    });
    config.apply(upsert(service('pay')));
  });

  const tell = (...upserts: (Workload | Service)[]) => workloads.apply({ upserts, removed: [] });
  const forget = (...removed: string[]) => workloads.apply({ upserts: [], removed });
  const pay = (): UpstreamCluster => clusters.get(key('pay'), 80);
  const addresses = (): string[] => [...pay().peers].map(({ address }) => address).sort();
  const pod = (name: string, ip: string, more: Partial<Workload> = {}) =>
    workload(name, ip, { services: [serves('pay')], ...more });

  it('has nobody for a Service that is not known, or has no such port', () => {
    assert.equal(pay().cluster.pick(), 'no-endpoints');
    tell(meshService('pay', '10.96.0.7', { ports: [port(81)] }), pod('a', '10.0.0.1'));
    assert.equal(pay().cluster.pick(), 'no-endpoints');
  });

  it('goes to the target port through the tunnel of each pod, as its own identity or one of the Service', () => {
    const san = 'spiffe://cluster.local/ns/shop/sa/shared';
    tell(meshService('pay', '10.96.0.7', { subjectAltNames: [san, 'pay.shop'] }), pod('a', '10.0.0.1'));
    const [peer] = [...pay().peers];
    assert.deepEqual(peer?.path, {
      via: 'hbone',
      tunnel: { ip: '10.0.0.1', port: 15008 },
      tunnelUid: 'Kubernetes//Pod/shop/a',
      expectedIdentities: ['spiffe://cluster.local/ns/shop/sa/a', san],
      target: { ip: '10.0.0.1', port: 8080 },
    });
  });

  it('goes straight to a pod that has no tunnel, and to the port that it says itself', () => {
    const own = { tunnelProtocol: 'none', services: [serves('pay', port(80, 9090))] } as const;
    tell(meshService('pay', '10.96.0.7'), pod('a', '10.0.0.1', own));
    assert.deepEqual([...pay().peers][0]?.path, { via: 'direct', target: { ip: '10.0.0.1', port: 9090 } });
  });

  it('leaves out pods of another network, without an address, or without the named port', () => {
    tell(
      meshService('pay', '10.96.0.7', { ports: [port(80, 0)] }),
      pod('a', '10.0.0.1', { network: 'west' }),
      pod('b', '10.0.0.2', { addresses: [] }),
      pod('c', '10.0.0.3', { services: [serves('pay', port(80, 0))] }),
      pod('d', '10.0.0.4', { services: [serves('pay', port(80, 8081))] }),
    );
    assert.deepEqual(addresses(), ['10.0.0.4:8081']);
  });

  it('keeps the peers whose path stays, and their workload up to date', () => {
    tell(meshService('pay', '10.96.0.7'), pod('a', '10.0.0.1'), pod('b', '10.0.0.2'));
    const before = new Map([...pay().peers].map((peer) => [peer.address, peer]));
    const relabelled = pod('a', '10.0.0.1', { canonicalRevision: 'v2' });
    tell(relabelled);
    forget('Kubernetes//Pod/shop/b');
    assert.deepEqual(addresses(), ['10.0.0.1:8080']);
    const [after] = [...pay().peers];
    assert.equal(after, before.get('10.0.0.1:8080'));
    assert.equal(after?.workload, relabelled);
  });

  it('makes a new peer where the address or the identity changed', () => {
    tell(meshService('pay', '10.96.0.7'), pod('a', '10.0.0.1'));
    const [first] = [...pay().peers];
    tell(pod('a', '10.0.0.9'));
    const [second] = [...pay().peers];
    assert.equal(second?.address, '10.0.0.9:8080');
    const renamed = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'new' };
    tell(pod('a', '10.0.0.9', { identity: renamed }));
    const [third] = [...pay().peers];
    assert.notEqual(first, second);
    assert.notEqual(second, third);
    assert.equal(third?.identity, 'spiffe://cluster.local/ns/shop/sa/new');
  });

  it('hears of pods that come, and of those that fail their probes', () => {
    tell(meshService('pay', '10.96.0.7'));
    assert.deepEqual(addresses(), []);
    tell(pod('a', '10.0.0.1', { healthy: false }));
    assert.equal(pay().cluster.pick(), 'none-healthy');
    tell(pod('a', '10.0.0.1'));
    assert.notEqual(typeof pay().cluster.pick(), 'string');
    forget(key('pay'));
    assert.equal(pay().cluster.pick(), 'no-endpoints');
  });

  it('takes failing pods too where the Service says so', () => {
    const loadBalancing = { routingPreference: [], mode: 'unspecified', allowUnhealthy: true } as const;
    tell(meshService('pay', '10.96.0.7', { loadBalancing }), pod('a', '10.0.0.1', { healthy: false }));
    assert.notEqual(typeof pay().cluster.pick(), 'string');
  });

  it('prefers near pods by failover, and knows no others by strict', () => {
    const zone = (name: string) => ({ locality: { region: 'r', zone: name, subzone: '' } });
    self = workload('waypoint', '10.0.0.100', zone('z1'));
    const balancing = (mode: 'failover' | 'strict') =>
      ({ routingPreference: ['region', 'zone'], mode, allowUnhealthy: false }) as const;
    const pods = [pod('far', '10.0.0.2', zone('z2')), pod('near', '10.0.0.1', zone('z1'))];
    tell(meshService('pay', '10.96.0.7', { loadBalancing: balancing('failover') }), ...pods);
    const picked = (): string => {
      const endpoint = pay().cluster.pick();
      return typeof endpoint === 'string' ? endpoint : endpoint.address;
    };
    assert.deepEqual([addresses().length, picked()], [2, '10.0.0.1']);
    tell(pod('near', '10.0.0.1', { ...zone('z1'), healthy: false }));
    assert.equal(picked(), '10.0.0.2');
    tell(meshService('pay', '10.96.0.7', { loadBalancing: balancing('strict') }));
    assert.equal(picked(), 'none-healthy');
  });

  describe('where another waypoint stands before the Service', () => {
    const instance = (name: string, ip: string) => workload(name, ip, { services: [serves('other')] });

    beforeEach(() => {
      tell(meshService('pay', '10.96.0.7', { waypoint: THEIRS }), pod('a', '10.0.0.1'));
    });

    it('goes to its instances, and names the Service to them', () => {
      tell(meshService('other', '10.96.0.9'), instance('w1', '10.0.1.1'));
      const [peer] = [...pay().peers];
      assert.deepEqual(peer?.path, {
        via: 'hbone',
        tunnel: { ip: '10.0.1.1', port: 15008 },
        tunnelUid: 'Kubernetes//Pod/shop/w1',
        expectedIdentities: ['spiffe://cluster.local/ns/shop/sa/w1'],
        target: { ip: '10.96.0.7', port: 80 },
      });
    });

    it('never goes round it, not even while it has no instance', () => {
      assert.equal(pay().cluster.pick(), 'no-endpoints');
      tell(instance('w1', '10.0.1.1'));
      assert.equal([...pay().peers].length, 1);
      forget('Kubernetes//Pod/shop/w1');
      assert.equal(pay().cluster.pick(), 'no-endpoints');
    });

    it('knows it by its address as well', () => {
      const byAddress = {
        by: 'address',
        address: { network: '', ip: '10.96.0.9' },
        hboneMtlsPort: 0,
      } as const;
      tell(instance('w1', '10.0.1.1'), meshService('pay', '10.96.0.7', { waypoint: byAddress }));
      assert.equal(pay().cluster.pick(), 'no-endpoints');
      tell(meshService('other', '10.96.0.9'));
      assert.deepEqual(
        [...pay().peers].map(({ path }) => path.via === 'hbone' && path.tunnel.ip),
        ['10.0.1.1'],
      );
    });

    it('goes to the pods where the waypoint is our own', () => {
      tell(meshService('pay', '10.96.0.7', { waypoint: OURS }));
      assert.deepEqual(addresses(), ['10.0.0.1:8080']);
    });
  });
});

describe('waypoint/upstream/cluster-store', () => {
  it('configures a backend by the policy of its Service, and anew when that changes', () => {
    const [config, workloads] = [new ConfigStore(), new WorkloadStore()];
    const clusters = new ClusterStore(config, {
      dialer: {} as EndpointDialer,
      workloads,
      network: '',
      ownService: key('waypoint'),
      self: () => undefined,
      onOutlier: () => undefined,
    });
    workloads.apply({
      upserts: [meshService('pay', '10.96.0.7'), workload('a', '10.0.0.1', { services: [serves('pay')] })],
      removed: [],
    });
    const policy = (maxRequests: number) => trafficPolicy('p', { circuitBreaker: { maxRequests } });
    config.apply(upsert(service('pay', { trafficPolicy: 'shop/p' }), policy(1)));
    const cluster = clusters.get(key('pay'), 80);
    const endpoint = cluster.cluster.pick();
    assert.ok(typeof endpoint !== 'string');
    cluster.cluster.begin(endpoint);
    assert.equal(clusters.get(key('pay'), 80).cluster.pick(), 'circuit-open');
    config.apply(upsert(policy(2)));
    assert.equal(clusters.get(key('pay'), 80), cluster);
    assert.notEqual(typeof cluster.cluster.pick(), 'string');
    assert.notEqual(clusters.get(key('pay'), 81), cluster);
    assert.equal([...clusters.all()].length, 2);
    config.apply(remove(service('pay')));
    assert.deepEqual([...clusters.all()], []);
    assert.deepEqual([...cluster.peers], []);
  });
});
