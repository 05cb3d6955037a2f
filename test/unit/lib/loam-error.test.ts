import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { errorText } from '../../../lib/loam-error.ts';

describe('the text of an error', () => {
  it('tells its causes, each once', () => {
    const cause = new Error('no such file', { cause: new Error('ENOENT') });
    assert.equal(errorText(new Error('cannot start', { cause })), 'cannot start: no such file: ENOENT');
    assert.equal(
      errorText(new Error('cannot start: no such file: ENOENT; look there', { cause })),
      'cannot start: no such file: ENOENT; look there',
    );
  });

  it('takes whatever was thrown', () => {
    assert.equal(errorText('a text'), 'a text');
    assert.equal(errorText(new Error('failed', { cause: new Error('') })), 'failed');
  });
});
