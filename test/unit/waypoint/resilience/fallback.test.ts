import assert from 'node:assert/strict';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { describe, it } from 'mocha';
import { FallbackSchema, RetryCondition as On } from '../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { FallbackPolicy, type FallbackFacts } from '../../../../waypoint/resilience/fallback.ts';
import type { Outcome } from '../../../../waypoint/resilience/outcome.ts';

const FACTS: FallbackFacts = { grpc: false, replayable: true, responseStarted: false, fellBack: false };

function decide(
  init: MessageInitShape<typeof FallbackSchema>,
  outcome: Outcome,
  facts: Partial<FallbackFacts> = {},
) {
  const policy = new FallbackPolicy(create(FallbackSchema, { service: 'shop/static', port: 80, ...init }));
  return policy.shouldFallBack(outcome, { ...FACTS, ...facts });
}

const acts = (...args: Parameters<typeof decide>) => decide(...args).fallBack;

describe('waypoint/resilience/fallback', () => {
  it('fallback.service, fallback.port: where it goes', () => {
    const decision = decide({ on: [On.CONNECT_FAILURE] }, { kind: 'connect-failure' });
    assert.deepEqual(decision, { fallBack: true, service: 'shop/static', port: 80 });
  });

  it('fallback.invalid: does not act, and tells why', () => {
    const init = { on: [On.CONNECT_FAILURE], invalid: 'no such Service' };
    assert.deepEqual(decide(init, { kind: 'connect-failure' }), {
      fallBack: false,
      invalid: 'no such Service',
    });
    assert.deepEqual(decide(init, { kind: 'reset' }), { fallBack: false });
  });

  it('fallback.on: CONNECT_FAILURE covers no healthy endpoint and an open circuit', () => {
    for (const kind of ['connect-failure', 'no-endpoint', 'circuit-open'] as const) {
      assert.equal(acts({ on: [On.CONNECT_FAILURE] }, { kind }), true, kind);
      assert.equal(acts({ on: [On.SERVER_ERROR, On.RESET] }, { kind }), false, kind);
    }
  });

  it('fallback.on: each condition holds for what it names', () => {
    assert.equal(acts({ on: [On.GATEWAY_ERROR] }, { kind: 'status', status: 503 }), true);
    assert.equal(acts({ on: [On.GATEWAY_ERROR] }, { kind: 'status', status: 500 }), false);
    assert.equal(acts({ on: [On.SERVER_ERROR] }, { kind: 'status', status: 500 }), true);
    assert.equal(acts({ on: [On.RESET] }, { kind: 'reset' }), true);
    assert.equal(
      acts({ on: [On.GRPC_UNAVAILABLE] }, { kind: 'grpc-status', grpcStatus: 14 }, { grpc: true }),
      true,
    );
    assert.equal(acts({ on: [] }, { kind: 'connect-failure' }), false);
  });

  it('fallback.statuses: these as well', () => {
    assert.equal(acts({ statuses: [404] }, { kind: 'status', status: 404 }), true);
    assert.equal(acts({ statuses: [404] }, { kind: 'status', status: 500 }), false);
  });

  it('fallback.onTimeout: for the last attempt, and no status condition stands in for it', () => {
    assert.equal(acts({ onTimeout: true }, { kind: 'try-timeout' }), true);
    assert.equal(acts({ on: [On.GATEWAY_ERROR], statuses: [504] }, { kind: 'try-timeout' }), false);
    for (const by of ['policy', 'client'] as const) {
      assert.equal(
        acts({ onTimeout: true }, { kind: 'request-timeout', by }),
        false,
        'nothing is left of the time',
      );
    }
  });

  it('never acts twice, on a response that has begun, or without the body', () => {
    const init = { on: [On.CONNECT_FAILURE] };
    assert.equal(acts(init, { kind: 'connect-failure' }, { fellBack: true }), false);
    assert.equal(acts(init, { kind: 'connect-failure' }, { responseStarted: true }), false);
    assert.equal(acts(init, { kind: 'connect-failure' }, { replayable: false }), false);
    assert.equal(acts(init, { kind: 'client-gone' }), false);
  });
});
