import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'mocha';
import { SparePrograms } from '../../../agent/spare-programs.ts';
import { FakeClock, FakeRedirection } from './fakes.ts';

describe('agent/spare-programs', () => {
  let clock: FakeClock;
  let redirection: FakeRedirection;
  let spares: SparePrograms;

  beforeEach(() => {
    clock = new FakeClock();
    redirection = new FakeRedirection();
    redirection.sparesMissing = 3;
    spares = new SparePrograms(redirection, clock);
  });

  it('makes none while passes follow each other', () => {
    for (let i = 0; i < 20; i += 1) {
      spares.passed();
      clock.advance(400);
    }
    assert.equal(redirection.sparesMissing, 3);
  });

  it('makes one after the other when it is quiet, and then no more', () => {
    spares.passed();
    clock.advance(550);
    assert.equal(redirection.sparesMissing, 2);
    clock.advance(1000);
    assert.equal(redirection.sparesMissing, 0);
    redirection.sparesMissing = 1;
    clock.advance(60_000);
    assert.equal(redirection.sparesMissing, 1);
  });

  it('makes none once it was stopped', () => {
    spares.passed();
    spares.stop();
    clock.advance(60_000);
    assert.equal(redirection.sparesMissing, 3);
  });
});
