import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { parseWaypointGuardName, waypointGuardName } from '../../../lib/waypoint-guard.ts';

describe('waypoint guard names', () => {
  it('tell ports and waypoints, whatever the order', () => {
    const name = waypointGuardName({ ports: [8080, 80], waypoints: ['shop/way', 'infra/way.b-2'] });
    assert.equal(name, waypointGuardName({ ports: [80, 8080], waypoints: ['infra/way.b-2', 'shop/way'] }));
    assert.deepEqual(parseWaypointGuardName(name), {
      ports: [80, 8080],
      waypoints: ['infra/way.b-2', 'shop/way'],
    });
  });
  it('are no other', () => {
    for (const name of [
      'loam_waypoint_',
      'loam_waypoint_80',
      'loam_waypoint_80_a',
      'loam_waypoint_x_a_b',
      'p',
    ])
      assert.equal(parseWaypointGuardName(name), undefined, name);
  });
});
