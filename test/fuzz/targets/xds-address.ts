import assert from 'node:assert/strict';
import net from 'node:net';
import { create, fromBinary, toBinary, type MessageInitShape } from '@bufbuild/protobuf';
import { LoamError } from '../../../lib/loam-error.ts';
import { decodeAddress } from '../../../lib/mesh/state/decode.ts';
import { WorkloadStore } from '../../../lib/mesh/state/workload-store.ts';
import { AddressSchema } from '../../../proto/gen/istio/workload/workload_pb.js';
import { mutateProtobuf } from '../engine/mutate-protobuf.ts';
import type { FuzzTarget } from '../engine/target.ts';

const ip = (...bytes: number[]): Uint8Array => Uint8Array.from(bytes);
const wire = (type: NonNullable<MessageInitShape<typeof AddressSchema>['type']>): Uint8Array =>
  toBinary(AddressSchema, create(AddressSchema, { type }));
const gateway = {
  destination: { case: 'hostname', value: { namespace: 'shop', hostname: 'wp.shop.svc' } },
} as const;

/** The name that a server would give the resource: what it says of itself. */
function nameOf(bytes: Uint8Array): string {
  try {
    const { type } = fromBinary(AddressSchema, bytes);
    if (type.case === 'service') return `${type.value.namespace}/${type.value.hostname}`;
    return type.case === 'workload' ? type.value.uid : '';
  } catch {
    return '';
  }
}

/** An `istio.workload.Address`, taken into a store as a node does. */
export const target: FuzzTarget = {
  name: 'xds-address',
  mutate: mutateProtobuf,
  seeds: [
    wire({
      case: 'workload',
      value: {
        uid: 'Kubernetes//Pod/shop/web-1',
        name: 'web-1',
        namespace: 'shop',
        serviceAccount: 'web',
        addresses: [ip(198, 18, 0, 1), ip(0xfd, ...Array<number>(14).fill(0), 1)],
        tunnelProtocol: 1,
        node: 'node-a',
        waypoint: gateway,
        services: { 'shop/web.shop.svc': { ports: [{ servicePort: 80, targetPort: 8080 }] } },
        authorizationPolicies: ['shop/p'],
        capacity: 2,
        locality: { region: 'r', zone: 'z', subzone: 's' },
        applicationTunnel: { protocol: 1, port: 15_088 },
      },
    }),
    wire({
      case: 'service',
      value: {
        name: 'web',
        namespace: 'shop',
        hostname: 'web.shop.svc',
        addresses: [
          { network: '', address: ip(198, 19, 0, 1), length: 32 },
          { network: 'n', address: ip(198, 19, 1, 0), length: 24 },
        ],
        ports: [{ servicePort: 80, targetPort: 8080, appProtocol: 2 }],
        subjectAltNames: ['spiffe://cluster.local/ns/shop/sa/web'],
        waypoint: gateway,
        weightedWaypoints: [{ destination: gateway, weight: 5 }],
        loadBalancing: { routingPreference: [1, 4], mode: 2, healthPolicy: 1 },
      },
    }),
  ],
  run(input) {
    const name = nameOf(input);
    let value;
    try {
      value = decodeAddress(name, input);
    } catch (error) {
      // Never another error than ours: it would end the stream, and with it everybody's configuration.
      assert.ok(error instanceof LoamError, String(error));
      assert.ok(error.message.length < 2_000, 'an error of bounded length');
      return;
    }
    assert.deepEqual(decodeAddress(name, input), value, 'the same bytes mean the same');
    assert.throws(() => decodeAddress(`${name}x`, input), LoamError, 'of another name');
    for (const address of value.addresses)
      assert.notEqual(net.isIP(typeof address === 'string' ? address : address.ip), 0);
    const store = new WorkloadStore();
    store.apply({ upserts: [value], removed: [] });
    store.apply({ upserts: [value, value], removed: [name, name, 'unknown'] });
    if (value.kind === 'workload')
      for (const address of value.addresses)
        assert.equal(store.workloadAt(value.network, address), undefined, 'removed is gone');
    else assert.equal(store.service(value.key), undefined, 'removed is gone');
  },
};
