import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { GatewayAddress, Service, Workload } from '../../../../../lib/mesh/state/model.ts';
import { resolveUpstream, type Upstream } from '../../../../../lib/mesh/outbound/upstream.ts';
import { port, service, serves, storeOf, workload } from '../state/mesh.ts';

const SOURCE = workload('client', '10.0.0.1', { locality: { region: 'r1', zone: 'z1', subzone: '' } });
const VIP = '198.19.0.1';
const WAYPOINT: GatewayAddress = {
  by: 'hostname',
  service: 'shop/wp.shop.svc.cluster.local',
  hboneMtlsPort: 15008,
};

const HBONE = port(15008, 15008);
const instance = (name: string, ip: string, more: Partial<Workload> = {}) =>
  workload(name, ip, {
    services: [serves('wp', HBONE)],
    identity: { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'wp' },
    ...more,
  });
/** The waypoint's Service and one instance. */
const WAYPOINT_ONE = [service('wp', '198.19.0.9', { ports: [HBONE] }), instance('wp-0', '10.0.9.1')];

function ask(resources: (Workload | Service)[], ip: string, at = 80, random = () => 0): Upstream {
  return resolveUpstream(storeOf(SOURCE, ...resources), SOURCE, { ip, port: at }, random);
}
/** `kind address:port`, `waypoint authority via its address:port`, or `refused code`. */
function brief(up: Upstream): string {
  switch (up.kind) {
    case 'refused':
      return `refused ${up.code}`;
    case 'waypoint':
      return `waypoint ${up.authority.ip}:${up.authority.port} via ${up.address}:${up.hbonePort}`;
    default:
      return `${up.kind} ${up.address}:${up.targetPort}`;
  }
}
const backend = (name: string, ip: string, more: Partial<Workload> = {}) =>
  workload(name, ip, { services: [serves('web')], ...more });

describe('outbound decision', () => {
  it('refuses a pod that is not known yet, and reserved ports of the pod itself', () => {
    const store = storeOf(SOURCE);
    assert.equal(brief(resolveUpstream(store, undefined, { ip: VIP, port: 80 })), 'refused source-unknown');
    for (const ip of ['10.0.0.1', '::ffff:10.0.0.1', '127.0.0.1', '::1']) {
      for (const reserved of [15001, 15006, 15008, 15053])
        assert.equal(brief(ask([], ip, reserved)), 'refused reserved-port');
    }
    assert.equal(brief(ask([], '10.0.0.1', 8080)), 'hbone 10.0.0.1:8080');
    assert.equal(brief(ask([], '10.0.0.9', 15008)), 'passthrough 10.0.0.9:15008');
    assert.equal(brief(ask([], 'nonsense')), 'refused bad-address');
  });

  it('passes through what the mesh does not know', () => {
    assert.equal(brief(ask([], '192.0.2.1', 443)), 'passthrough 192.0.2.1:443');
    assert.equal(
      brief(ask([workload('b', '10.0.0.2', { network: 'n2' })], '10.0.0.2')),
      'passthrough 10.0.0.2:80',
    );
  });

  it('goes to a workload by HBONE or directly', () => {
    assert.equal(brief(ask([workload('b', '10.0.0.2')], '::ffff:10.0.0.2', 5432)), 'hbone 10.0.0.2:5432');
    assert.equal(
      brief(ask([workload('b', '10.0.0.2', { tunnelProtocol: 'none' })], '10.0.0.2')),
      'direct 10.0.0.2:80',
    );
    const legacy = workload('b', '10.0.0.2', { tunnelProtocol: 'legacy-istio-mtls' });
    assert.equal(brief(ask([legacy], '10.0.0.2')), 'direct 10.0.0.2:80');
  });

  it('expects the identity of the workload, and those of the services by which it is reached', () => {
    const san = 'spiffe://cluster.local/ns/shop/sa/extra';
    const resources = [
      service('web', VIP, { subjectAltNames: [san, 'dns.example', 'spiffe://bad'] }),
      service('other', '198.19.0.2', { subjectAltNames: ['spiffe://cluster.local/ns/shop/sa/other'] }),
      backend('b', '10.0.0.2', { services: [serves('web'), serves('other'), serves('unknown')] }),
    ];
    const own = 'spiffe://cluster.local/ns/shop/sa/b';
    const byVip = ask(resources, VIP);
    assert.deepEqual(byVip.kind === 'hbone' && byVip.expectedIdentities, [own, san]);
    assert.equal(byVip.kind === 'hbone' && byVip.service?.name, 'web');
    const byIp = ask(resources, '10.0.0.2');
    assert.deepEqual(byIp.kind === 'hbone' && byIp.expectedIdentities, [
      own,
      san,
      'spiffe://cluster.local/ns/shop/sa/other',
    ]);
  });

  describe('to a service', () => {
    it('takes the endpoint’s port mapping, else the service’s; a named port that an endpoint lacks excludes it', () => {
      const own = backend('b', '10.0.0.2', { services: [serves('web', port(80, 9090))] });
      assert.equal(brief(ask([service('web', VIP), own], VIP)), 'hbone 10.0.0.2:9090');
      const none = backend('b', '10.0.0.2', { services: [serves('web', port(81, 9090))] });
      assert.equal(brief(ask([service('web', VIP), none], VIP)), 'hbone 10.0.0.2:8080');
      const named = service('web', VIP, { ports: [port(80, 0)] });
      assert.equal(brief(ask([named, own], VIP)), 'hbone 10.0.0.2:9090');
      assert.equal(brief(ask([named, none], VIP)), 'refused no-healthy-upstream');
    });

    it('refuses a port that the service does not have', () => {
      const up = ask([service('web', VIP), backend('b', '10.0.0.2')], VIP, 81);
      assert.equal(brief(up), 'refused service-port-unknown');
      assert.match(up.kind === 'refused' ? up.reason : '', /shop\/web\.shop.* port 81, only 80/);
    });

    it('leaves out the unhealthy, unless the service wants them', () => {
      const ill = backend('ill', '10.0.0.2', { healthy: false });
      const up = ask([service('web', VIP), ill], VIP);
      assert.equal(brief(up), 'refused no-healthy-upstream');
      assert.match(up.kind === 'refused' ? up.reason : '', /no healthy upstream/);
      assert.equal(
        brief(ask([service('web', VIP), ill, backend('b', '10.0.0.3')], VIP)),
        'hbone 10.0.0.3:8080',
      );
      const all = { routingPreference: [], mode: 'unspecified', allowUnhealthy: true } as const;
      assert.equal(
        brief(ask([service('web', VIP, { loadBalancing: all }), ill], VIP)),
        'hbone 10.0.0.2:8080',
      );
      assert.equal(brief(ask([service('web', VIP)], VIP)), 'refused no-healthy-upstream');
    });

    it('leaves out endpoints that have only a host name', () => {
      const byName = backend('b', '', { addresses: [], hostname: 'db.example' });
      assert.equal(brief(ask([service('web', VIP), byName], VIP)), 'refused no-healthy-upstream');
    });

    it('of pass-through mode keeps the address', () => {
      const mode = { routingPreference: [], mode: 'passthrough', allowUnhealthy: false } as const;
      const web = service('web', VIP, { loadBalancing: mode });
      assert.equal(brief(ask([web], VIP)), `passthrough ${VIP}:80`);
      assert.equal(brief(ask([web, workload('b', VIP)], VIP)), `hbone ${VIP}:80`);
      assert.equal(
        brief(ask([web, workload('b', VIP, { waypoint: WAYPOINT }), ...WAYPOINT_ONE], VIP)),
        `waypoint ${VIP}:80 via 10.0.9.1:15008`,
      );
      const behind = service('web', VIP, { loadBalancing: mode, waypoint: WAYPOINT });
      assert.equal(brief(ask([behind, ...WAYPOINT_ONE], VIP, 9)), `waypoint ${VIP}:9 via 10.0.9.1:15008`);
    });

    it('is not seen when it is private to another namespace', () => {
      const hidden = service('web', VIP, { namespace: 'other', visibility: 'namespace' });
      assert.equal(brief(ask([hidden], VIP)), `passthrough ${VIP}:80`);
    });
  });

  describe('to a waypoint', () => {
    const web = (more: Partial<Service> = {}) => service('web', VIP, { waypoint: WAYPOINT, ...more });
    const refusal = (up: Upstream) => (up.kind === 'refused' ? `${up.code}: ${up.reason}` : brief(up));

    it('is how a service that has one is reached, whatever its endpoints are', () => {
      const up = ask([web(), ...WAYPOINT_ONE], VIP);
      assert.equal(brief(up), `waypoint ${VIP}:80 via 10.0.9.1:15008`);
      assert.equal(up.kind === 'waypoint' && up.service?.name, 'web');
      assert.equal(up.kind === 'waypoint' && up.waypoint, 'shop/wp.shop.svc.cluster.local');
      assert.equal(brief(ask([web(), ...WAYPOINT_ONE], VIP, 81)), 'refused service-port-unknown');
      assert.equal(
        brief(ask([web(), ...WAYPOINT_ONE, backend('b', '10.0.0.2')], '10.0.0.2', 9)),
        'hbone 10.0.0.2:9',
      );
    });

    it('is how the address of a workload that has one is reached, not its service', () => {
      const resources = [
        service('web', VIP),
        backend('b', '10.0.0.2', { waypoint: WAYPOINT }),
        ...WAYPOINT_ONE,
      ];
      assert.equal(brief(ask(resources, '10.0.0.2', 9)), 'waypoint 10.0.0.2:9 via 10.0.9.1:15008');
      assert.equal(brief(ask(resources, VIP)), 'hbone 10.0.0.2:8080');
    });

    it('expects the identity of the instance and of its Service', () => {
      const san = 'spiffe://cluster.local/ns/shop/sa/extra';
      const wp = service('wp', undefined, { ports: [HBONE], subjectAltNames: [san, 'dns.example'] });
      const up = ask(
        [web({ subjectAltNames: ['spiffe://x/ns/y/sa/z'] }), wp, instance('wp-0', '10.0.9.1')],
        VIP,
      );
      assert.deepEqual(up.kind === 'waypoint' && up.expectedIdentities, [
        'spiffe://cluster.local/ns/shop/sa/wp',
        san,
      ]);
    });

    it('finds it by the address of its Service or of its pod, on the port that is said', () => {
      const by = (ip: string, hboneMtlsPort: number): GatewayAddress => ({
        by: 'address',
        address: { network: '', ip },
        hboneMtlsPort,
      });
      const via = (waypoint: GatewayAddress, ...wp: (Workload | Service)[]) =>
        brief(ask([web({ waypoint }), ...wp], VIP));
      assert.equal(via(by('198.19.0.9', 0), ...WAYPOINT_ONE), `waypoint ${VIP}:80 via 10.0.9.1:15008`);
      assert.equal(via(by('10.0.9.1', 16000), ...WAYPOINT_ONE), `waypoint ${VIP}:80 via 10.0.9.1:16000`);
      const mapped = [
        service('wp', '198.19.0.9', { ports: [port(15008, 16008)] }),
        instance('wp-0', '10.0.9.1', { services: [serves('wp', port(15008, 17008))] }),
      ];
      assert.equal(via(by('198.19.0.9', 15008), ...mapped), `waypoint ${VIP}:80 via 10.0.9.1:17008`);
      assert.equal(via(by('198.19.0.9', 4711), ...mapped), `waypoint ${VIP}:80 via 10.0.9.1:4711`);
    });

    it('refuses with a reason of its own when there is none, and never goes round it', () => {
      const b = backend('b', '10.0.0.2', { waypoint: WAYPOINT });
      for (const ip of [VIP, '10.0.0.2']) {
        const missing = refusal(ask([web(), b], ip));
        assert.match(missing, /^waypoint-missing: .*waypoint shop\/wp\.shop.*check that its Gateway exists/);
        const empty = refusal(ask([web(), b, service('wp', undefined)], ip));
        assert.match(empty, /^waypoint-unhealthy: .*shop\/wp\.shop.*no instance: check that its pods run/);
        const ill = [service('wp', undefined), instance('wp-0', '10.0.9.1', { healthy: false })];
        assert.match(
          refusal(ask([web(), b, ...ill], ip)),
          /^waypoint-unhealthy: .*its 1 instances 0 are healthy/,
        );
        const far = [service('wp', undefined), instance('wp-0', '10.0.9.1', { network: 'n2' })];
        assert.match(refusal(ask([web(), b, ...far], ip)), /^remote-network: .*shop\/wp\.shop/);
      }
      const nowhere: GatewayAddress = {
        by: 'address',
        address: { network: '', ip: '10.9.9.9' },
        hboneMtlsPort: 0,
      };
      assert.match(refusal(ask([web({ waypoint: nowhere }), b], VIP)), /^waypoint-missing: .*10\.9\.9\.9/);
    });

    it('spreads over healthy instances, by locality, and avoids one that failed', () => {
      const near = { locality: { region: 'r1', zone: 'z1', subzone: '' } };
      const instances = [
        instance('wp-0', '10.0.9.1', near),
        instance('wp-1', '10.0.9.2', near),
        instance('wp-2', '10.0.9.3', { ...near, healthy: false }),
        instance('wp-3', '10.0.9.4'),
      ];
      const reachable = (wp: Service, ...avoid: string[]) => {
        const store = storeOf(SOURCE, web(), wp, ...instances);
        const ips = new Set<string>();
        for (let i = 0; i < 100; i++) {
          const up = resolveUpstream(store, SOURCE, { ip: VIP, port: 80 }, () => i / 100, ...avoid);
          ips.add(up.kind === 'waypoint' ? up.address : brief(up));
        }
        return [...ips].sort();
      };
      const plain = service('wp', undefined);
      assert.deepEqual(reachable(plain), ['10.0.9.1', '10.0.9.2', '10.0.9.4']);
      assert.deepEqual(reachable(plain, 'Kubernetes//Pod/shop/wp-1'), ['10.0.9.1', '10.0.9.4']);
      const local = service('wp', undefined, {
        loadBalancing: { mode: 'failover', routingPreference: ['region', 'zone'], allowUnhealthy: false },
      });
      assert.deepEqual(reachable(local), ['10.0.9.1', '10.0.9.2']);
      assert.deepEqual(reachable(local, 'Kubernetes//Pod/shop/wp-0'), ['10.0.9.2']);
    });

    it('is sampled by weight for each connection, where several are given', () => {
      const other: GatewayAddress = {
        by: 'hostname',
        service: 'shop/old.shop.svc.cluster.local',
        hboneMtlsPort: 0,
      };
      const weighted = (a: number, b: number) =>
        service('web', VIP, {
          waypoint: { by: 'hostname', service: 'shop/unused', hboneMtlsPort: 0 },
          weightedWaypoints: [
            { gateway: WAYPOINT, weight: a },
            { gateway: other, weight: b },
          ],
        });
      const both = [
        ...WAYPOINT_ONE,
        service('old', undefined),
        instance('old-0', '10.0.9.5', { services: [serves('old', HBONE)] }),
      ];
      const shares = (web: Service) => {
        const counts = new Map<string, number>();
        for (let i = 0; i < 100; i++) {
          const up = ask([web, ...both], VIP, 80, () => i / 100);
          const to = up.kind === 'waypoint' ? up.address : brief(up);
          counts.set(to, (counts.get(to) ?? 0) + 1);
        }
        return Object.fromEntries(counts);
      };
      assert.deepEqual(shares(weighted(3, 1)), { '10.0.9.1': 75, '10.0.9.5': 25 });
      assert.deepEqual(shares(weighted(0, 1)), { '10.0.9.5': 100 });
      assert.deepEqual(shares(weighted(0, 0)), { 'refused waypoint-missing': 100 });
    });

    it('is not asked of the waypoint itself', () => {
      const wp = workload('wp', '10.0.0.8', { services: [serves('wp')] });
      const byAddress: GatewayAddress = {
        by: 'address',
        address: { network: '', ip: '198.19.0.9' },
        hboneMtlsPort: 0,
      };
      const own: GatewayAddress = {
        by: 'address',
        address: { network: '', ip: '10.0.0.8' },
        hboneMtlsPort: 0,
      };
      for (const waypoint of [WAYPOINT, byAddress, own]) {
        const store = storeOf(
          wp,
          service('wp', '198.19.0.9'),
          service('web', VIP, { waypoint }),
          backend('b', '10.0.0.2', { waypoint }),
        );
        assert.equal(brief(resolveUpstream(store, wp, { ip: VIP, port: 80 })), 'hbone 10.0.0.2:8080');
        assert.equal(brief(resolveUpstream(store, wp, { ip: '10.0.0.2', port: 1 })), 'hbone 10.0.0.2:1');
        assert.match(
          brief(resolveUpstream(store, SOURCE, { ip: VIP, port: 80 })),
          /^waypoint .* via 10\.0\.0\.8:/,
        );
      }
    });
  });

  describe('what this version cannot reach', () => {
    it('is refused by name: endpoints on another network, while none is near', () => {
      const far = backend('far', '10.0.0.3', { network: 'n2' });
      assert.equal(brief(ask([service('web', VIP), far], VIP)), 'refused remote-network');
      assert.equal(
        brief(ask([service('web', VIP), far, backend('b', '10.0.0.2')], VIP)),
        'hbone 10.0.0.2:8080',
      );
    });
  });
});

describe('load balancing', () => {
  const at = (name: string, n: number, more: Partial<Workload> = {}) => backend(name, `10.0.1.${n}`, more);
  const zone = (region: string, name: string) => ({ locality: { region, zone: name, subzone: '' } });
  const balanced = (
    mode: 'strict' | 'failover',
    ...routingPreference: ('region' | 'zone' | 'node' | 'network' | 'cluster')[]
  ) => service('web', VIP, { loadBalancing: { mode, routingPreference, allowUnhealthy: false } });
  /** Every address that some random number leads to. */
  function reachable(resources: (Workload | Service)[]): string[] {
    const found = new Set<string>();
    for (let i = 0; i < 100; i++) found.add(brief(ask(resources, VIP, 80, () => i / 100)));
    return [...found].sort();
  }

  it('chooses by capacity', () => {
    const resources = [
      service('web', VIP),
      at('a', 1, { capacity: 1 }),
      at('b', 2, { capacity: 3 }),
      at('c', 3, { capacity: 0 }),
    ];
    const counts = new Map<string, number>();
    for (let i = 0; i < 400; i++) {
      const to = brief(ask(resources, VIP, 80, () => i / 400));
      counts.set(to, (counts.get(to) ?? 0) + 1);
    }
    assert.deepEqual(
      [...counts],
      [
        ['hbone 10.0.1.1:8080', 100],
        ['hbone 10.0.1.2:8080', 300],
      ],
    );
    assert.equal(brief(ask(resources, VIP, 80, () => 0.9999999999999999)), 'hbone 10.0.1.2:8080');
    assert.equal(
      brief(ask([service('web', VIP), at('c', 3, { capacity: 0 })], VIP)),
      'refused no-healthy-upstream',
    );
  });

  it('strict takes those that share every scope, and nobody else', () => {
    const near = at('near', 1, zone('r1', 'z1'));
    const far = at('far', 2, zone('r1', 'z2'));
    assert.deepEqual(reachable([balanced('strict', 'region', 'zone'), near, far]), ['hbone 10.0.1.1:8080']);
    assert.deepEqual(reachable([balanced('strict', 'region', 'zone'), far]), ['refused no-healthy-upstream']);
    assert.deepEqual(reachable([balanced('strict', 'region'), near, far]), [
      'hbone 10.0.1.1:8080',
      'hbone 10.0.1.2:8080',
    ]);
    assert.deepEqual(reachable([balanced('strict'), far]), ['hbone 10.0.1.2:8080']);
  });

  it('failover takes those that share the most leading scopes', () => {
    const resources = [
      balanced('failover', 'network', 'cluster', 'region', 'zone', 'node'),
      at('elsewhere', 1, zone('r2', 'z1')),
      at('region', 2, zone('r1', 'z2')),
      at('zone', 3, { ...zone('r1', 'z1'), node: 'node-b' }),
      at('ill', 4, { ...zone('r1', 'z1'), healthy: false }),
      at('zero', 5, { ...zone('r1', 'z1'), capacity: 0 }),
    ];
    assert.deepEqual(reachable(resources), ['hbone 10.0.1.3:8080']);
    assert.deepEqual(reachable(resources.toSpliced(3, 1)), ['hbone 10.0.1.2:8080']);
    assert.deepEqual(reachable(resources.toSpliced(2, 2)), ['hbone 10.0.1.1:8080']);
  });
});
