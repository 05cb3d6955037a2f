import assert from 'node:assert/strict';
import { create, fromBinary } from '@bufbuild/protobuf';
import { describe, it } from 'mocha';
import type { CompiledResource } from '../../../../controller/compile/mesh.ts';
import { DeltaStream, type OutgoingResponse } from '../../../../controller/xds/delta-stream.ts';
import { encodeResponse } from '../../../../controller/xds/encode.ts';
import {
  ADDRESS_TYPE,
  EMPTY_SNAPSHOT,
  makeSnapshot,
  patchSnapshot,
  type Snapshot,
  viewOf,
} from '../../../../controller/xds/snapshot.ts';
import {
  DeltaDiscoveryRequestSchema,
  DeltaDiscoveryResponseSchema,
} from '../../../../proto/gen/envoy/discovery_pb.js';

const BYTES = 100 * 1024;
const NODE = { kind: 'node', node: 'n1' } as const;

function resource(name: string, fill: number): CompiledResource {
  return { name, bytes: new Uint8Array(BYTES).fill(fill), aliases: [], members: [] };
}

/** Twenty of them, which take five responses. */
function snapshotOf(count = 20): Snapshot {
  const names = Array.from({ length: count }, (_, n) => `r-${n}`);
  const none = new Map<string, never>();
  const addresses = new Map(names.map((name, n) => [name, resource(name, n)]));
  const egress = { byNode: none, enforcers: none };
  return makeSnapshot(1, { addresses, authorizations: none, waypoints: none, egress }, EMPTY_SNAPSHOT);
}

function changed(before: Snapshot, changes: Record<string, number | undefined>): Snapshot {
  const addresses = new Map(
    Object.entries(changes).map(([name, fill]) => [
      name,
      fill === undefined ? undefined : resource(name, fill),
    ]),
  );
  return patchSnapshot(before.generation + 1, before, { addresses, egress: new Map() });
}

/** One that follows everything, and answers when it is told to. Reads what it is sent from the bytes. */
class Client {
  readonly has = new Map<string, number>();
  readonly sent: OutgoingResponse[] = [];
  readonly #stream: DeltaStream;

  constructor(snapshot: Snapshot) {
    this.#stream = new DeltaStream(viewOf(snapshot, NODE), { send: (response) => this.#take(response) });
    this.#request('');
  }

  see(snapshot: Snapshot): void {
    this.#stream.setView(viewOf(snapshot, NODE));
    this.#stream.flush();
  }

  answer(): void {
    this.#request(this.sent.at(-1)?.nonce ?? '');
  }

  finish(): Record<string, number> {
    for (let before = -1; before < this.sent.length;) {
      before = this.sent.length;
      this.answer();
    }
    return Object.fromEntries([...this.has].sort());
  }

  #request(responseNonce: string): void {
    this.#stream.receive(create(DeltaDiscoveryRequestSchema, { typeUrl: ADDRESS_TYPE, responseNonce }));
    this.#stream.flush();
  }

  #take(response: OutgoingResponse): void {
    this.sent.push(response);
    const read = fromBinary(DeltaDiscoveryResponseSchema, encodeResponse(response));
    for (const { name, resource: found } of read.resources) this.has.set(name, found?.value[0] ?? NaN);
    for (const name of read.removedResources) this.has.delete(name);
  }
}

function contentOf(snapshot: Snapshot): Record<string, number> {
  const all = [...snapshot.addresses.resources.values()].map(
    ({ name, bytes }) => [name, bytes[0] ?? NaN] as const,
  );
  return Object.fromEntries(all.sort(([a], [b]) => (a < b ? -1 : 1)));
}

describe('xds/first-state', () => {
  it('is divided and encoded once for all who begin', () => {
    const snapshot = snapshotOf();
    const clients = [new Client(snapshot), new Client(snapshot)];
    for (const client of clients) assert.deepEqual(client.finish(), contentOf(snapshot));
    const [one, other] = clients.map(({ sent }) => sent.filter(({ resources }) => resources.length > 0));
    assert((one?.length ?? 0) > 3);
    assert.equal(one?.length, other?.length);
    for (const [at, response] of (one ?? []).entries()) {
      assert(response.shared?.wire !== undefined);
      assert.equal(response.shared, other?.[at]?.shared);
      assert.notEqual(response.nonce, '');
    }
  });

  for (const [what, changes] of [
    ['changes, sent already and not yet', { 'r-0': 100, 'r-19': 101 }],
    ['goes, sent already and not yet', { 'r-1': undefined, 'r-18': undefined }],
    ['comes', { 'r-20': 102 }],
    ['comes and goes', { 'r-20': 102, 'r-2': undefined, 'r-17': 103 }],
  ] as const)
    it(`reaches who has begun and who begins now when something ${what}`, () => {
      const before = snapshotOf();
      const [early, late, done] = [new Client(before), new Client(before), new Client(before)];
      late.answer();
      late.answer();
      done.finish();
      const after = changed(before, changes);
      for (const client of [early, late, done]) client.see(after);
      const fresh = new Client(after);
      for (const client of [early, late, done, fresh]) assert.deepEqual(client.finish(), contentOf(after));
      // And once more, with what was made in between.
      const last = changed(after, { 'r-5': 104 });
      for (const client of [early, late, done, fresh]) client.see(last);
      for (const client of [early, late, done, fresh, new Client(last)])
        assert.deepEqual(client.finish(), contentOf(last));
    });
});
