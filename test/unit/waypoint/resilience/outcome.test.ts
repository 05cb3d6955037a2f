import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { type Outcome, reachedEndpoint } from '../../../../waypoint/resilience/outcome.ts';

describe('waypoint/resilience/outcome', () => {
  it('tells who an endpoint is only where it was surely reached', () => {
    const reached: Outcome[] = [
      { kind: 'refused-stream' },
      { kind: 'reset' },
      { kind: 'protocol-error' },
      { kind: 'status', status: 503 },
      { kind: 'grpc-status', grpcStatus: 14 },
    ];
    const not: Outcome[] = [
      { kind: 'no-endpoint' },
      { kind: 'circuit-open' },
      { kind: 'connect-failure' },
      { kind: 'try-timeout' },
      { kind: 'request-timeout', by: 'policy' },
      { kind: 'client-gone' },
    ];
    for (const outcome of reached) assert.equal(reachedEndpoint(outcome), true, outcome.kind);
    for (const outcome of not) assert.equal(reachedEndpoint(outcome), false, outcome.kind);
  });
});
