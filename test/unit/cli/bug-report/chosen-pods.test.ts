import assert from 'node:assert/strict';
import type { V1Pod } from '@kubernetes/client-node';
import { describe, it } from 'mocha';
import { choosePods } from '../../../../cli/bug-report/chosen-pods.ts';

function pod(name: string, { ready = true, restarts = 0 } = {}): V1Pod {
  return {
    metadata: { namespace: 'loam-system', name },
    status: {
      conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }],
      containerStatuses: [{ name, ready, restartCount: restarts, image: '', imageID: '', started: ready }],
    },
  };
}

describe('the pods of a bug report', () => {
  const many = Array.from({ length: 200 }, (_, i) => pod(`ztunnel-${i}`));

  it('are all of a small cluster', () => {
    const { chosen, leftOut } = choosePods([pod('controller')], many.slice(0, 10));
    assert.equal(chosen.length, 11);
    assert.deepEqual(leftOut, []);
  });

  it('are of a large one the controllers and what has trouble, and it says how many are left out', () => {
    const others = [...many, pod('agent-broken', { ready: false }), pod('agent-restarted', { restarts: 1 })];
    const { chosen, leftOut } = choosePods([pod('controller')], others);
    assert.deepEqual(
      chosen.slice(0, 4).map(({ metadata }) => metadata?.name),
      ['controller', 'agent-broken', 'agent-restarted', 'ztunnel-0'],
    );
    assert.equal(chosen.length, 60);
    assert.match(leftOut.join(), /^logs of 143 more pods.*loam-system\/ztunnel-57, .*, …\)$/);
  });

  it('are those of the nodes, whatever number of broken waypoints somebody makes in a namespace', () => {
    const waypoints = Array.from({ length: 100 }, (_, i) => pod(`waypoint-${i}`, { ready: false }));
    const { chosen } = choosePods([pod('controller')], [...many.slice(0, 30), pod('agent')], waypoints);
    const names = chosen.map(({ metadata }) => metadata?.name ?? '');
    assert.equal(chosen.length, 60);
    for (const name of ['controller', 'agent', 'ztunnel-29', 'waypoint-0'])
      assert.ok(names.includes(name), name);
    assert.equal(
      choosePods([], [], waypoints).chosen.length,
      60,
      'where nobody else wants the room, it is theirs',
    );
  });
});
