import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { DATAPLANE_MODE_LABEL, isEnrolled } from '../../../lib/enrolment.ts';

const label = (mode: string): Record<string, string> => ({ [DATAPLANE_MODE_LABEL]: mode });

describe('lib/enrolment', () => {
  it('follows the namespace where the pod says nothing', () => {
    assert.equal(isEnrolled({}, label('ambient')), true);
    assert.equal(isEnrolled(undefined, {}), false);
    assert.equal(isEnrolled(undefined, undefined), false);
  });

  it('lets the pod decide, both ways', () => {
    assert.equal(isEnrolled(label('none'), label('ambient')), false);
    assert.equal(isEnrolled(label('ambient'), label('none')), true);
  });

  it('takes no other word for yes', () => {
    for (const mode of ['Ambient', 'true', 'enabled', ''])
      assert.equal(isEnrolled(label(mode), undefined), false);
  });
});
