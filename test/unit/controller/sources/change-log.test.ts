import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { ChangeLog } from '../../../../controller/sources/change-log.ts';

describe('sources/change-log', () => {
  it('tells which pods have changed since somebody looked', () => {
    const log = new ChangeLog();
    const before = log.position;
    log.pods(['Pod/a', 'Pod/b']);
    const between = log.position;
    log.pods(['Pod/b']);
    assert.deepEqual(log.since(before), new Set(['Pod/a', 'Pod/b']));
    assert.deepEqual(log.since(between), new Set(['Pod/b']));
    assert.deepEqual(log.since(log.position), new Set());
    log.forget(between);
    assert.equal(log.since(before), undefined);
    assert.deepEqual(log.since(between), new Set(['Pod/b']));
  });

  it('does not tell what it does not know: after anything has changed, or very much', () => {
    const log = new ChangeLog();
    const before = log.position;
    log.anything();
    assert.equal(log.since(before), undefined);
    const after = log.position;
    log.pods(['Pod/a']);
    assert.deepEqual(log.since(after), new Set(['Pod/a']));
    for (let i = 0; i < 300; i += 1) log.pods(Array.from({ length: 100 }, (_, n) => `Pod/${i}-${n}`));
    assert.equal(log.since(after), undefined);
    const last = log.position;
    log.pods(['Pod/b']);
    assert.deepEqual(log.since(last), new Set(['Pod/b']));
  });
});
