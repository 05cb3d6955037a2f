import assert from 'node:assert/strict';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { describe, it } from 'mocha';
import {
  RateLimitRule_Key as Key,
  RateLimitSchema,
  type RateLimitRuleSchema,
} from '../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { LocalRateLimit } from '../../../../waypoint/resilience/rate-limit.ts';
import type { RequestHead } from '../../../../lib/mesh/waypoint/request.ts';
import { FakeClock, head } from './tools.ts';

type Rule = MessageInitShape<typeof RateLimitRuleSchema>;

const config = (...rules: Rule[]) =>
  create(RateLimitSchema, {
    rules: rules.map((r) => ({ requests: 10, per: 1_000, burst: 5, status: 429, ...r })),
  });

function setUp(rules: Rule[], mostKeys?: number) {
  const clock = new FakeClock();
  const limit = new LocalRateLimit(config(...rules), { now: clock.now, ...(mostKeys && { mostKeys }) });
  const admitted = (count: number, request = head()) =>
    Array.from({ length: count }, () => limit.check(request).admit).filter(Boolean).length;
  return { clock, limit, admitted };
}

const from = (ip: string, serviceAccount?: string): RequestHead =>
  head(
    {},
    {
      source: {
        ip,
        port: 1,
        workload: undefined,
        identity:
          serviceAccount === undefined
            ? undefined
            : { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount },
      },
    },
  );

describe('waypoint/resilience/rate-limit', () => {
  it('rateLimit.rules.requests, rateLimit.rules.per: so many in that time, evenly refilled', () => {
    const { clock, admitted } = setUp([{ requests: 10, per: 1_000, burst: 1 }]);
    assert.equal(admitted(3), 1);
    clock.advance(99);
    assert.equal(admitted(3), 0);
    clock.advance(1);
    assert.equal(admitted(3), 1);
    let total = 0;
    for (let ms = 0; ms < 10_000; ms += 10) {
      clock.advance(10);
      total += admitted(2);
    }
    assert.equal(total, 100);
  });

  it('rateLimit.rules.burst: so many at once, and no more after any pause', () => {
    const { clock, admitted } = setUp([{ burst: 5 }]);
    assert.equal(admitted(20), 5);
    clock.advance(3_600_000);
    assert.equal(admitted(20), 5);
  });

  it('rateLimit.rules.key ALL: one bucket', () => {
    const { admitted } = setUp([{ key: Key.ALL }]);
    assert.equal(admitted(3, from('198.18.0.1', 'a')) + admitted(9, from('198.18.0.2', 'b')), 5);
  });

  it('rateLimit.rules.key SOURCE_IDENTITY: one for each identity, one for those without', () => {
    const { admitted } = setUp([{ key: Key.SOURCE_IDENTITY }]);
    assert.equal(admitted(9, from('198.18.0.1', 'a')), 5);
    assert.equal(admitted(9, from('198.18.0.2', 'a')), 0);
    assert.equal(admitted(9, from('198.18.0.1', 'b')), 5);
    assert.equal(admitted(9, from('198.18.0.3')), 5);
    assert.equal(admitted(9, from('198.18.0.4')), 0);
  });

  it('rateLimit.rules.key SOURCE_IP: one for each address', () => {
    const { admitted } = setUp([{ key: Key.SOURCE_IP }]);
    assert.equal(admitted(9, from('198.18.0.1', 'a')), 5);
    assert.equal(admitted(9, from('198.18.0.1', 'b')), 0);
    assert.equal(admitted(9, from('198.18.0.2', 'a')), 5);
  });

  it('rateLimit.rules.header: one for each value with key HEADER, long ones too, one for those without', () => {
    const { admitted } = setUp([{ key: Key.HEADER, header: 'X-Api-Key' }]);
    assert.equal(admitted(9, head({ 'x-api-key': 'a' })), 5);
    assert.equal(admitted(9, head({ 'x-api-key': 'b' })), 5);
    assert.equal(admitted(9, head({ 'x-api-key': `${'l'.repeat(100)}1` })), 5);
    assert.equal(admitted(9, head({ 'x-api-key': `${'l'.repeat(100)}2` })), 5);
    assert.equal(admitted(9, head({ 'x-api-key': `${'l'.repeat(100)}1` })), 0);
    assert.equal(admitted(9, head()), 5);
    assert.equal(admitted(9, head({ other: 'x' })), 0);
  });

  it('rateLimit.rules.status: the answer, with when to come again', () => {
    const { limit, admitted } = setUp([{ requests: 1, per: 10_000, burst: 1, status: 503 }]);
    assert.equal(admitted(1), 1);
    assert.deepEqual(limit.check(head()), {
      admit: false,
      status: 503,
      retryAfterMs: 10_000,
      retryAfter: '10',
      rule: 0,
    });
    const quick = setUp([{ requests: 1_000, per: 1_000, burst: 1, status: 0 }]);
    quick.admitted(1);
    const refused = quick.limit.check(head());
    assert.ok(!refused.admit && refused.status === 429 && refused.retryAfter === '1');
  });

  it('rateLimit.rules: all must admit, and a refusal takes from none', () => {
    const { clock, limit, admitted } = setUp([
      { burst: 5 },
      { requests: 1, per: 1_000, burst: 1, key: Key.SOURCE_IP },
    ]);
    assert.equal(admitted(10, from('198.18.0.1')), 1);
    const refused = limit.check(from('198.18.0.1'));
    assert.ok(!refused.admit && refused.rule === 1);
    const others = [2, 3, 4, 5].map((i) => admitted(1, from(`198.18.0.${i}`)));
    assert.deepEqual(others, [1, 1, 1, 1], 'four of the five were left');
    assert.equal(admitted(1, from('198.18.0.6')), 0);
    clock.advance(1_000);
    assert.equal(admitted(1, from('198.18.0.6')), 1);
  });

  it('rateLimit.rules: none admits everything', () => {
    assert.equal(setUp([]).admitted(100), 100);
    assert.deepEqual(new LocalRateLimit(undefined).check(head()), { admit: true });
  });

  it('invented keys cost bounded memory and gain nothing', () => {
    const { clock, admitted } = setUp([{ key: Key.SOURCE_IP, burst: 2, requests: 1, per: 1_000 }], 10);
    assert.equal(admitted(5, from('victim')), 2);
    let total = 0;
    for (let i = 0; i < 500; i++) total += admitted(1, from(`invented-${i}`));
    assert.equal(total, 9 + 2, 'nine buckets more, then all share one');
    assert.equal(admitted(5, from('victim')), 0, 'the used bucket was not forgotten');
    clock.advance(2_000);
    assert.equal(admitted(5, from('newcomer')), 2, 'idle buckets make room');
  });

  it('an edit keeps the buckets of rules that stay', () => {
    const { limit, admitted } = setUp([{ burst: 5 }]);
    assert.equal(admitted(9), 5);
    limit.configure(config({ requests: 1_000, burst: 1_000, key: Key.SOURCE_IP }, { burst: 5 }));
    assert.equal(admitted(9), 0);
    limit.configure(config({ burst: 6 }));
    assert.equal(admitted(9), 6);
  });
});
