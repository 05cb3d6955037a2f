import assert from 'node:assert/strict';
import { create, fromBinary, toBinary, type MessageInitShape } from '@bufbuild/protobuf';
import { compileMesh } from '../../../controller/compile/mesh.ts';
import { DeltaStream, type OutgoingResponse } from '../../../controller/xds/delta-stream.ts';
import {
  ADDRESS_TYPE,
  AUTHORIZATION_TYPE,
  EGRESS_TYPE,
  EMPTY_SNAPSHOT,
  makeSnapshot,
  type Snapshot,
  viewOf,
  WAYPOINT_TYPE,
} from '../../../controller/xds/snapshot.ts';
import { DeltaDiscoveryRequestSchema } from '../../../proto/gen/envoy/discovery_pb.js';
import { mutateProtobuf } from '../engine/mutate-protobuf.ts';
import { seriesOf, stepsOf } from '../engine/packets.ts';
import type { FuzzTarget } from '../engine/target.ts';

const request = (init: MessageInitShape<typeof DeltaDiscoveryRequestSchema>): Uint8Array =>
  toBinary(DeltaDiscoveryRequestSchema, create(DeltaDiscoveryRequestSchema, init));
const ack = (nonce: string, typeUrl = ADDRESS_TYPE): Uint8Array => request({ typeUrl, responseNonce: nonce });
const nack = (nonce: string): Uint8Array =>
  request({ typeUrl: ADDRESS_TYPE, responseNonce: nonce, errorDetail: { code: 3, message: 'a: bad' } });

const NOTHING = compileMesh({
  objects: [],
  assignments: { pods: {}, services: {} },
  clusterId: 'Kubernetes',
  trustDomain: 'cluster.local',
  rootNamespace: 'loam-system',
});

/** What a client of the controller sends on one stream; a number publishes another state of the mesh. */
export const target: FuzzTarget = {
  name: 'xds-client-request',
  mutate: mutateProtobuf,
  seeds: [
    seriesOf(
      request({ typeUrl: ADDRESS_TYPE }),
      request({ typeUrl: AUTHORIZATION_TYPE }),
      1,
      ack('1-1', AUTHORIZATION_TYPE),
      ack('1-2'),
      2,
      nack('2-3'),
      3,
    ),
    seriesOf(
      1,
      request({
        typeUrl: ADDRESS_TYPE,
        resourceNamesSubscribe: ['a', 'n/198.18.0.1', '*'],
        initialResourceVersions: { a: 'x', z: 'y' },
      }),
      ack('1-1'),
    ),
    seriesOf(
      request({ typeUrl: ADDRESS_TYPE, resourceNamesSubscribe: ['a'], resourceNamesUnsubscribe: ['*', 'a'] }),
      2,
    ),
    seriesOf(
      request({ typeUrl: ADDRESS_TYPE }),
      request({ typeUrl: AUTHORIZATION_TYPE }),
      request({ typeUrl: EGRESS_TYPE }),
      1,
      ack('1-1', EGRESS_TYPE),
    ),
    seriesOf(request({ typeUrl: WAYPOINT_TYPE }), 1),
    seriesOf(request({ typeUrl: 'type.googleapis.com/envoy.config.listener.v3.Listener' })),
  ],
  run(input) {
    let snapshot = EMPTY_SNAPSHOT;
    const outstanding = new Map<string, string>();
    const known = new Set<string>();
    const view = viewOf(snapshot, { kind: 'node', node: 'a' });
    const stream = new DeltaStream(view, {
      send: (response) => check(response),
    });
    const check = (response: OutgoingResponse): void => {
      assert.notEqual(response.typeUrl, WAYPOINT_TYPE, 'a node is told what is for waypoints');
      assert.ok(!outstanding.has(response.typeUrl), 'two responses of one type are on their way');
      outstanding.set(response.typeUrl, response.nonce);
      for (const { name } of response.resources) assert.ok(known.has(name), 'a resource that does not exist');
    };
    let steps = 0;
    for (const step of stepsOf(input)) {
      if (steps++ > 200) break;
      if ('number' in step) {
        snapshot = next(snapshot, step.number, known);
        stream.setView(viewOf(snapshot, { kind: 'node', node: 'a' }));
      } else {
        let message;
        try {
          message = fromBinary(DeltaDiscoveryRequestSchema, step.packet);
        } catch {
          // The gRPC library ends such a stream.
          return;
        }
        if (outstanding.get(message.typeUrl) === message.responseNonce) outstanding.delete(message.typeUrl);
        try {
          stream.receive(message);
        } catch (error) {
          assert.ok(
            error instanceof Error && !(error instanceof TypeError) && !(error instanceof RangeError),
            String(error),
          );
          assert.ok(error.message.length < 1_000);
          return;
        }
      }
      stream.flush();
      for (const { nack: text } of stream.progress) assert.ok((text ?? '').length <= 500);
    }
    assert.ok(stream.progress.length <= view.types.size, 'more types than a node is served');
  },
};

/** Which of the resources a to d exist says the number's low bits, which version they have its high ones. */
function next(before: Snapshot, number: number, known: Set<string>): Snapshot {
  const names = ['a', 'b', 'c', 'd'].filter((_, i) => ((number >> i) & 1) === 1);
  const addresses = new Map(
    names.map((name) => [
      name,
      {
        name,
        bytes: Buffer.from(`${name}${number >> 4}`),
        aliases: [`n/198.18.0.${name.charCodeAt(0)}`],
        members: ['a'],
      },
    ]),
  );
  for (const name of [...names, 'p']) known.add(name);
  const authorizations = new Map([['p', { name: 'p', bytes: Buffer.of(number), aliases: [], members: [] }]]);
  return makeSnapshot(before.generation + 1, { ...NOTHING, addresses, authorizations }, before);
}
