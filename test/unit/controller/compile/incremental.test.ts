import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { type MeshChange, MeshCompiler, type MeshInput } from '../../../../controller/compile/incremental.ts';
import {
  compileMesh,
  type CompiledMesh,
  type CompiledResource,
} from '../../../../controller/compile/mesh.ts';
import { type KubeObject, objectKey, refOf } from '../../../../controller/model/objects.ts';
import { NO_ASSIGNMENTS } from '../../../../controller/sources/assignments.ts';
import { ChangeLog } from '../../../../controller/sources/change-log.ts';
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
    let byLogAndPart = 0;
    for (const seed of SEEDS) {
      const mesh = new RandomMesh(new Random(seed));
      const compiler = new MeshCompiler();
      const told = new MeshCompiler();
      const changes = new ChangeLog();
      let last: MeshInput | undefined;
      for (let step = 0; step < STEPS; step += 1) {
        const input = mesh.input;
        const { mesh: compiled, patch } = compiler.compile(input);
        if (patch !== undefined) byPart += 1;
        const objects = [...input.objects.values()].map(({ object }) => object);
        const whole = plain(compileMesh({ ...input, objects }));
        assert.deepEqual(plain(compiled), whole, `seed ${seed}, step ${step}`);
        if (last === undefined || !note(changes, last, input)) changes.anything();
        const byLog = told.compile({ ...input, changes });
        if (byLog.patch !== undefined) byLogAndPart += 1;
        assert.deepEqual(plain(byLog.mesh), whole, `by the log: seed ${seed}, step ${step}`);
        last = input;
        mesh.step();
      }
    }
    for (const some of [byPart, byLogAndPart])
      assert(some > (SEEDS.length * STEPS) / 5, `only ${some} changes were compiled by part`);
  });

  it('compiles by part though others want one address', () => {
    const pod = (name: string, ip: string, app: string): KubeObject =>
      ({
        ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace: 'a', labels: { app } } },
        ...{ spec: { nodeName: 'n1', containers: [] }, status: { podIPs: [{ ip }] } },
      }) as unknown as KubeObject;
    const entry = (name: string): KubeObject =>
      ({
        ...{ apiVersion: 'networking.istio.io/v1', kind: 'ServiceEntry', metadata: { name, namespace: 'a' } },
        spec: { hosts: [`${name}.example`], addresses: ['10.9.0.1'], ports: [{ number: 80, name: 'http' }] },
      }) as unknown as KubeObject;
    const stable = [entry('one'), entry('two')];
    const compiler = new MeshCompiler();
    const compile = (...pods: KubeObject[]): MeshChange => {
      const objects = [...stable, ...pods];
      const input = {
        assignments: NO_ASSIGNMENTS,
        ...{ clusterId: 'Kubernetes', trustDomain: 'cluster.local', rootNamespace: 'loam-system' },
      };
      const change = compiler.compile({
        ...input,
        objects: new Map(objects.map((object) => [objectKey(refOf(object)), { object }])),
      });
      assert.deepEqual(plain(change.mesh), plain(compileMesh({ ...input, objects })));
      return change;
    };
    const [first, second] = [pod('p', '10.0.0.1', 'x'), pod('q', '10.0.0.2', 'x')];
    assert.equal(compile(first, second).patch, undefined);
    assert.notEqual(compile(pod('p', '10.0.0.1', 'y'), second).patch, undefined);
    // One that gets what is wanted already, and one that gives it up, concern others.
    const taken = pod('r', '10.0.0.2', 'x');
    assert.equal(compile(first, second, taken).patch, undefined);
    assert.equal(compile(first, taken).patch, undefined);
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

/** Tells a log what has changed; false where it is not in pods alone. */
function note(log: ChangeLog, before: MeshInput, after: MeshInput): boolean {
  const keys = new Set([...before.objects.keys(), ...after.objects.keys()]);
  const changed = [...keys].filter(
    (key) => before.objects.get(key)?.object !== after.objects.get(key)?.object,
  );
  if (changed.some((key) => !key.startsWith('Pod/'))) return false;
  const placed = new Set([...Object.keys(before.assignments.pods), ...Object.keys(after.assignments.pods)]);
  log.pods(changed);
  log.pods(
    [...placed]
      .filter((key) => before.assignments.pods[key] !== after.assignments.pods[key])
      .map((key) => `Pod/${key}`),
  );
  return true;
}

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
