import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { Service, ServiceFamilies, Workload } from '../../../../../lib/mesh/state/model.ts';
import { resolveUpstream, type Upstream } from '../../../../../lib/mesh/outbound/upstream.ts';
import { port, service, serves, storeOf, workload } from '../state/mesh.ts';

const VIP4 = '198.19.0.1';
const VIP6 = 'fd99::1';

const client = (...addresses: string[]) => workload('client', '', { addresses });
const backend = (name: string, ...addresses: string[]) =>
  workload(name, '', { addresses, services: [serves('web')] });
const web = (ipFamilies: ServiceFamilies): Service =>
  service('web', undefined, {
    ipFamilies,
    addresses: [
      { network: '', ip: VIP4 },
      { network: '', ip: VIP6 },
    ],
  });

function ask(source: Workload, resources: (Workload | Service)[], ip: string, at = 80): Upstream {
  return resolveUpstream(storeOf(source, ...resources), source, { ip, port: at }, () => 0.99);
}
function brief(up: Upstream): string {
  if (up.kind === 'refused') return `refused ${up.code}`;
  return up.kind === 'waypoint' ? `waypoint ${up.address}` : `${up.kind} ${up.address}`;
}

describe('outbound decision: families', () => {
  const dual = client('10.0.0.1', 'fd00::1');

  it('goes to the pod address or virtual address of either family', () => {
    const all = [web('dual'), backend('a', '10.0.0.2', 'fd00::2')];
    assert.equal(brief(ask(dual, all, VIP4)), 'hbone 10.0.0.2');
    assert.equal(brief(ask(dual, all, VIP6)), 'hbone fd00::2');
    assert.equal(brief(ask(dual, all, 'FD99:0::1')), 'hbone fd00::2');
    assert.equal(brief(ask(dual, all, '::ffff:198.19.0.1')), 'hbone 10.0.0.2');
    assert.equal(brief(ask(dual, all, 'fd00::2', 8080)), 'hbone fd00::2');
    assert.equal(brief(ask(dual, all, '2001:db8::5', 443)), 'passthrough 2001:db8::5');
  });

  it('crosses over to the family that an endpoint has', () => {
    assert.equal(brief(ask(dual, [web('dual'), backend('a', 'fd00::2')], VIP4)), 'hbone fd00::2');
    assert.equal(brief(ask(dual, [web('automatic'), backend('a', '10.0.0.2')], VIP6)), 'hbone 10.0.0.2');
  });

  it("does not where the service's families or the source's forbid it, and says which", () => {
    assert.equal(
      brief(ask(dual, [web('ipv4'), backend('a', 'fd00::2')], VIP4)),
      'refused family-unreachable',
    );
    const only4 = client('10.0.0.1');
    const refused = ask(only4, [web('dual'), backend('a', 'fd00::2')], VIP4);
    assert.equal(brief(refused), 'refused family-unreachable');
    assert.match(refused.kind === 'refused' ? refused.reason : '', /fd00::2 from 10\.0\.0\.1/);
    assert.equal(
      brief(ask(client('fd00::1'), [web('dual'), backend('a', '10.0.0.2')], VIP6)),
      'refused family-unreachable',
    );
    // The random number would choose b.
    const two = [web('dual'), backend('a', '10.0.0.2'), backend('b', 'fd00::2')];
    assert.equal(brief(ask(only4, two, VIP4)), 'hbone 10.0.0.2');
  });

  it('an endpoint that is unhealthy is not called unreachable', () => {
    const sick = workload('a', '', { addresses: ['fd00::2'], services: [serves('web')], healthy: false });
    assert.equal(brief(ask(client('10.0.0.1'), [web('dual'), sick], VIP4)), 'refused no-healthy-upstream');
  });

  it('reaches a waypoint in a family that both have, and names what was dialled', () => {
    const HBONE = port(15008, 15008);
    const instance = workload('wp-0', '', {
      addresses: ['10.0.9.1', 'fd00::9'],
      services: [serves('wp', HBONE)],
    });
    const gateway = {
      by: 'hostname',
      service: 'shop/wp.shop.svc.cluster.local',
      hboneMtlsPort: 15008,
    } as const;
    const all = [
      { ...web('dual'), waypoint: gateway },
      service('wp', '198.19.0.9', { ports: [HBONE] }),
      instance,
    ];
    const up = ask(dual, all, VIP6);
    assert.ok(up.kind === 'waypoint');
    assert.equal(up.address, 'fd00::9');
    assert.deepEqual(up.authority, { ip: VIP6, port: 80 });
    assert.equal(brief(ask(client('10.0.0.1'), all, VIP6)), 'waypoint 10.0.9.1');
  });

  it('refuses the reserved ports of both of its own addresses', () => {
    for (const ip of ['10.0.0.1', 'fd00::1', '::1', '127.9.9.9', '::ffff:10.0.0.1'])
      assert.equal(brief(ask(dual, [], ip, 15008)), 'refused reserved-port', ip);
  });
});
