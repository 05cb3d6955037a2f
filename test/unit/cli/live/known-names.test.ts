import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { tellUnknownNames, unknownNames } from '../../../../cli/live/known-names.ts';
import type { MeshReader } from '../../../../cli/mesh/reader.ts';
import { edgesIn } from '../../../../cli/live/edges.ts';
import type { GraphEdge } from '../../../../lib/flow/view.ts';
import { fakeMesh } from '../mesh/fake-mesh.ts';

const MESH = fakeMesh({
  pods: [
    {
      name: 'frontend-7c9d-abcde',
      ip: '10.0.0.1',
      labels: { 'pod-template-hash': '7c9d', app: 'shopfront' },
    },
    { name: 'db', ip: '10.0.0.2' },
  ],
  services: [{ name: 'payments', vip: '10.1.0.1', port: 80, targetPort: 80, pods: ['db'] }],
});

describe('names to filter by', () => {
  it('are those of pods, of what made them, of applications, accounts and Services, namespaces and addresses', async () => {
    const inventory = await MESH.inventory();
    for (const word of [
      'm',
      'm/db',
      'm/frontend',
      'm/frontend-7c9d-abcde',
      'm/shopfront',
      'm/payments',
      '8.8.8.8',
    ])
      for (const flag of ['from', 'to'] as const)
        assert.deepEqual(unknownNames({ [flag]: word }, inventory), [], `${flag} ${word}`);
    assert.deepEqual(unknownNames({ namespace: 'm' }, inventory), []);
  });

  it('are otherwise unknown, with a guess where one is near', async () => {
    const inventory = await MESH.inventory();
    assert.deepEqual(unknownNames({ from: 'm/frontnd', to: 'm/nothing', namespace: 'mm' }, inventory), [
      'no pod, workload or Service matches --from m/frontnd; did you mean m/frontend?',
      'no pod, workload or Service matches --to m/nothing',
      'no pod, workload or Service matches --namespace mm; did you mean m?',
    ]);
  });

  describe('when a command begins', () => {
    let said: string[];
    const { error } = console;
    beforeEach(() => {
      said = [];
      console.error = (line: string) => said.push(line);
    });
    afterEach(() => (console.error = error));

    it('are told once, and the command goes on', async () => {
      await tellUnknownNames(MESH, { to: 'm/nothing', from: 'm/bd' }, true);
      await tellUnknownNames(MESH, { namespace: 'nowhere' }, false);
      assert.deepEqual(said, [
        'loam: no pod, workload or Service matches --from m/bd; did you mean m/db? still watching',
        'loam: no pod, workload or Service matches --to m/nothing; still watching',
        'loam: no pod, workload or Service matches --namespace nowhere',
      ]);
    });

    it('are nothing to tell where nobody can say what there is', async () => {
      const partly: MeshReader = { ...MESH, missing: () => ['pods of namespace b'] };
      const mute: MeshReader = { ...MESH, inventory: () => Promise.reject(new Error('no answer')) };
      for (const reader of [partly, mute]) await tellUnknownNames(reader, { to: 'm/nothing' }, true);
      await tellUnknownNames(mute, {}, true);
      assert.deepEqual(said, []);
    });
  });

  it('leave of the calls those with the namespace at either end', () => {
    const edge = (from: string, to: string): GraphEdge => ({ from, to }) as GraphEdge;
    const edges = [edge('a/x', 'b/y'), edge('b/y', 'c/z'), edge('ab/x', 'c/z')];
    assert.deepEqual(edgesIn(edges), edges);
    assert.deepEqual(edgesIn(edges, 'a'), [edges[0]]);
    assert.deepEqual(edgesIn(edges, 'c'), [edges[1], edges[2]]);
  });
});
