import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { ADDRESS_TYPE, AUTHORIZATION_TYPE } from '../../../../../lib/mesh/xds/delta-service.ts';
import { XdsClient } from '../../../../../lib/mesh/xds/xds-client.ts';
import type { DeltaDiscoveryRequest } from '../../../../../proto/gen/envoy/discovery_pb.js';
import { DeltaServer, wireAddress, type ServedStream } from './delta-server.ts';

const SILENT = { info: () => undefined, warn: () => undefined, debug: () => undefined };
const UID = 'Kubernetes//Pod/shop/a';
const POD = {
  type: {
    case: 'workload' as const,
    value: {
      uid: UID,
      name: 'a',
      namespace: 'shop',
      serviceAccount: 'a',
      addresses: [Uint8Array.of(10, 0, 0, 1)],
    },
  },
};

/** The first requests of a connection, by type. */
async function first(stream: ServedStream): Promise<Map<string, DeltaDiscoveryRequest>> {
  const both = [await stream.next(), await stream.next()];
  return new Map(both.map((request) => [request.typeUrl, request]));
}

describe('xds client on demand', () => {
  it('follows nothing at first, then what is asked for, on a later connection too', async () => {
    const server = await DeltaServer.start();
    const told: string[][] = [];
    const inForce: number[] = [];
    let applied = 0;
    const { address, rootFile, tokenFile } = server;
    const client = new XdsClient({
      ...{ address, rootFile, tokenFile, clusterId: 'Kubernetes', log: SILENT },
      node: { id: 'ztunnel', metadata: {} },
      onAddresses: ({ upserts }) => void (applied += upserts.length),
      onPolicies: () => undefined,
      onReady: () => undefined,
      onTold: (names) => {
        told.push([...names]);
        inForce.push(applied);
      },
    });
    try {
      client.start();
      const stream = await server.stream();
      const began = await first(stream);
      assert.deepEqual(began.get(ADDRESS_TYPE)?.resourceNamesSubscribe, ['*']);
      assert.deepEqual(began.get(ADDRESS_TYPE)?.resourceNamesUnsubscribe, ['*']);
      assert.deepEqual(
        began.get(AUTHORIZATION_TYPE)?.resourceNamesUnsubscribe,
        [],
        'policies are followed all',
      );
      client.ask(['/10.0.0.1', '/10.0.0.9']);
      const { typeUrl, resourceNamesSubscribe } = await stream.next();
      assert.deepEqual([typeUrl, resourceNamesSubscribe], [ADDRESS_TYPE, ['/10.0.0.1', '/10.0.0.9']]);
      const resource = { ...wireAddress(UID, 'v1', POD), aliases: ['/10.0.0.1'] };
      stream.send({
        typeUrl: ADDRESS_TYPE,
        nonce: 'n1',
        resources: [resource],
        removedResources: ['/10.0.0.9'],
      });
      assert.equal((await stream.next()).responseNonce, 'n1');
      assert.deepEqual(told, [[UID, '/10.0.0.1', '/10.0.0.9']]);
      assert.deepEqual(inForce, [1], 'what was told is in force by then');
      client.forget(['/10.0.0.9'], []);
      assert.deepEqual((await stream.next()).resourceNamesUnsubscribe, ['/10.0.0.9']);
      stream.end();
      const again = (await first(await server.stream())).get(ADDRESS_TYPE);
      assert.deepEqual(again?.resourceNamesSubscribe, ['*', '/10.0.0.1']);
      assert.deepEqual(again.resourceNamesUnsubscribe, ['*']);
      assert.deepEqual(again.initialResourceVersions, { [UID]: 'v1' });
    } finally {
      await client.stop();
      await server.clean();
    }
  });
});
