import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import {
  agentInstance,
  checkMeshName,
  netnsName,
  netnsPrefix,
  vethName,
  waypointVethName,
} from '../../../../cli/local/names.ts';

describe('local mesh: names', () => {
  it('lets a mesh be read back from a namespace without doubt', () => {
    assert.throws(() => checkMeshName('a-node'), /allowed: 1 to 12 lower-case letters and digits/);
    assert.throws(() => checkMeshName('..'), /is not usable/);
    assert.throws(() => checkMeshName('machine'), /is not usable/);
    assert.equal(checkMeshName('local'), 'local');
    assert.ok(!netnsName('ab', { kind: 'fabric' }).startsWith(netnsPrefix('a')));
  });

  it('tells waypoints from one another and from pods', () => {
    const name = (namespace: string, gateway: string, index = 0): string =>
      netnsName('local', { kind: 'waypoint', namespace, name: gateway, index });
    assert.equal(name('shop', 'waypoint'), 'loam-local-waypoint-shop_waypoint-0');
    assert.notEqual(name('a', 'b-c'), name('a-b', 'c'));
    assert.notEqual(name('a', 'b', 1), name('a', 'b', 2));
    assert.equal(waypointVethName('n'.repeat(63), 'g'.repeat(253), 3).length, 13);
    assert.notEqual(waypointVethName('a', 'b', 0), waypointVethName('a', 'b', 1));
    assert.notEqual(waypointVethName('a', 'b', 0), vethName('a', 'b-0'));
  });

  it('fits the longest names that Kubernetes allows', () => {
    const long = { kind: 'pod', namespace: 'n'.repeat(63), name: 'p'.repeat(253) } as const;
    const name = netnsName('local', long);
    assert.ok(name.length <= 200);
    assert.notEqual(name, netnsName('local', { ...long, name: `${'p'.repeat(252)}q` }));
    assert.equal(vethName(long.namespace, long.name).length, 14);
    assert.notEqual(vethName('a', 'b-c'), vethName('a-b', 'c'));
  });

  it('gives every node of every mesh an instance that the agent takes', () => {
    assert.equal(agentInstance('local', 'node-a'), 'local-node-a');
    for (const node of ['a.b.example', 'n'.repeat(253), 'worker-1']) {
      assert.match(agentInstance('abcdefghijkl', node), /^[a-z0-9-]{1,32}$/);
    }
    assert.notEqual(agentInstance('local', 'a.b'), agentInstance('local', 'a-b'));
  });
});
