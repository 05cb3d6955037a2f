import assert from 'node:assert/strict';
import { create } from '@bufbuild/protobuf';
import { describe, it } from 'mocha';
import type { CompiledResource } from '../../../../controller/compile/mesh.ts';
import { DeltaStream, type OutgoingResponse } from '../../../../controller/xds/delta-stream.ts';
import { EMPTY_SNAPSHOT, makeSnapshot, viewOf, WAYPOINT_TYPE } from '../../../../controller/xds/snapshot.ts';
import { inWaypointOrder } from '../../../../controller/xds/waypoint-order.ts';
import { DeltaDiscoveryRequestSchema } from '../../../../proto/gen/envoy/discovery_pb.js';

const NAMES = [
  'service/n/b',
  'route/HTTPRoute/n/r',
  'traffic/n/t',
  'authentication/n/j',
  'authorization/n/p',
  'service/n/a',
  'settings',
];
const ORDERED = [
  'settings',
  'authorization/n/p',
  'authentication/n/j',
  'traffic/n/t',
  'route/HTTPRoute/n/r',
  'service/n/b',
  'service/n/a',
];

function meshOf(names: readonly string[], size: number): Parameters<typeof makeSnapshot>[1] {
  const resources = new Map(
    names.map((name): [string, CompiledResource] => [
      name,
      { name, bytes: new Uint8Array(size), aliases: [], members: [] },
    ]),
  );
  const none = new Map<string, never>();
  return {
    addresses: none,
    authorizations: none,
    egress: { byNode: none, enforcers: none },
    waypoints: new Map([['n/w', resources]]),
  };
}

describe('xds/waypoint-order', () => {
  it('puts what a Service names before it, and takes it away after it', () => {
    const upserts = NAMES.map((name) => ({
      name,
      bytes: new Uint8Array(),
      aliases: [],
      members: [],
      version: '1',
    }));
    const ordered = inWaypointOrder({ upserts, removed: NAMES });
    assert.deepEqual(
      ordered.upserts.map(({ name }) => name),
      ORDERED,
    );
    assert.deepEqual(ordered.removed, [
      'service/n/b',
      'service/n/a',
      'route/HTTPRoute/n/r',
      'traffic/n/t',
      'authentication/n/j',
      'authorization/n/p',
      'settings',
    ]);
  });

  it('keeps the order where several messages are needed', () => {
    const sent: OutgoingResponse[] = [];
    const who = { kind: 'gateway', gateway: 'n/w' } as const;
    const snapshot = makeSnapshot(1, meshOf(NAMES, 1024 * 1024), EMPTY_SNAPSHOT);
    const stream = new DeltaStream(viewOf(snapshot, who), { send: (response) => sent.push(response) });
    const receive = (responseNonce: string): void => {
      stream.receive(create(DeltaDiscoveryRequestSchema, { typeUrl: WAYPOINT_TYPE, responseNonce }));
      stream.flush();
    };
    receive('');
    for (let i = 0; i < sent.length; i += 1) receive(sent[i]?.nonce ?? '');
    assert(sent.length > 1, 'it does not fit into one');
    assert.deepEqual(
      sent.flatMap(({ resources }) => resources.map(({ name }) => name)),
      ORDERED,
    );
  });
});
