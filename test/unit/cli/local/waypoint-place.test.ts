import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { waypointPlace } from '../../../../cli/local/waypoint-place.ts';

const NODES = new Set(['node-b', 'node-c', 'node-a']);

function place(
  annotations: Record<string, string> = {},
  nodes: ReadonlySet<string> = NODES,
  current?: string,
): ReturnType<typeof waypointPlace> {
  const named = Object.fromEntries(
    Object.entries(annotations).map(([key, value]) => [`local.loam.dev/${key}`, value]),
  );
  return waypointPlace({ namespace: 'x', name: 'w', annotations: named }, nodes, current);
}

describe('local mesh: the place of a waypoint', () => {
  it('is the first node by name, or the one that the Gateway names, also where no pod runs', () => {
    assert.deepEqual(place(), { nodes: ['node-a'], problems: [] });
    assert.deepEqual(place({ node: 'node-c' }).nodes, ['node-c']);
    assert.deepEqual(place({ node: 'edge' }).nodes, ['edge']);
    assert.deepEqual(place({ node: 'edge' }, new Set()).nodes, ['edge']);
  });

  it('stays where it is when a node comes before it, until the Gateway names another', () => {
    assert.deepEqual(place({}, NODES, 'node-b').nodes, ['node-b']);
    assert.deepEqual(place({}, new Set(), 'node-b').nodes, ['node-b']);
    assert.deepEqual(place({ node: 'node-a' }, NODES, 'node-b').nodes, ['node-a']);
  });

  it('spreads instances over the nodes, in turn', () => {
    assert.deepEqual(place({ replicas: '2', node: 'node-c' }).nodes, ['node-c', 'node-a']);
    assert.deepEqual(place({ replicas: '4' }).nodes, ['node-a', 'node-b', 'node-c', 'node-a']);
    assert.deepEqual(place({ replicas: '2', node: 'edge' }, new Set(['node-a'])).nodes, ['edge', 'node-a']);
  });

  it('waits while there is no node', () => {
    assert.deepEqual(place({}, new Set()), { nodes: [], problems: [] });
  });

  it('names what it cannot follow, and what holds in its place', () => {
    for (const replicas of ['0', '5', 'two', '1.5', '', '-1']) {
      const { nodes, problems } = place({ replicas });
      assert.deepEqual(nodes, ['node-a']);
      assert.deepEqual(problems, [
        `metadata.annotations["local.loam.dev/replicas"] is ${JSON.stringify(replicas)}; allowed: 1 to 4; it has 1`,
      ]);
    }
    for (const node of ['Node_A', '', '../x', 'a b', 'x'.repeat(254)]) {
      const { nodes, problems } = place({ node });
      assert.deepEqual(nodes, ['node-a']);
      assert.equal(problems.length, 1);
      assert.match(
        problems[0] ?? '',
        /^metadata\.annotations\["local\.loam\.dev\/node"\] is ".*allowed: a DNS name/,
      );
    }
  });
});
