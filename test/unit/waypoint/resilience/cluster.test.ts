import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { LoadBalancing_Algorithm as Algorithm } from '../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { Cluster, type PickContext, type PickFailure } from '../../../../waypoint/resilience/cluster.ts';
import { endpointKey, type Endpoint } from '../../../../waypoint/resilience/endpoint.ts';
import type { Outcome } from '../../../../waypoint/resilience/outcome.ts';
import { endpoint, endpoints, FakeClock, policy, seededRandom, tally } from './tools.ts';

const OK: Outcome = { kind: 'status', status: 200 };
const RESET: Outcome = { kind: 'reset' };

function setUp(algorithm: Algorithm, more: { slowStart?: number; ignoreLocality?: boolean } = {}) {
  const clock = new FakeClock();
  const cluster = new Cluster({ now: clock.now, random: seededRandom(1) });
  return { clock, cluster, balancing: policy({ loadBalancing: { algorithm, ...more } }) };
}

function picked(result: Endpoint | PickFailure): Endpoint {
  assert.ok(typeof result !== 'string', `picked nothing: ${typeof result === 'string' ? result : ''}`);
  return result;
}

function uids(cluster: Cluster, count: number, context: PickContext = {}): string[] {
  return Array.from({ length: count }, () => picked(cluster.pick(context)).uid);
}

function share(cluster: Cluster, uid: string, count: number): number {
  return (tally(uids(cluster, count)).get(uid) ?? 0) / count;
}

function near(actual: number, expected: number, by: number): void {
  assert.ok(Math.abs(actual - expected) <= by, `${actual} is not within ${by} of ${expected}`);
}

describe('waypoint/resilience/cluster', () => {
  it('loadBalancing.algorithm LEAST_REQUEST: prefers the endpoint with fewer requests in flight', () => {
    const { cluster, balancing } = setUp(Algorithm.LEAST_REQUEST);
    const [busy, idle] = [endpoint('busy'), endpoint('idle')];
    cluster.update([busy, idle], balancing);
    for (let i = 0; i < 3; i++) cluster.begin(busy);
    assert.deepEqual([...tally(uids(cluster, 200)).keys()], ['idle']);
    for (let i = 0; i < 3; i++) cluster.done(busy, OK, 1);
    near(share(cluster, 'busy', 4_000), 0.5, 0.03);
  });

  it('loadBalancing.algorithm LEAST_REQUEST: shares by weight, idle and loaded', () => {
    const { cluster, balancing } = setUp(Algorithm.LEAST_REQUEST);
    const all = [endpoint('one', { weight: 1 }), endpoint('three', { weight: 3 })];
    cluster.update(all, balancing);
    near(share(cluster, 'three', 4_000), 0.75, 0.03);
    for (let i = 0; i < 400; i++) cluster.begin(picked(cluster.pick()));
    near(cluster.inFlight(all[1] ?? assert.fail()), 300, 3);
  });

  it('loadBalancing.algorithm LEAST_REQUEST: keeps the longest queue short where random does not', () => {
    const most = (algorithm: Algorithm) => {
      const { cluster, balancing } = setUp(algorithm);
      const all = endpoints(100);
      cluster.update(all, balancing);
      for (let i = 0; i < 1_000; i++) cluster.begin(picked(cluster.pick()));
      return Math.max(...all.map((e) => cluster.inFlight(e)));
    };
    assert.ok(most(Algorithm.LEAST_REQUEST) <= 13);
    assert.ok(most(Algorithm.RANDOM) >= 16);
  });

  it('loadBalancing.algorithm ROUND_ROBIN: takes turns exactly by weight, smoothly', () => {
    const { cluster, balancing } = setUp(Algorithm.ROUND_ROBIN);
    cluster.update([endpoint('a', { weight: 5 }), endpoint('b'), endpoint('c')], balancing);
    const counts = tally(uids(cluster, 7 * 50));
    near(counts.get('a') ?? 0, 250, 1);
    near(counts.get('b') ?? 0, 50, 1);
    near(counts.get('c') ?? 0, 50, 1);
    const sequence = uids(cluster, 700).join('');
    assert.ok(!sequence.includes('aaaaaa'), 'five of seven never come as six in a row');
  });

  it('loadBalancing.algorithm ROUND_ROBIN: goes round among equals', () => {
    const { cluster, balancing } = setUp(Algorithm.ROUND_ROBIN);
    cluster.update(endpoints(4), balancing);
    const sequence = uids(cluster, 12);
    assert.equal(new Set(sequence.slice(0, 4)).size, 4);
    assert.deepEqual(sequence.slice(4, 8), sequence.slice(0, 4));
  });

  it('loadBalancing.algorithm RANDOM: shares by weight, whatever is in flight', () => {
    const { cluster, balancing } = setUp(Algorithm.RANDOM);
    const ten = endpoint('ten', { weight: 10 });
    cluster.update([ten, endpoint('thirty', { weight: 30 }), endpoint('none', { weight: 0 })], balancing);
    for (let i = 0; i < 50; i++) cluster.begin(ten);
    const counts = tally(uids(cluster, 8_000));
    near((counts.get('ten') ?? 0) / 8_000, 0.25, 0.02);
    assert.equal(counts.get('none'), undefined);
  });

  it('loadBalancing.algorithm EWMA: leaves a slow endpoint, and tries it again once its slowness is old', () => {
    const { clock, cluster, balancing } = setUp(Algorithm.EWMA);
    const [slow, fast] = [endpoint('slow'), endpoint('fast')];
    cluster.update([slow, fast], balancing);
    cluster.begin(slow);
    cluster.done(slow, OK, 500);
    cluster.begin(fast);
    cluster.done(fast, OK, 5);
    assert.equal(share(cluster, 'fast', 100), 1);
    clock.advance(60_000);
    cluster.begin(fast);
    cluster.done(fast, OK, 5);
    assert.equal(share(cluster, 'slow', 100), 1);
  });

  it('loadBalancing.algorithm EWMA: requests in flight count, and a quick failure is not speed', () => {
    const { cluster, balancing } = setUp(Algorithm.EWMA);
    const [broken, good] = [endpoint('broken'), endpoint('good')];
    cluster.update([broken, good], balancing);
    cluster.begin(broken);
    cluster.done(broken, RESET, 1);
    cluster.begin(good);
    cluster.done(good, OK, 100);
    assert.equal(share(cluster, 'good', 100), 1);
    for (let i = 0; i < 20; i++) cluster.begin(good);
    assert.equal(share(cluster, 'broken', 100), 1);
  });

  it('loadBalancing.algorithm EWMA: an endpoint that hangs does not grow cheap with time', () => {
    const { clock, cluster, balancing } = setUp(Algorithm.EWMA);
    const [hanging, good] = [endpoint('hanging'), endpoint('good')];
    cluster.update([hanging, good], balancing);
    cluster.begin(hanging);
    cluster.begin(good);
    cluster.done(good, OK, 100);
    clock.advance(60_000);
    cluster.begin(good);
    cluster.done(good, OK, 100);
    assert.equal(share(cluster, 'good', 100), 1);
  });

  it('loadBalancing.algorithm CONSISTENT_HASH: a key stays at its endpoint, keys without a hash are spread', () => {
    const { cluster, balancing } = setUp(Algorithm.CONSISTENT_HASH);
    cluster.update(endpoints(10), balancing);
    assert.equal(new Set(uids(cluster, 50, { hashKey: 'alice' })).size, 1);
    assert.equal(
      new Set(Array.from({ length: 500 }, (_, i) => uids(cluster, 1, { hashKey: `${i}` })[0])).size,
      10,
    );
    assert.equal(new Set(uids(cluster, 500)).size, 10);
  });

  it('loadBalancing.algorithm CONSISTENT_HASH: an unready endpoint gives up its keys only, and gets them back', () => {
    const { cluster, balancing } = setUp(Algorithm.CONSISTENT_HASH);
    const keys = Array.from({ length: 300 }, (_, i) => `user-${i}`);
    const where = () => keys.map((hashKey) => picked(cluster.pick({ hashKey })).uid);
    const all = endpoints(5);
    cluster.update(all, balancing);
    const before = where();
    cluster.update(
      all.map((e) => (e.uid === 'pod-2' ? { ...e, healthy: false } : e)),
      balancing,
    );
    where().forEach((uid, i) => {
      if (before[i] === 'pod-2') assert.notEqual(uid, 'pod-2');
      else assert.equal(uid, before[i]);
    });
    cluster.update(all, balancing);
    assert.deepEqual(where(), before);
  });

  it('loadBalancing.slowStart: a new endpoint gets a tenth at first and its whole share in the end', () => {
    for (const algorithm of [Algorithm.LEAST_REQUEST, Algorithm.ROUND_ROBIN, Algorithm.RANDOM]) {
      const { clock, cluster, balancing } = setUp(algorithm, { slowStart: 10_000 });
      cluster.update([endpoint('old')], balancing);
      clock.advance(60_000);
      cluster.update([endpoint('old'), endpoint('new')], balancing);
      near(share(cluster, 'new', 4_000), 0.1 / 1.1, 0.02);
      clock.advance(5_000);
      near(share(cluster, 'new', 4_000), 0.5 / 1.5, 0.03);
      clock.advance(5_000);
      near(share(cluster, 'new', 4_000), 0.5, 0.03);
    }
  });

  it('loadBalancing.slowStart: does not apply to the first endpoints, and does to one that became ready', () => {
    const { clock, cluster, balancing } = setUp(Algorithm.ROUND_ROBIN, { slowStart: 10_000 });
    cluster.update([endpoint('a'), endpoint('b')], balancing);
    near(share(cluster, 'a', 1_000), 0.5, 0.01);
    clock.advance(60_000);
    cluster.update([endpoint('a', { healthy: false }), endpoint('b')], balancing);
    cluster.update([endpoint('a'), endpoint('b')], balancing);
    near(share(cluster, 'a', 1_100), 0.1 / 1.1, 0.01);
  });

  it('loadBalancing.ignoreLocality: false prefers the nearest rank and spills over when it has nothing', () => {
    const { cluster, balancing } = setUp(Algorithm.RANDOM);
    const near0 = endpoint('near');
    const far = endpoint('far', { rank: 2 });
    cluster.update([far, near0], balancing);
    assert.deepEqual(new Set(uids(cluster, 100)), new Set(['near']));
    cluster.update([far, { ...near0, healthy: false }], balancing);
    assert.deepEqual(new Set(uids(cluster, 100)), new Set(['far']));
  });

  it('loadBalancing.ignoreLocality: true uses all ranks alike', () => {
    const { cluster, balancing } = setUp(Algorithm.RANDOM, { ignoreLocality: true });
    cluster.update([endpoint('far', { rank: 2 }), endpoint('near')], balancing);
    near(share(cluster, 'far', 4_000), 0.5, 0.03);
  });

  it('avoids endpoints that were tried, farther ones too, unless there is nothing else', () => {
    for (const algorithm of [Algorithm.LEAST_REQUEST, Algorithm.CONSISTENT_HASH]) {
      const { cluster, balancing } = setUp(algorithm);
      const all = [endpoint('a'), endpoint('b'), endpoint('far', { rank: 1 })];
      cluster.update(all, balancing);
      const tried = new Set<string>();
      const order = all.map(() => {
        const chosen = picked(cluster.pick({ tried, hashKey: 'k' }));
        tried.add(endpointKey(chosen));
        return chosen.uid;
      });
      assert.deepEqual([...order.slice(0, 2)].sort(), ['a', 'b']);
      assert.equal(order[2], 'far');
      assert.notEqual(picked(cluster.pick({ tried, hashKey: 'k' })).uid, 'far');
    }
  });

  it('outlierDetection: gives a retry to an ejected endpoint before one that this request has tried', () => {
    const { cluster } = setUp(Algorithm.RANDOM);
    const outlierDetection = { consecutiveErrors: 1, baseEjection: 60_000, maxEjectedPercent: 50 };
    const [ejected, left] = [endpoint('ejected'), endpoint('left')];
    cluster.update([ejected, left], policy({ outlierDetection }));
    cluster.begin(ejected);
    cluster.done(ejected, RESET, 1);
    assert.deepEqual([...tally(uids(cluster, 50)).keys()], ['left'], 'first tries avoid it');
    const tried = new Set([endpointKey(left)]);
    assert.deepEqual([...tally(uids(cluster, 50, { tried })).keys()], ['ejected']);
    tried.add(endpointKey(ejected));
    assert.deepEqual([...tally(uids(cluster, 50, { tried })).keys()], ['left'], 'then it begins again');
    cluster.update([{ ...ejected, healthy: false }, left], policy({ outlierDetection }));
    assert.equal(uids(cluster, 1, { tried: new Set([endpointKey(left)]) })[0], 'left', 'not what is unready');
  });

  it('tells why nothing can be picked', () => {
    const { cluster } = setUp(Algorithm.RANDOM);
    assert.equal(cluster.pick(), 'no-endpoints');
    cluster.update([endpoint('drained', { weight: 0 })], undefined);
    assert.equal(cluster.pick(), 'no-endpoints');
    cluster.update([endpoint('a', { healthy: false })], undefined);
    assert.equal(cluster.pick(), 'none-healthy');
  });

  it('sends a session to its endpoint, even of weight 0, but not to one that is unready, tried or gone', () => {
    const { cluster, balancing } = setUp(Algorithm.RANDOM);
    const drained = endpoint('drained', { weight: 0 });
    cluster.update([drained, endpoint('a')], balancing);
    assert.deepEqual(new Set(uids(cluster, 20, { session: 'drained' })), new Set(['drained']));
    assert.equal(uids(cluster, 1, { session: 'drained', tried: new Set([endpointKey(drained)]) })[0], 'a');
    assert.equal(uids(cluster, 1, { session: 'nobody' })[0], 'a');
    cluster.update([{ ...drained, healthy: false }, endpoint('a')], balancing);
    assert.equal(uids(cluster, 1, { session: 'drained' })[0], 'a');
  });

  it('circuitBreaker.maxRequests: refuses more at once, counts it, and admits again after one is done', () => {
    const { cluster } = setUp(Algorithm.RANDOM);
    const a = endpoint('a');
    cluster.update([a], policy({ circuitBreaker: { maxRequests: 2 } }));
    cluster.begin(picked(cluster.pick()));
    cluster.begin(picked(cluster.pick()));
    assert.equal(cluster.pick(), 'circuit-open');
    assert.equal(cluster.pick({ session: 'a' }), 'circuit-open');
    assert.equal(cluster.circuit.stats().refused.requests, 2);
    cluster.done(a, OK, 1);
    assert.equal(picked(cluster.pick()).uid, 'a');
  });

  it('keeps what is known of endpoints that stay, and of those that left until their requests are over', () => {
    const { cluster, balancing } = setUp(Algorithm.LEAST_REQUEST);
    const [a, b] = [endpoint('a'), endpoint('b')];
    cluster.update([a, b], balancing);
    cluster.begin(a);
    cluster.update([b], balancing);
    assert.equal(cluster.inFlight(a), 1);
    assert.deepEqual(new Set(uids(cluster, 20)), new Set(['b']));
    cluster.update([{ ...a, address: '198.18.0.7' }, b], balancing);
    assert.deepEqual(new Set(uids(cluster, 20)), new Set(['b']), 'its request still counts');
    cluster.update([b], balancing);
    cluster.done(a, OK, 1);
    assert.equal(cluster.inFlight(a), 0);
    assert.equal(cluster.circuit.stats().requests, 0);
  });

  it('never counts below zero, whatever is begun and done', () => {
    const step = fc.tuple(fc.constantFrom('begin', 'done', 'list', 'unlist'), fc.nat(3));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const cluster = new Cluster({ now: () => 0, random: () => 0.5 });
        const all = endpoints(4);
        let listed = all;
        cluster.update(listed, undefined);
        for (const [what, index] of steps) {
          const target = all[index] ?? assert.fail();
          if (what === 'begin') cluster.begin(target);
          else if (what === 'done') cluster.done(target, RESET, 1);
          else listed = all.filter((e) => (e === target ? what === 'list' : listed.includes(e)));
          if (what === 'list' || what === 'unlist') cluster.update(listed, undefined);
          assert.ok(all.every((e) => cluster.inFlight(e) >= 0));
          const inFlight = all.reduce((sum, e) => sum + cluster.inFlight(e), 0);
          assert.equal(cluster.circuit.stats().requests, inFlight);
        }
      }),
    );
  });
});
