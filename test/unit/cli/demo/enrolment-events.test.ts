import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { enrolmentEvents } from '../../../../cli/demo/enrolment-events.ts';

describe('demo: events', () => {
  it('tells of pods that leave the mesh and join it, not of new ones', () => {
    const pods = (a: boolean, b: boolean): Map<string, boolean> =>
      new Map([
        ['a', a],
        ['b', b],
      ]);
    assert.deepEqual(enrolmentEvents(pods(true, true), pods(false, false)), [
      '2 pods left the mesh: their calls are no longer seen, no policy holds',
    ]);
    assert.deepEqual(enrolmentEvents(pods(true, true), pods(true, false)), [
      'pod b left the mesh: its calls are no longer seen, no policy holds',
    ]);
    assert.deepEqual(enrolmentEvents(pods(false, true), pods(true, true)), ['pod a joined the mesh']);
    assert.deepEqual(enrolmentEvents(new Map(), pods(true, false)), []);
  });
});
