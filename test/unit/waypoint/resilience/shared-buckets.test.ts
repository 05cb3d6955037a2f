import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { create } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import {
  RateLimitRule_Key as Key,
  RateLimitSchema,
} from '../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { LocalBuckets, type BucketRate } from '../../../../waypoint/resilience/local-buckets.ts';
import { LocalRateLimit } from '../../../../waypoint/resilience/rate-limit.ts';
import { SharedBuckets } from '../../../../waypoint/resilience/shared-buckets.ts';
import { FakeClock, head } from './tools.ts';

const RATE: BucketRate = { requests: 10, per: 1_000, burst: 5 };
const MODULE = new URL(
  `../../../../waypoint/resilience/shared-buckets.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`,
  import.meta.url,
).href;

function admitted(take: () => number, count: number): number {
  return Array.from({ length: count }, take).filter((waitMs) => waitMs === 0).length;
}

describe('waypoint/resilience/shared-buckets', () => {
  it('admits what buckets of one thread admit, at any times and for any keys', () => {
    const step = fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.nat(300), fc.boolean());
    fc.assert(
      fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
        const clock = new FakeClock();
        const local = new LocalBuckets(RATE, 100);
        const shared = new SharedBuckets(SharedBuckets.allocate()).ofRule('rule', RATE);
        for (const [key, ms, giveBack] of steps) {
          clock.advance(ms);
          const [one, other] = [local.take(key, clock.now()), shared.take(key, clock.now())];
          assert.ok(Math.abs(one - other) < 0.01, `${one} and ${other}`);
          if (!giveBack || one > 0) continue;
          local.giveBack(key, clock.now());
          shared.giveBack(key, clock.now());
        }
      }),
      { numRuns: 30 },
    );
  });

  it('is one limit for all threads', async () => {
    const buffer = SharedBuckets.allocate();
    const code = `
      const { parentPort, workerData } = require('node:worker_threads');
      import(workerData.module).then(({ SharedBuckets }) => {
        const rule = new SharedBuckets(workerData.buffer).ofRule('rule', { requests: 1, per: 1e9, burst: 5_000 });
        let admitted = 0;
        for (let i = 0; i < 5_000; i++) if (rule.take('key', 1_000) === 0) admitted++;
        parentPort.postMessage(admitted);
      });`;
    const counts = await Promise.all(
      [1, 2, 3].map(async () => {
        const worker = new Worker(code, { eval: true, workerData: { buffer, module: MODULE } });
        const [count] = (await once(worker, 'message')) as [number];
        await worker.terminate();
        return count;
      }),
    );
    assert.equal(
      counts.reduce((a, b) => a + b),
      5_000,
    );
  });

  it('invented keys find no room that is in use, and share one bucket then', () => {
    const clock = new FakeClock();
    const rule = new SharedBuckets(SharedBuckets.allocate()).ofRule('rule', {
      requests: 1,
      per: 1e9,
      burst: 2,
    });
    assert.equal(
      admitted(() => rule.take('victim', clock.now()), 5),
      2,
    );
    let n = 0;
    const flood = admitted(() => rule.take(`invented-${n++}`, clock.now()), 80_000);
    assert.ok(flood <= 65_536 + 2, `${flood}`);
    assert.equal(
      admitted(() => rule.take('victim', clock.now()), 5),
      0,
    );
    clock.advance(2e9);
    assert.equal(
      admitted(() => rule.take('newcomer', clock.now()), 5),
      2,
    );
  });

  it('goes on when a thread ended while it held a lock', () => {
    const buffer = SharedBuckets.allocate();
    new Int32Array(buffer, 0, 8_192).fill(1);
    const rule = new SharedBuckets(buffer).ofRule('rule', RATE);
    assert.equal(
      admitted(() => rule.take('key', 1_000), 9),
      5,
    );
  });

  it('serves a rate limit: limits of one name share, others do not, and a refusal takes nothing', () => {
    const clock = new FakeClock();
    const buckets = new SharedBuckets(SharedBuckets.allocate());
    const config = create(RateLimitSchema, {
      rules: [
        { requests: 1, per: 1_000, burst: 4 },
        { requests: 1, per: 1_000, burst: 1, key: Key.HEADER, header: 'x-user' },
      ],
    });
    const limit = (name: string) => new LocalRateLimit(config, { shared: { buckets, name }, now: clock.now });
    const [one, same, other] = [limit('shop/a'), limit('shop/a'), limit('shop/b')];
    const check = (by: LocalRateLimit, user: string) => by.check(head({ 'x-user': user })).admit;
    assert.deepEqual(
      [check(one, 'u'), check(same, 'u'), check(same, 'u'), check(other, 'u')],
      [true, false, false, true],
    );
    assert.deepEqual(
      ['v', 'w', 'x', 'y'].map((user) => check(same, user)),
      [true, true, true, false],
    );
  });
});
