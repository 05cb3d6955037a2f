import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { Rates } from '../../../../cli/demo/rates.ts';
import { RequestChanges } from '../../../../cli/demo/request-changes.ts';
import type { RequestLine } from '../../../../cli/demo/request-log.ts';
import { book, denial, request } from './support/requests.ts';

describe('demo: changes in what becomes of requests', () => {
  /** Looks once a second, each time after one more batch of lines. */
  function texts(...batches: readonly RequestLine[][]): string[] {
    const changes = new RequestChanges();
    const all: RequestLine[] = [];
    return batches.flatMap((batch, second) => {
      all.push(...batch);
      const seen = book(all);
      return changes.look(second * 1000, seen.requests(), seen.denied()).map(({ text }) => text);
    });
  }
  const good = request('frontend', 'auth', 'auth');
  const byFallback = request('frontend', 'auth', 'auth-fallback', { fallback: true, attempts: 2 });
  const refused = denial('frontend', 'auth', 'GET /secret', 'p');

  it('says when a fallback begins to answer and when it stops', () => {
    assert.deepEqual(texts([good], [byFallback], [byFallback, good], [], [good]), [
      'frontend → auth is answered by the fallback now',
      'frontend → auth is answered without the fallback again',
    ]);
  });

  it('says when requests are denied that were let in, and the reverse', () => {
    assert.deepEqual(texts([good], [], [], [], [], [refused], [refused], [good]), [
      'frontend → auth is denied now',
      'frontend → auth gets through now',
    ]);
  });

  it('keeps still about a client whose requests are let in and denied by what they ask', () => {
    assert.deepEqual(texts([good, refused], [refused], [good], [refused], [good, refused]), []);
  });

  it('takes rates over the last moments', () => {
    const rates = new Rates();
    assert.equal(rates.of('x'), 0);
    for (let second = 0; second <= 5; second++) rates.note(second * 1000, new Map([['x', second * 10]]));
    assert.equal(rates.of('x'), 10);
    assert.equal(rates.of('y'), 0);
    rates.note(9000, new Map([['x', 50]]));
    assert.equal(rates.of('x'), 0, 'what is long ago does not count');
  });
});
