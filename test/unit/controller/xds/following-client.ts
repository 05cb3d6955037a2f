import assert from 'node:assert/strict';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { DeltaStream, type OutgoingResponse } from '../../../../controller/xds/delta-stream.ts';
import {
  ADDRESS_TYPE,
  EMPTY_SNAPSHOT,
  type Snapshot,
  type View,
  viewOf,
} from '../../../../controller/xds/snapshot.ts';
import { DeltaDiscoveryRequestSchema } from '../../../../proto/gen/envoy/discovery_pb.js';
import type { Random } from '../compile/random-mesh.ts';

const NODE = { kind: 'node', node: 'n1' } as const;

/** A client of addresses that answers late, comes back, asks and forgets at random; what it has must be what there is. */
export class FollowingClient {
  readonly #random: Random;
  readonly #kind: 'everything' | 'by name';
  readonly #has = new Map<string, string>();
  readonly #asked = new Set<string>();
  #view: View = viewOf(EMPTY_SNAPSHOT, NODE);
  #stream: DeltaStream;
  #unanswered: OutgoingResponse[] = [];

  constructor(random: Random, kind: 'everything' | 'by name') {
    this.#random = random;
    this.#kind = kind;
    this.#stream = this.#connect();
  }

  publish(snapshot: Snapshot): void {
    this.#view = viewOf(snapshot, NODE);
    this.#stream.setView(this.#view);
    this.#stream.flush();
  }

  act(where: string): void {
    const random = this.#random;
    if (random.chance(0.03)) this.#stream = this.#connect();
    if (this.#kind === 'by name' && random.chance(0.2)) this.#ask();
    if (random.chance(0.7)) this.settle(where);
  }

  /** Answers until nothing more comes, and compares. */
  settle(where: string): void {
    for (let next = this.#unanswered.shift(); next !== undefined; next = this.#unanswered.shift())
      this.#request({ responseNonce: next.nonce });
    const resources = this.#view.types.get(ADDRESS_TYPE)?.resources ?? new Map<string, never>();
    if (this.#kind === 'everything') {
      const all = [...resources.values()].map(({ name, version }): [string, string] => [name, version]);
      assert.deepEqual(new Map([...this.#has].sort()), new Map(all.sort()), where);
      return;
    }
    // Nothing that it has is out of date, and what it asked for is there.
    for (const [name, version] of this.#has) assert.equal(resources.get(name)?.version, version, where);
    for (const name of this.#asked)
      for (const found of this.#view.types.get(ADDRESS_TYPE)?.lookUp(name) ?? [])
        assert(this.#has.has(found), `${where}: ${found} was asked for as ${name}`);
  }

  #connect(): DeltaStream {
    this.#unanswered = [];
    const stream = new DeltaStream(this.#view, { send: (response) => this.#take(response) });
    this.#stream = stream;
    const star = this.#kind === 'everything' ? [] : ['*'];
    this.#request({
      resourceNamesSubscribe: [...star, ...this.#asked],
      resourceNamesUnsubscribe: star,
      initialResourceVersions: Object.fromEntries(this.#has),
    });
    return stream;
  }

  #ask(): void {
    const names = this.#view.types.get(ADDRESS_TYPE)?.names ?? [];
    const random = this.#random;
    const name = random.chance(0.5)
      ? `/10.${random.below(3)}.0.${random.below(60)}`
      : names.at(random.below(names.length + 1));
    if (name === undefined) return;
    if (this.#asked.delete(name)) {
      // What is unsubscribed by its name is forgotten by both sides; it may come again, by another name that it was asked for.
      this.#has.delete(name);
      this.#request({ resourceNamesUnsubscribe: [name] });
    } else {
      this.#asked.add(name);
      this.#request({ resourceNamesSubscribe: [name] });
    }
  }

  #take(response: OutgoingResponse): void {
    this.#unanswered.push(response);
    for (const { name, version } of response.resources) this.#has.set(name, version);
    for (const name of response.removedResources) this.#has.delete(name);
  }

  #request(init: MessageInitShape<typeof DeltaDiscoveryRequestSchema>): void {
    this.#stream.receive(create(DeltaDiscoveryRequestSchema, { typeUrl: ADDRESS_TYPE, ...init }));
    this.#stream.flush();
  }
}
