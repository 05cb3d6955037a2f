import assert from 'node:assert/strict';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { describe, it } from 'mocha';
import {
  RetriesSchema,
  RetryCondition as On,
  RouteRetrySchema,
} from '../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import type { Outcome } from '../../../../waypoint/resilience/outcome.ts';
import { RetryPolicy, type RequestFacts } from '../../../../waypoint/resilience/retry-policy.ts';
import { RetryBudget } from '../../../../waypoint/resilience/retry-budget.ts';
import { FakeClock, seededRandom } from './tools.ts';

const GET: RequestFacts = {
  method: 'GET',
  grpc: false,
  replayable: true,
  responseStarted: false,
  remainingMs: undefined,
};
const POST: RequestFacts = { ...GET, method: 'POST' };
const CALL: RequestFacts = { ...POST, grpc: true };

const status = (code: number, retryAfter?: string): Outcome => ({ kind: 'status', status: code, retryAfter });
const grpc = (grpcStatus: number): Outcome => ({ kind: 'grpc-status', grpcStatus });
const CONNECT: Outcome = { kind: 'connect-failure' };
const REFUSED: Outcome = { kind: 'refused-stream' };
const RESET: Outcome = { kind: 'reset' };
const TRY_TIMEOUT: Outcome = { kind: 'try-timeout' };

type Init = MessageInitShape<typeof RetriesSchema>;

function retries(init: Init, random = () => 0.5, wallNow = () => 0): RetryPolicy {
  return RetryPolicy.from(
    create(RetriesSchema, { attempts: 2, backoffBase: 100, backoffMax: 1_000, ...init }),
    undefined,
    {
      random,
      wallNow,
    },
  );
}

function verdict(policy: RetryPolicy, outcome: Outcome, facts = GET, attempt = 0): true | string {
  const decision = policy.decide(outcome, attempt, facts);
  return decision.retry ? true : decision.why;
}

function delay(policy: RetryPolicy, outcome: Outcome, attempt = 0): number {
  const decision = policy.decide(outcome, attempt, GET);
  assert.ok(decision.retry);
  return decision.delayMs;
}

describe('waypoint/resilience/retry-policy', () => {
  it('retries.on: each condition holds for what it names and for nothing else', () => {
    const cases: [On, Outcome[]][] = [
      [On.CONNECT_FAILURE, [CONNECT]],
      [On.REFUSED_STREAM, [REFUSED]],
      [On.RESET, [RESET]],
      [On.GATEWAY_ERROR, [status(502), status(503), status(504), TRY_TIMEOUT, { kind: 'protocol-error' }]],
      [
        On.SERVER_ERROR,
        [status(500), status(502), status(503), status(504), TRY_TIMEOUT, { kind: 'protocol-error' }],
      ],
      [On.GRPC_CANCELLED, [grpc(1)]],
      [On.GRPC_DEADLINE_EXCEEDED, [grpc(4)]],
      [On.GRPC_INTERNAL, [grpc(13)]],
      [On.GRPC_RESOURCE_EXHAUSTED, [grpc(8)]],
      [On.GRPC_UNAVAILABLE, [grpc(14)]],
    ];
    const all = new Map(cases.flatMap(([, outcomes]) => outcomes).map((o) => [JSON.stringify(o), o]));
    for (const extra of [status(200), status(404), grpc(0), grpc(12)]) all.set(JSON.stringify(extra), extra);
    for (const [condition, outcomes] of cases) {
      const policy = retries({ on: [condition] });
      const held = [...all.values()].filter((outcome) => verdict(policy, outcome) === true);
      const sorted = (list: Outcome[]) => list.map((o) => JSON.stringify(o)).sort();
      assert.deepEqual(sorted(held), sorted(outcomes), On[condition]);
    }
  });

  it('retries.on: what could not be sent for our own reasons is never retried', () => {
    const policy = retries({ on: [On.CONNECT_FAILURE, On.SERVER_ERROR, On.RESET], retryNonIdempotent: true });
    const outcomes: Outcome[] = [
      { kind: 'circuit-open' },
      { kind: 'no-endpoint' },
      { kind: 'request-timeout', by: 'policy' },
      { kind: 'client-gone' },
    ];
    for (const outcome of outcomes) assert.equal(verdict(policy, outcome), 'not-retriable', outcome.kind);
  });

  it('retries.on: an attempt of a gRPC call that ran out of time is DEADLINE_EXCEEDED', () => {
    const policy = retries({ on: [On.GRPC_DEADLINE_EXCEEDED] });
    assert.equal(verdict(policy, TRY_TIMEOUT, CALL), true);
    assert.equal(verdict(policy, TRY_TIMEOUT, GET), 'not-retriable');
  });

  it('retries.on: gRPC conditions hold for calls, which are all POST; a reset does not', () => {
    const policy = retries({ on: [On.GRPC_UNAVAILABLE, On.RESET] });
    assert.equal(verdict(policy, grpc(14), CALL), true);
    assert.equal(verdict(policy, RESET, CALL), 'method');
  });

  it('retries.statuses: these as well, an attempt without time as 504', () => {
    const policy = retries({ on: [On.CONNECT_FAILURE], statuses: [409, 504] });
    assert.equal(verdict(policy, status(409)), true);
    assert.equal(verdict(policy, TRY_TIMEOUT), true);
    assert.equal(verdict(policy, status(503)), 'not-retriable');
  });

  it('retries.attempts: so many after the first, 0 is off', () => {
    const policy = retries({ on: [On.RESET], attempts: 3 });
    assert.deepEqual(
      [0, 1, 2, 3].map((attempt) => verdict(policy, RESET, GET, attempt)),
      [true, true, true, 'exhausted'],
    );
    assert.equal(verdict(retries({ on: [On.RESET], attempts: 0 }), RESET), 'off');
    assert.equal(retries({ attempts: 0, maxBufferedBytes: 10 }).maxBufferedBytes, 0);
  });

  it('retries.perTryTimeout: told to the caller', () => {
    assert.equal(retries({ perTryTimeout: 250 }).perTryTimeout, 250);
  });

  it('retries.backoffBase: waits are spread from 0 to a bound that doubles', () => {
    const nearlyOne = () => 1 - 2 ** -32;
    const top = retries({ on: [On.RESET], attempts: 9, backoffMax: 10_000 }, nearlyOne);
    const tops = [0, 1, 2, 3].map((attempt) => Math.round(delay(top, RESET, attempt)));
    assert.deepEqual(tops, [100, 200, 400, 800]);
    assert.equal(
      delay(
        retries({ on: [On.RESET] }, () => 0),
        RESET,
      ),
      0,
    );
    const spread = retries({ on: [On.RESET] }, seededRandom(7));
    const mean = Array.from({ length: 2_000 }, () => delay(spread, RESET)).reduce((a, b) => a + b) / 2_000;
    assert.ok(Math.abs(mean - 50) < 2, `mean ${mean}`);
  });

  it('retries.backoffMax: bounds every wait', () => {
    const policy = retries({ on: [On.RESET], attempts: 100, backoffMax: 300 }, () => 1 - 2 ** -32);
    assert.equal(Math.round(delay(policy, RESET, 5)), 300);
    assert.equal(Math.round(delay(policy, RESET, 90)), 300);
  });

  it('retries.backoffMax: a Retry-After is honoured up to it', () => {
    const policy = retries(
      { on: [On.GATEWAY_ERROR], backoffMax: 5_000 },
      () => 0,
      () => Date.UTC(2026, 0, 1),
    );
    assert.equal(delay(policy, status(503, '2')), 2_000);
    assert.equal(delay(policy, status(503, 'Thu, 01 Jan 2026 00:00:03 GMT')), 3_000);
    assert.equal(delay(policy, status(503, '86400')), 5_000);
    assert.equal(delay(policy, status(503, 'soon')), 0);
    assert.equal(delay(policy, status(503, 'Thu, 01 Jan 2015 00:00:03 GMT')), 0);
  });

  it('retries.budget: beyond it a failure stays', () => {
    const clock = new FakeClock();
    const budget = new RetryBudget({ percent: 20, window: 10_000, minPerSecond: 0 }, clock.now);
    const policy = RetryPolicy.from(create(RetriesSchema, { on: [On.RESET], attempts: 1 }), undefined, {
      budget,
    });
    for (let i = 0; i < 10; i++) policy.onRequest();
    assert.deepEqual(
      [1, 2, 3].map(() => verdict(policy, RESET)),
      [true, true, 'budget'],
    );
    assert.equal(verdict(policy, status(200)), 'not-retriable');
  });

  it('retries.retryNonIdempotent: false repeats only idempotent methods after they may have been processed', () => {
    const policy = retries({ on: [On.CONNECT_FAILURE, On.REFUSED_STREAM, On.RESET, On.GATEWAY_ERROR] });
    for (const method of ['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']) {
      assert.equal(verdict(policy, RESET, { ...GET, method }), true, method);
    }
    for (const method of ['POST', 'PATCH', 'CONNECT', 'PURGE', 'get']) {
      const facts = { ...GET, method };
      assert.equal(verdict(policy, RESET, facts), 'method', method);
      assert.equal(verdict(policy, status(503), facts), 'method', method);
      assert.equal(verdict(policy, TRY_TIMEOUT, facts), 'method', method);
      assert.equal(verdict(policy, CONNECT, facts), true, method);
      assert.equal(verdict(policy, REFUSED, facts), true, method);
    }
  });

  it('retries.retryNonIdempotent: true repeats every method', () => {
    const policy = retries({ on: [On.RESET, On.GATEWAY_ERROR], retryNonIdempotent: true });
    assert.equal(verdict(policy, RESET, POST), true);
    assert.equal(verdict(policy, status(503), POST), true);
  });

  it('retries.sameEndpoint: told to the caller', () => {
    assert.equal(retries({ sameEndpoint: true }).sameEndpoint, true);
    assert.equal(retries({}).sameEndpoint, false);
  });

  it('retries.maxBufferedBytes: told to the caller, and a body that was not kept is not sent again', () => {
    const policy = retries({ on: [On.CONNECT_FAILURE], maxBufferedBytes: 1_024 });
    assert.equal(policy.maxBufferedBytes, 1_024);
    assert.equal(verdict(policy, CONNECT, { ...GET, replayable: false }), 'body');
  });

  it('never takes back a response that has begun, and never waits beyond the deadline', () => {
    const policy = retries({ on: [On.RESET] });
    assert.equal(verdict(policy, RESET, { ...GET, responseStarted: true }), 'response-started');
    assert.equal(verdict(policy, RESET, { ...GET, remainingMs: 50 }), 'deadline');
    assert.equal(verdict(policy, RESET, { ...GET, remainingMs: 51 }), true);
  });

  it('without a policy: two retries of what was not processed, for every method', () => {
    const policy = RetryPolicy.from(undefined, undefined);
    for (const outcome of [CONNECT, REFUSED]) {
      assert.deepEqual(
        [0, 1, 2].map((n) => verdict(policy, outcome, POST, n)),
        [true, true, 'exhausted'],
      );
    }
    for (const outcome of [RESET, status(503), TRY_TIMEOUT]) {
      assert.equal(verdict(policy, outcome), 'not-retriable');
    }
    assert.equal(policy.maxBufferedBytes, 65_536);
  });

  describe('with a retry of the route (GEP-1731)', () => {
    const base: Init = {
      on: [On.GATEWAY_ERROR],
      statuses: [409],
      attempts: 1,
      backoffBase: 10,
      backoffMax: 100,
    };
    const routed = (init: MessageInitShape<typeof RouteRetrySchema>, random = () => 0) =>
      RetryPolicy.from(create(RetriesSchema, base), create(RouteRetrySchema, init), { random });

    it('RouteRetry.codes: replace statuses; connections that failed are retried too', () => {
      const policy = routed({ attempts: 1, codes: [500] });
      assert.equal(verdict(policy, status(500)), true);
      assert.equal(verdict(policy, status(409)), 'not-retriable');
      assert.equal(verdict(policy, status(503)), true);
      assert.equal(verdict(policy, CONNECT, POST), true);
      assert.equal(verdict(policy, REFUSED, POST), true);
      assert.equal(verdict(routed({ attempts: 1 }), status(409)), true);
    });

    it('RouteRetry.attempts: replaces attempts', () => {
      assert.equal(verdict(routed({ attempts: 3 }), CONNECT, GET, 2), true);
      assert.equal(verdict(routed({ attempts: 0 }), CONNECT), 'off');
    });

    it('RouteRetry.backoff: is the least wait, with the jitter on top', () => {
      assert.equal(delay(routed({ attempts: 1, backoff: 500 }), CONNECT), 500);
      assert.equal(
        delay(
          routed({ attempts: 1, backoff: 500 }, () => 0.5),
          CONNECT,
        ),
        750,
      );
      assert.equal(
        delay(
          routed({ attempts: 1 }, () => 0.5),
          CONNECT,
        ),
        5,
      );
    });

    it('holds without a TrafficPolicy as well', () => {
      const policy = RetryPolicy.from(undefined, create(RouteRetrySchema, { attempts: 1, codes: [503] }));
      assert.equal(verdict(policy, status(503)), true);
      assert.equal(verdict(policy, status(503), POST), 'method');
    });
  });
});
