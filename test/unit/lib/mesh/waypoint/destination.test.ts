import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'mocha';
import { Protocol } from '../../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import type { Service, Workload } from '../../../../../lib/mesh/state/model.ts';
import { ConfigStore } from '../../../../../lib/mesh/waypoint/config-store.ts';
import { findDestination, type Destination } from '../../../../../lib/mesh/waypoint/destination.ts';
import { port, serves, service as meshService, storeOf, workload } from '../state/mesh.ts';
import { key, service, upsert } from '../../../waypoint/support/resources.ts';

const WAYPOINT_VIP = '10.96.0.250';
const OWN = { by: 'hostname', service: key('waypoint'), hboneMtlsPort: 15008 } as const;

describe('waypoint/state/destination', () => {
  let config: ConfigStore;

  beforeEach(() => {
    config = new ConfigStore();
    config.apply(
      upsert(
        service('pay', { ports: [{ port: 80, protocol: Protocol.HTTP1 }, { port: 9000 }] }),
        // A backend of a route: known, and not behind this waypoint.
        service('mail', { served: false }),
      ),
    );
  });

  function find(resources: (Workload | Service)[], ip: string, to = 80): Destination {
    return findDestination(
      {
        config,
        workloads: storeOf(meshService('waypoint', WAYPOINT_VIP), ...resources),
        network: '',
        ownService: key('waypoint'),
      },
      { ip, port: to },
    );
  }

  const refusal = (found: Destination): number | undefined =>
    found.kind === 'refused' ? found.status : undefined;

  it('finds a Service that is behind this waypoint by its address, with the protocol of the port', () => {
    const found = find([meshService('pay', '10.96.0.7')], '10.96.0.7');
    assert.ok(found.kind === 'service');
    assert.equal(found.service.key, key('pay'));
    assert.deepEqual([found.port, found.protocol, found.pinned], [80, Protocol.HTTP1, undefined]);
  });

  it('refuses a port that the Service does not have', () => {
    assert.equal(refusal(find([meshService('pay', '10.96.0.7')], '10.96.0.7', 81)), 503);
  });

  describe('is no open proxy:', () => {
    it('refuses Services that it knows as backends only, or not at all', () => {
      assert.equal(refusal(find([meshService('mail', '10.96.0.8')], '10.96.0.8')), 404);
      assert.equal(refusal(find([meshService('other', '10.96.0.9')], '10.96.0.9')), 404);
      assert.equal(refusal(find([], WAYPOINT_VIP)), 404);
    });

    it('refuses addresses that nobody has, and ranges', () => {
      const range = meshService('pay', undefined, {
        addresses: [{ network: '', ip: '192.0.2.0', range: { bytes: [192, 0, 2, 0], length: 24 } }],
      });
      for (const ip of ['203.0.113.1', '127.0.0.1', '169.254.169.254', '192.0.2.9'])
        assert.equal(refusal(find([range], ip)), 404, ip);
    });

    it('refuses what is no address', () => {
      assert.equal(refusal(find([], 'payments')), 400);
    });

    it('refuses pods without a Service here and without this waypoint', () => {
      const mail = { services: [serves('mail')] };
      const theirs = { ...OWN, service: key('other-waypoint') };
      assert.equal(refusal(find([workload('a', '10.0.0.1')], '10.0.0.1')), 404);
      assert.equal(refusal(find([workload('a', '10.0.0.1', mail)], '10.0.0.1', 8080)), 404);
      assert.equal(refusal(find([workload('a', '10.0.0.1', { waypoint: theirs })], '10.0.0.1')), 404);
    });

    it('refuses ports of a pod that its Service does not lead to', () => {
      const pod = workload('a', '10.0.0.1', { services: [serves('pay')] });
      assert.equal(refusal(find([meshService('pay', '10.96.0.7'), pod], '10.0.0.1', 22)), 404);
      // The Service's port is not the pod's.
      assert.equal(refusal(find([meshService('pay', '10.96.0.7'), pod], '10.0.0.1', 80)), 404);
    });

    it('refuses addresses of another network', () => {
      const elsewhere = { addresses: [{ network: 'west', ip: '10.96.0.7' }] };
      assert.equal(refusal(find([meshService('pay', undefined, elsewhere)], '10.96.0.7')), 404);
      const pod = workload('a', '10.0.0.1', { network: 'west', services: [serves('pay')] });
      assert.equal(refusal(find([pod], '10.0.0.1', 8080)), 404);
    });
  });

  it('pins a pod that was dialled to itself, at the port of the Service that leads there', () => {
    const pod = workload('a', '10.0.0.1', { services: [serves('pay')] });
    const found = find([meshService('pay', '10.96.0.7'), pod], '10.0.0.1', 8080);
    assert.ok(found.kind === 'service');
    assert.deepEqual([found.service.key, found.port, found.protocol], [key('pay'), 80, Protocol.HTTP1]);
    assert.deepEqual(found.pinned, { workload: pod, port: 8080 });
  });

  it('finds the pods of a headless Service', () => {
    const pod = workload('a', '10.0.0.1', { services: [serves('pay', port(80, 80))] });
    const headless = meshService('pay', undefined, { ports: [port(80, 80)] });
    const found = find([headless, pod], '10.0.0.1');
    assert.ok(found.kind === 'service' && found.pinned?.workload === pod);
  });

  it('takes the target port from the pod where the Service names it', () => {
    const named = meshService('pay', '10.96.0.7', { ports: [port(80, 0), port(9000, 0)] });
    const pod = workload('a', '10.0.0.1', { services: [serves('pay', port(80, 8081), port(9000, 9001))] });
    const found = find([named, pod], '10.0.0.1', 9001);
    assert.ok(found.kind === 'service');
    assert.deepEqual([found.port, found.pinned?.port], [9000, 9001]);
    // A pod that does not say it has no such port, not the Service's number.
    const silent = workload('b', '10.0.0.2', { services: [serves('pay', port(80, 0))] });
    assert.equal(refusal(find([named, silent], '10.0.0.2', 80)), 404);
  });

  it("takes the pod's own target port before the Service's", () => {
    const pod = workload('a', '10.0.0.1', { services: [serves('pay', port(80, 8081))] });
    const pay = meshService('pay', '10.96.0.7');
    assert.equal(find([pay, pod], '10.0.0.1', 8081).kind, 'service');
    assert.equal(refusal(find([pay, pod], '10.0.0.1', 8080)), 404);
  });

  it('takes of several Services of a pod the one that is behind this waypoint', () => {
    const pod = workload('a', '10.0.0.1', { services: [serves('mail'), serves('pay')] });
    const found = find(
      [meshService('mail', '10.96.0.8'), meshService('pay', '10.96.0.7'), pod],
      '10.0.0.1',
      8080,
    );
    assert.ok(found.kind === 'service' && found.service.key === key('pay'));
  });

  for (const [by, waypoint] of [
    ['name', OWN],
    ['address', { by: 'address', address: { network: '', ip: WAYPOINT_VIP }, hboneMtlsPort: 15008 }],
  ] as const) {
    it(`carries to any port of a pod that has this waypoint of its own, by ${by}`, () => {
      const pod = workload('a', '10.0.0.1', { waypoint, services: [serves('pay')] });
      const found = find([meshService('pay', '10.96.0.7'), pod], '10.0.0.1', 22);
      assert.deepEqual(found, { kind: 'workload', workload: pod, port: 22 });
      // What a Service leads to goes by the Service's rules all the same.
      assert.equal(find([meshService('pay', '10.96.0.7'), pod], '10.0.0.1', 8080).kind, 'service');
    });
  }
});
