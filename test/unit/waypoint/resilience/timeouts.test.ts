import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { formatGrpcTimeout, parseGrpcTimeout } from '../../../../waypoint/resilience/grpc-timeout.ts';
import { IdleTimeout } from '../../../../waypoint/resilience/idle-timeout.ts';
import { connectTimeoutMs, Deadline } from '../../../../waypoint/resilience/timeouts.ts';
import { FakeClock } from './tools.ts';

const NO_ATTEMPT_BOUNDS = { perTry: 0, backendRequest: 0 };

function deadline(clock: FakeClock, request: number, routeRequest = 0, grpcTimeout?: string): Deadline {
  return new Deadline({ timeouts: { request }, routeRequest, grpcTimeout }, clock.now);
}

describe('waypoint/resilience/timeouts', () => {
  it('timeouts.request: runs over all attempts and the waits between', () => {
    const clock = new FakeClock();
    const whole = deadline(clock, 1_000);
    assert.equal(whole.remainingMs(), 1_000);
    clock.advance(400);
    assert.deepEqual(whole.attempt(NO_ATTEMPT_BOUNDS), {
      ms: 600,
      means: { kind: 'request-timeout', by: 'policy' },
    });
    clock.advance(5_000);
    assert.equal(whole.remainingMs(), 0);
  });

  it('timeouts.request: 0 is none', () => {
    const whole = deadline(new FakeClock(), 0);
    assert.equal(whole.remainingMs(), undefined);
    assert.equal(whole.attempt(NO_ATTEMPT_BOUNDS), undefined);
    assert.equal(whole.grpcTimeout(undefined), undefined);
  });

  it('timeouts.request: that of the route stands in its place, shorter or longer', () => {
    assert.equal(deadline(new FakeClock(), 1_000, 300).remainingMs(), 300);
    assert.equal(deadline(new FakeClock(), 1_000, 3_000).remainingMs(), 3_000);
    assert.equal(
      new Deadline({ timeouts: undefined, routeRequest: 70 }, new FakeClock().now).remainingMs(),
      70,
    );
  });

  it('timeouts.request: a grpc-timeout can only shorten it, and then it is the client that set it', () => {
    const shorter = deadline(new FakeClock(), 1_000, 0, '200m');
    assert.equal(shorter.remainingMs(), 200);
    assert.equal(shorter.by, 'client');
    const longer = deadline(new FakeClock(), 1_000, 0, '1H');
    assert.equal(longer.remainingMs(), 1_000);
    assert.equal(longer.by, 'policy');
    assert.equal(deadline(new FakeClock(), 0, 0, '99999999H').by, undefined);
    assert.equal(deadline(new FakeClock(), 1_000, 0, '-5m').remainingMs(), 1_000);
  });

  it('retries.perTryTimeout: bounds an attempt unless the request has less left', () => {
    const clock = new FakeClock();
    const whole = deadline(clock, 1_000);
    assert.deepEqual(whole.attempt({ perTry: 300, backendRequest: 0 }), {
      ms: 300,
      means: { kind: 'try-timeout' },
    });
    clock.advance(800);
    assert.equal(whole.attempt({ perTry: 300, backendRequest: 0 })?.means.kind, 'request-timeout');
    assert.equal(deadline(clock, 0).attempt({ perTry: 300, backendRequest: 0 })?.ms, 300);
  });

  it("retries.perTryTimeout: the route's backend request timeout stands in its place", () => {
    const whole = deadline(new FakeClock(), 1_000);
    assert.equal(whole.attempt({ perTry: 300, backendRequest: 500 })?.ms, 500);
  });

  it('a server gets what is left as grpc-timeout, never more', () => {
    const clock = new FakeClock();
    const whole = deadline(clock, 0, 0, '5S');
    clock.advance(1_234);
    assert.equal(whole.grpcTimeout(whole.attempt({ perTry: 0, backendRequest: 0 })), '3766m');
    assert.equal(whole.grpcTimeout(whole.attempt({ perTry: 250, backendRequest: 0 })), '250m');
    clock.advance(60_000);
    assert.equal(whole.grpcTimeout(undefined), '1u');
  });

  it('timeouts.connect: bounds a connection, and what is left of the request too', () => {
    assert.equal(connectTimeoutMs({ connect: 2_000 }), 2_000);
    assert.equal(connectTimeoutMs({ connect: 2_000 }, 500), 500);
    assert.equal(connectTimeoutMs(undefined), 10_000);
  });

  it('timeouts.idle: fires once nothing has moved for so long, with one timer', () => {
    const clock = new FakeClock();
    let fired = 0;
    const idle = new IdleTimeout(1_000, () => fired++, clock);
    for (let i = 0; i < 20; i++) {
      clock.advance(400);
      idle.touch();
      assert.equal(clock.timers, 1);
    }
    clock.advance(999);
    assert.equal(fired, 0);
    clock.advance(1);
    assert.equal(fired, 1);
    clock.advance(10_000);
    assert.equal(fired, 1);
    assert.equal(clock.timers, 0);
  });

  it('timeouts.idle: 0 is none, and a stopped one leaves no timer', () => {
    const clock = new FakeClock();
    const none = new IdleTimeout(0, () => assert.fail(), clock);
    assert.equal(clock.timers, 0);
    none.stop();
    const stopped = new IdleTimeout(1_000, () => assert.fail(), clock);
    stopped.stop();
    assert.equal(clock.timers, 0);
    clock.advance(5_000);
  });

  it('grpc-timeout: every unit, and nothing else', () => {
    assert.deepEqual(
      ['2H', '3M', '4S', '5m', '6u', '7n'].map(parseGrpcTimeout),
      [7_200_000, 180_000, 4_000, 5, 0.006, 7e-6],
    );
    for (const wrong of ['', '5', 'm', '123456789m', '1.5S', ' 5m', '5m ', '5x', '-5m', '5m,5m']) {
      assert.equal(parseGrpcTimeout(wrong), undefined, JSON.stringify(wrong));
    }
  });

  it('grpc-timeout: what is written can be read and is never more than meant', () => {
    fc.assert(
      fc.property(fc.double({ min: 0.002, max: 2 ** 46, noNaN: true }), (ms) => {
        const text = formatGrpcTimeout(ms);
        const read = parseGrpcTimeout(text);
        assert.ok(read !== undefined && read > 0 && read <= ms + 1e-9, `${ms}: ${text}`);
      }),
    );
  });
});
