import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { MeshCompiler } from '../../../../controller/compile/incremental.ts';
import {
  compileMesh,
  type CompiledMesh,
  type CompiledResource,
} from '../../../../controller/compile/mesh.ts';
import {
  ADDRESS_TYPE,
  EGRESS_TYPE,
  EMPTY_SNAPSHOT,
  makeSnapshot,
  patchSnapshot,
  type Snapshot,
  viewOf,
} from '../../../../controller/xds/snapshot.ts';
import { FollowingClient } from '../xds/following-client.ts';
import { Random, RandomMesh } from './random-mesh.ts';

const SEEDS = [1, 2, 3, 4, 5];
const STEPS = 200;

describe('compile/incremental', () => {
  it('compiles by part what a whole compilation comes to, through thousands of random changes', () => {
    let byPart = 0;
    for (const seed of SEEDS) {
      const mesh = new RandomMesh(new Random(seed));
      const compiler = new MeshCompiler();
      for (let step = 0; step < STEPS; step += 1) {
        const input = mesh.input;
        const { mesh: compiled, patch } = compiler.compile(input);
        if (patch !== undefined) byPart += 1;
        const objects = [...input.objects.values()].map(({ object }) => object);
        const whole = compileMesh({ ...input, objects });
        assert.deepEqual(plain(compiled), plain(whole), `seed ${seed}, step ${step}`);
        mesh.step();
      }
    }
    assert(byPart > (SEEDS.length * STEPS) / 5, `only ${byPart} changes were compiled by part`);
  });

  it('tells clients of every kind exactly what has changed', () => {
    for (const seed of SEEDS) {
      const random = new Random(seed * 77);
      const mesh = new RandomMesh(random);
      const compiler = new MeshCompiler();
      let snapshot: Snapshot = EMPTY_SNAPSHOT;
      const clients = [
        new FollowingClient(random, 'everything'),
        new FollowingClient(random, 'everything'),
        new FollowingClient(random, 'by name'),
        new FollowingClient(random, 'by name'),
      ];
      for (let step = 0; step < STEPS; step += 1) {
        const { mesh: compiled, patch } = compiler.compile(mesh.input);
        const generation = snapshot.generation + 1;
        snapshot =
          patch === undefined
            ? makeSnapshot(generation, compiled, snapshot)
            : patchSnapshot(generation, snapshot, patch);
        const where = `seed ${seed}, step ${step}`;
        const whole = makeSnapshot(1, compiled, EMPTY_SNAPSHOT);
        for (const node of ['n1', 'n2', 'n3'])
          for (const type of [ADDRESS_TYPE, EGRESS_TYPE] as const)
            assert.deepEqual(versions(snapshot, node, type), versions(whole, node, type), where);
        for (const client of clients) client.publish(snapshot);
        for (const client of clients) client.act(where);
        mesh.step();
      }
      for (const client of clients) client.settle(`seed ${seed}, at the end`);
    }
  });
});

function versions(
  snapshot: Snapshot,
  node: string,
  type: typeof ADDRESS_TYPE | typeof EGRESS_TYPE,
): Map<string, string> {
  const { types } = viewOf(snapshot, { kind: 'node', node });
  return new Map([...(types.get(type)?.resources ?? [])].map(([name, { version }]) => [name, version]));
}

/** Everything that a mesh says, without the order of maps. */
function plain(mesh: CompiledMesh): object {
  const resources = (from: ReadonlyMap<string, CompiledResource>): Map<string, object> =>
    new Map(
      [...from].map(([name, resource]) => [
        name,
        { ...resource, bytes: Buffer.from(resource.bytes).toString('base64'), wire: undefined },
      ]),
    );
  const each = (from: ReadonlyMap<string, ReadonlyMap<string, CompiledResource>>): Map<string, object> =>
    new Map([...from].map(([who, of]) => [who, resources(of)]));
  return {
    addresses: resources(mesh.addresses),
    authorizations: resources(mesh.authorizations),
    waypoints: each(mesh.waypoints),
    egress: each(mesh.egress.byNode),
    enforcers: mesh.egress.enforcers,
    outcomes: mesh.outcomes,
    identities: mesh.identities,
    waypointIdentities: mesh.waypointIdentities,
  };
}
