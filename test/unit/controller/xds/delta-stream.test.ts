import assert from 'node:assert/strict';
import { create, fromBinary, type MessageInitShape } from '@bufbuild/protobuf';
import { describe, it } from 'mocha';
import type { Principal } from '../../../../controller/auth/principal.ts';
import type { CompiledResource } from '../../../../controller/compile/mesh.ts';
import { DeltaStream, type OutgoingResponse } from '../../../../controller/xds/delta-stream.ts';
import { encodeResponse } from '../../../../controller/xds/encode.ts';
import {
  ADDRESS_TYPE,
  AUTHORIZATION_TYPE,
  EGRESS_TYPE,
  EMPTY_SNAPSHOT,
  makeSnapshot,
  sameContent,
  type Snapshot,
  viewOf,
} from '../../../../controller/xds/snapshot.ts';
import {
  DeltaDiscoveryRequestSchema,
  DeltaDiscoveryResponseSchema,
} from '../../../../proto/gen/envoy/discovery_pb.js';

type Content = Record<string, string | { content: string; aliases?: string[]; members?: string[] }>;

function resources(content: Content): Map<string, CompiledResource> {
  return new Map(
    Object.entries(content).map(([name, value]) => {
      const {
        content: text,
        aliases = [],
        members = [],
      } = typeof value === 'string' ? { content: value } : value;
      return [name, { name, bytes: new TextEncoder().encode(text), aliases, members }];
    }),
  );
}

const NODE: Principal = { kind: 'node', node: 'node-a' };

/** A stream with the client's side in the test's hands. */
class Bench {
  readonly sent: OutgoingResponse[] = [];
  readonly stream: DeltaStream;
  #snapshot: Snapshot = EMPTY_SNAPSHOT;

  constructor(namesAsAsked = false) {
    this.stream = new DeltaStream(viewOf(EMPTY_SNAPSHOT, NODE), {
      send: (response) => this.sent.push(response),
      namesAsAsked,
    });
  }

  publish(addresses: Content, authorizations: Content = {}, egress: Content = {}): void {
    const mesh = {
      addresses: resources(addresses),
      authorizations: resources(authorizations),
      outcomes: new Map(),
      identities: new Map(),
      waypoints: new Map(),
      egress: { byNode: new Map([['node-a', resources(egress)]]), enforcers: new Map() },
      served: new Map(),
      waypointIdentities: new Map(),
    };
    this.#snapshot = makeSnapshot(this.#snapshot.generation + 1, mesh, this.#snapshot);
    this.stream.setView(viewOf(this.#snapshot, NODE));
    this.stream.flush();
  }

  receive(init: MessageInitShape<typeof DeltaDiscoveryRequestSchema>): void {
    this.stream.receive(create(DeltaDiscoveryRequestSchema, init));
    this.stream.flush();
  }

  /** Takes the oldest response off the wire: type, names, removed names. */
  take(): { type: string; names: string[]; removed: readonly string[]; response: OutgoingResponse } {
    const response = this.sent.shift();
    assert(response !== undefined, 'nothing was sent');
    const type =
      response.typeUrl === ADDRESS_TYPE ? 'address' : response.typeUrl === EGRESS_TYPE ? 'egress' : 'policy';
    return {
      type,
      names: response.resources.map(({ name }) => name),
      removed: response.removedResources,
      response,
    };
  }

  ack(response: OutgoingResponse, error?: string): void {
    const { typeUrl, nonce } = response;
    this.receive({
      typeUrl,
      responseNonce: nonce,
      ...(error === undefined ? {} : { errorDetail: { code: 3, message: error } }),
    });
  }

  takeAndAck(): { type: string; names: string[]; removed: readonly string[] } {
    const { response, ...rest } = this.take();
    this.ack(response);
    return rest;
  }
}

describe('xds/delta-stream', () => {
  it('sums up for a slow client what it missed, with one response on its way', () => {
    const bench = new Bench();
    bench.publish({ a: '1' });
    bench.receive({ typeUrl: ADDRESS_TYPE });
    const { response } = bench.take();
    for (let i = 0; i < 50; i += 1) bench.publish({ a: String(i), b: 'x', [`gone-${i}`]: 'y' });
    bench.publish({ a: 'end', b: 'x' });
    assert.equal(bench.sent.length, 0, 'nothing more before the answer');
    bench.ack(response);
    assert.deepEqual(bench.takeAndAck(), { type: 'address', names: ['a', 'b'], removed: [] });
    assert.equal(bench.sent.length, 0);
  });

  it('sends policies before the addresses that name them, and removes them after', () => {
    const bench = new Bench();
    bench.publish({ pod: 'p' });
    bench.receive({ typeUrl: ADDRESS_TYPE });
    bench.receive({ typeUrl: AUTHORIZATION_TYPE });
    bench.takeAndAck();
    bench.takeAndAck();
    bench.publish({ pod: 'p with q' }, { q: 'q' });
    assert.deepEqual([bench.takeAndAck().type, bench.takeAndAck().type], ['policy', 'address']);
    bench.publish({ pod: 'p' }, {});
    assert.deepEqual(bench.takeAndAck(), { type: 'address', names: ['pod'], removed: [] });
    assert.deepEqual(bench.takeAndAck(), { type: 'policy', names: [], removed: ['q'] });
  });

  it('sends egress rules before the addresses that they are for, and removes them after', () => {
    const bench = new Bench();
    bench.publish({ pod: '1' }, { q: '1' }, { rules: '1' });
    for (const typeUrl of [EGRESS_TYPE, ADDRESS_TYPE, AUTHORIZATION_TYPE]) bench.receive({ typeUrl });
    for (let i = 0; i < 3; i += 1) bench.takeAndAck();
    bench.publish({ pod: '2' }, { q: '1' }, { rules: '2', more: '1' });
    assert.deepEqual([bench.takeAndAck().type, bench.takeAndAck().type], ['egress', 'address']);
    bench.publish({}, { q: '1' }, {});
    assert.deepEqual(bench.takeAndAck(), { type: 'address', names: [], removed: ['pod'] });
    assert.deepEqual(bench.takeAndAck(), { type: 'egress', names: [], removed: ['rules', 'more'] });
    assert.equal(bench.sent.length, 0);
  });

  it('sends egress rules to nobody who did not ask, and answers who asked where there are none', () => {
    const bench = new Bench();
    bench.publish({ pod: '1' }, {}, { rules: '1' });
    bench.receive({ typeUrl: ADDRESS_TYPE });
    bench.receive({ typeUrl: AUTHORIZATION_TYPE });
    assert.deepEqual([bench.takeAndAck().type, bench.takeAndAck().type].sort(), ['address', 'policy']);
    bench.publish({ pod: '1' }, {}, { rules: '2' });
    assert.equal(bench.sent.length, 0);
    const other = new Bench();
    other.publish({ pod: '1' });
    other.receive({ typeUrl: EGRESS_TYPE });
    assert.deepEqual(other.takeAndAck(), { type: 'egress', names: [], removed: [] });
  });

  it('gives each node its own egress rules, and none to a waypoint', () => {
    const mesh = {
      addresses: resources({}),
      authorizations: resources({}),
      outcomes: new Map(),
      identities: new Map(),
      waypoints: new Map(),
      egress: {
        byNode: new Map([
          ['node-a', resources({ a: '1' })],
          ['node-b', resources({ b: '1' })],
        ]),
        enforcers: new Map(),
      },
      served: new Map(),
      waypointIdentities: new Map(),
    };
    const snapshot = makeSnapshot(1, mesh, EMPTY_SNAPSHOT);
    const names = (who: Principal) => [
      ...(viewOf(snapshot, who).types.get(EGRESS_TYPE)?.resources.keys() ?? ['-']),
    ];
    assert.deepEqual(names(NODE), ['a']);
    assert.deepEqual(names({ kind: 'node', node: 'node-b' }), ['b']);
    assert.deepEqual(names({ kind: 'node', node: 'node-c' }), []);
    const gateway: Principal = { kind: 'gateway', gateway: 'n/w' };
    assert.deepEqual(names(gateway), ['-']);
    const stream = new DeltaStream(viewOf(snapshot, gateway), { send: () => undefined });
    const request = create(DeltaDiscoveryRequestSchema, { typeUrl: EGRESS_TYPE });
    assert.throws(() => stream.receive(request), /served only to a node/);
    const next = makeSnapshot(2, mesh, snapshot);
    assert.equal(sameContent(snapshot, next), true);
    const changed = {
      ...mesh,
      egress: { ...mesh.egress, byNode: new Map([['node-a', resources({ a: '2' })]]) },
    };
    assert.equal(sameContent(snapshot, makeSnapshot(2, changed, snapshot)), false);
  });

  it('holds addresses back while a policy waits for an answer', () => {
    const bench = new Bench();
    bench.publish({ pod: '1' }, { q: '1' });
    bench.receive({ typeUrl: AUTHORIZATION_TYPE });
    bench.receive({ typeUrl: ADDRESS_TYPE });
    const first = bench.take();
    bench.takeAndAck();
    bench.publish({ pod: '2' }, { q: '2', r: '1' });
    assert.equal(bench.sent.length, 0);
    bench.ack(first.response);
    assert.deepEqual(bench.take().names, ['q', 'r']);
    assert.deepEqual(bench.take().names, ['pod']);
  });

  it('skips what a client that comes back has, and removes what is gone', () => {
    const bench = new Bench();
    bench.publish({ a: '1', b: '1' });
    bench.receive({ typeUrl: ADDRESS_TYPE });
    const [a, b] = bench.take().response.resources;
    const again = new Bench();
    again.publish({ a: '1', b: '2' });
    again.receive({
      typeUrl: ADDRESS_TYPE,
      initialResourceVersions: { a: a?.version ?? '', b: b?.version ?? '', c: 'x' },
    });
    assert.deepEqual(again.takeAndAck(), { type: 'address', names: ['b'], removed: ['c'] });
  });

  it('shows a refusal, does not repeat what was refused, and sends it again when it changed', () => {
    const bench = new Bench();
    bench.publish({}, { bad: '1', good: '1' });
    bench.receive({ typeUrl: AUTHORIZATION_TYPE });
    bench.ack(bench.take().response, 'bad cannot be read');
    assert.equal(bench.sent.length, 0);
    const progress = () => bench.stream.progress[0];
    assert.deepEqual([progress()?.nack, progress()?.ackedGeneration], ['bad cannot be read', 0]);
    bench.publish({}, { bad: '1', good: '2' });
    assert.deepEqual(bench.takeAndAck().names, ['good']);
    assert.equal(progress()?.nack, 'bad cannot be read', 'another success does not undo it');
    bench.publish({}, { bad: '2', good: '3' });
    bench.takeAndAck();
    assert.deepEqual([progress()?.nack, progress()?.ackedGeneration], [undefined, 3]);
  });

  it('takes no answer to an old response for one to the newest', () => {
    const bench = new Bench();
    bench.publish({ a: '1' });
    bench.receive({ typeUrl: ADDRESS_TYPE });
    const first = bench.take();
    bench.ack(first.response);
    bench.publish({ a: '2' });
    bench.take();
    bench.publish({ a: '3' });
    bench.ack(first.response);
    assert.equal(bench.sent.length, 0);
  });

  describe('on demand', () => {
    const service = { content: 's', aliases: ['/198.19.0.5'] };
    const pod = { content: 'p', aliases: ['/198.18.0.1'], members: ['ns/svc'] };
    const start = (namesAsAsked = false): Bench => {
      const bench = new Bench(namesAsAsked);
      bench.publish({ 'ns/svc': service, 'uid-1': pod, 'uid-2': 'other' });
      bench.receive({
        typeUrl: ADDRESS_TYPE,
        resourceNamesSubscribe: ['*'],
        resourceNamesUnsubscribe: ['*'],
      });
      assert.deepEqual(bench.takeAndAck(), { type: 'address', names: [], removed: [] });
      return bench;
    };

    it('finds a resource by network and address, and with a service its workloads', () => {
      const bench = start();
      bench.receive({ typeUrl: ADDRESS_TYPE, resourceNamesSubscribe: ['/198.18.0.1'] });
      const found = bench.take();
      assert.deepEqual([found.names, found.response.resources[0]?.aliases], [['uid-1'], ['/198.18.0.1']]);
      bench.ack(found.response);
      bench.receive({ typeUrl: ADDRESS_TYPE, resourceNamesSubscribe: ['/198.19.0.5'] });
      assert.deepEqual(bench.takeAndAck().names, ['ns/svc']);
      bench.publish({
        'ns/svc': service,
        'uid-1': pod,
        'uid-2': 'other',
        'uid-3': { ...pod, aliases: ['/198.18.0.3'] },
      });
      assert.deepEqual(bench.takeAndAck().names, ['uid-3'], 'a new workload of a wanted service');
    });

    it('tells whom looks at no aliases of a resource under the name that it asked for, too', () => {
      for (const [namesAsAsked, expected] of [
        [true, ['uid-1', '/198.18.0.1']],
        [false, ['uid-1']],
      ] as const) {
        const bench = start(namesAsAsked);
        bench.receive({ typeUrl: ADDRESS_TYPE, resourceNamesSubscribe: ['/198.18.0.1'] });
        const { response } = bench.take();
        const read = fromBinary(DeltaDiscoveryResponseSchema, encodeResponse(response));
        assert.deepEqual(
          read.resources.map(({ name }) => name),
          expected,
        );
        for (const { resource } of read.resources)
          assert.deepEqual(Buffer.from(resource?.value ?? []).toString(), 'p');
        bench.ack(response);
        assert.equal(bench.sent.length, 0);
      }
    });

    it('says once that a name does not exist, and sends it when it appears', () => {
      const bench = start();
      bench.receive({ typeUrl: ADDRESS_TYPE, resourceNamesSubscribe: ['/203.0.113.1'] });
      assert.deepEqual(bench.takeAndAck(), { type: 'address', names: [], removed: ['/203.0.113.1'] });
      assert.equal(bench.sent.length, 0);
      bench.publish({ late: { content: 'l', aliases: ['/203.0.113.1'] } });
      assert.deepEqual(bench.takeAndAck().names, ['late']);
    });

    it('sends again what a client dropped and asks for again', () => {
      const bench = start();
      const names = ['/198.18.0.1'];
      for (let round = 0; round < 2; round += 1) {
        bench.receive({ typeUrl: ADDRESS_TYPE, resourceNamesSubscribe: names });
        assert.deepEqual(bench.takeAndAck().names, ['uid-1']);
        assert.equal(bench.sent.length, 0, 'once for each time');
        bench.receive({ typeUrl: ADDRESS_TYPE, resourceNamesUnsubscribe: names });
      }
    });

    it('lets no workload go stale that came along with a service and left it', () => {
      const bench = start();
      bench.receive({ typeUrl: ADDRESS_TYPE, resourceNamesSubscribe: ['/198.19.0.5'] });
      assert.deepEqual(bench.takeAndAck().names, ['ns/svc', 'uid-1']);
      bench.publish({ 'ns/svc': service, 'uid-1': { content: 'moved', aliases: ['/198.18.0.9'] } });
      assert.deepEqual(bench.takeAndAck().names, ['uid-1']);
    });

    it('stops following what was unsubscribed', () => {
      const bench = start();
      bench.receive({ typeUrl: ADDRESS_TYPE, resourceNamesSubscribe: ['uid-2'] });
      bench.takeAndAck();
      bench.receive({ typeUrl: ADDRESS_TYPE, resourceNamesUnsubscribe: ['uid-2'] });
      bench.publish({ 'uid-2': 'changed' });
      assert.equal(bench.sent.length, 0);
    });
  });

  it('splits what does not fit into one message', () => {
    const bench = new Bench();
    const big = 'x'.repeat(1024 * 1024);
    bench.publish(Object.fromEntries(['a', 'b', 'c', 'd', 'e'].map((name) => [name, big + name])));
    bench.receive({ typeUrl: ADDRESS_TYPE });
    const names: string[] = [];
    while (bench.sent.length > 0) names.push(...bench.takeAndAck().names);
    assert.deepEqual(names, ['a', 'b', 'c', 'd', 'e']);
  });

  it('splits a removal that does not fit into one message', () => {
    const bench = new Bench();
    const many = Array.from({ length: 1500 }, (_, i) => `${'x'.repeat(1000)}${i}`);
    bench.publish(Object.fromEntries(many.map((name) => [name, ''])));
    bench.receive({ typeUrl: ADDRESS_TYPE });
    while (bench.sent.length > 0) bench.takeAndAck();
    bench.publish({});
    const sizes: number[] = [];
    while (bench.sent.length > 0) sizes.push(bench.takeAndAck().removed.length);
    assert.equal(
      sizes.reduce((sum, size) => sum + size, 0),
      many.length,
    );
    assert(
      sizes.every((size) => size < 1100),
      String(sizes),
    );
  });
});
