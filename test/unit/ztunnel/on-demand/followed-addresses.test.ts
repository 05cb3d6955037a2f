import assert from 'node:assert/strict';
import { create } from '@bufbuild/protobuf';
import { describe, it } from 'mocha';
import { MeshCompiler } from '../../../../controller/compile/incremental.ts';
import { DeltaStream, type OutgoingResponse } from '../../../../controller/xds/delta-stream.ts';
import {
  ADDRESS_TYPE,
  EMPTY_SNAPSHOT,
  makeSnapshot,
  patchSnapshot,
  type Snapshot,
  type TypeSnapshot,
  viewOf,
} from '../../../../controller/xds/snapshot.ts';
import { decodeAddress } from '../../../../lib/mesh/state/decode.ts';
import { WorkloadStore } from '../../../../lib/mesh/state/workload-store.ts';
import { DeltaDiscoveryRequestSchema } from '../../../../proto/gen/envoy/discovery_pb.js';
import { FollowedAddresses } from '../../../../ztunnel/on-demand/followed-addresses.ts';
import { Random, RandomMesh } from '../../controller/compile/random-mesh.ts';

const NODE = 'n1';
const SEEDS = [1, 2, 3];
const STEPS = 250;

/** A node that follows by name what a real stream of the controller tells, without a wire between. */
class Follower {
  readonly store = new WorkloadStore();
  readonly versions = new Map<string, string>();
  readonly followed: FollowedAddresses;
  readonly asked = new Set<string>();
  #stream: DeltaStream;
  #late: OutgoingResponse[] = [];

  constructor() {
    this.#stream = new DeltaStream(viewOf(EMPTY_SNAPSHOT, { kind: 'node', node: NODE }), {
      send: (response) => this.#late.push(response),
    });
    this.followed = new FollowedAddresses({
      ...{ node: NODE, clusterId: 'Kubernetes', workloads: this.store },
      ask: (names) => this.#request(names, []),
      forget: (names, resources) => this.#request([], [...names, ...resources]),
      drop: (removed) => {
        this.store.apply({ upserts: [], removed });
        for (const name of removed) this.versions.delete(name);
      },
    });
    this.#request(['*'], ['*']);
  }

  publish(snapshot: Snapshot): void {
    this.#stream.setView(viewOf(snapshot, { kind: 'node', node: NODE }));
    this.#stream.flush();
  }

  /** Takes what has come so far, answers, until nothing more comes. */
  settle(): void {
    for (let next = this.#late.shift(); next !== undefined; next = this.#late.shift()) {
      const upserts = next.resources.map(({ name, bytes }) => decodeAddress(name, bytes));
      for (const { name, version } of next.resources) this.versions.set(name, version);
      for (const name of next.removedResources) this.versions.delete(name);
      this.store.apply({ upserts, removed: next.removedResources });
      this.followed.changed({ upserts, removed: [] });
      this.#receive({ responseNonce: next.nonce });
    }
  }

  #request(subscribe: readonly string[], unsubscribe: readonly string[]): void {
    this.#receive({
      resourceNamesSubscribe: [...subscribe],
      // As XdsClient does: what is followed by another name is not given up.
      resourceNamesUnsubscribe: [...unsubscribe],
    });
  }

  #receive(init: object): void {
    this.#stream.receive(create(DeltaDiscoveryRequestSchema, { typeUrl: ADDRESS_TYPE, ...init }));
    this.#stream.flush();
  }
}

describe('ztunnel/on-demand/followed-addresses', () => {
  it('has of a mesh that changes what was asked for and its own pods, as it is now, and nothing stale', () => {
    let most = 0;
    for (const seed of SEEDS) {
      const random = new Random(seed * 31);
      const mesh = new RandomMesh(random);
      const compiler = new MeshCompiler();
      const node = new Follower();
      let snapshot: Snapshot = EMPTY_SNAPSHOT;
      for (let step = 0; step < STEPS; step += 1) {
        const { mesh: compiled, patch } = compiler.compile(mesh.input);
        const generation = snapshot.generation + 1;
        snapshot =
          patch === undefined
            ? makeSnapshot(generation, compiled, snapshot)
            : patchSnapshot(generation, snapshot, patch);
        node.publish(snapshot);
        if (random.chance(0.5)) act(node, snapshot.addresses, random);
        if (random.chance(0.7)) {
          node.settle();
          check(node, snapshot.addresses, `seed ${seed}, step ${step}`);
        }
        most = Math.max(most, node.versions.size);
        mesh.step();
      }
      node.followed.setPods([]);
      node.followed.forget([...node.asked]);
      node.asked.clear();
      node.settle();
      check(node, snapshot.addresses, `seed ${seed}, at the end`);
      for (const { node: at } of node.store.workloads()) assert.equal(at, NODE);
      assert.deepEqual([...node.store.services()], []);
    }
    assert(most > 5, 'the nodes follow something');
  });
});

function act(node: Follower, addresses: TypeSnapshot, random: Random): void {
  const dice = random.below(10);
  const some = [...node.asked].at(random.below(node.asked.size + 1));
  if (dice < 4) {
    const byName = random.chance(0.4) && addresses.names.length > 0;
    const name = byName ? random.of(addresses.names) : `/10.${random.below(2)}.0.${random.below(200)}`;
    node.asked.add(name);
    node.followed.ask([name]);
  } else if (dice < 7 && some !== undefined) {
    node.asked.delete(some);
    node.followed.forget([some]);
  } else {
    const own = addresses.ofNode(NODE).filter(() => random.chance(0.7));
    node.followed.setPods(
      own.map((uid) => {
        const [, , , namespace = '', name = ''] = uid.split('/');
        return { namespace, name };
      }),
    );
  }
}

function check(node: Follower, addresses: TypeSnapshot, where: string): void {
  for (const [name, version] of node.versions)
    assert.equal(addresses.resources.get(name)?.version, version, `${where}: ${name} is stale`);
  const held = new Set([
    ...[...node.store.workloads()].map(({ uid }) => uid),
    ...[...node.store.services()].map(({ key }) => key),
  ]);
  assert.deepEqual(held, new Set(node.versions.keys()), where);
  for (const name of [...node.asked, ...node.followed.names])
    for (const found of addresses.lookUp(name))
      assert(held.has(found), `${where}: ${found}, asked as ${name}`);
  for (const uid of addresses.ofNode(NODE)) assert(held.has(uid), `${where}: ${uid} is this node's`);
}
