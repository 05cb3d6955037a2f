import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { CircuitBreaker, type CircuitLimits } from '../../../../waypoint/resilience/circuit-breaker.ts';

const NONE = { maxConnections: 0, maxPendingRequests: 0, maxRequests: 0, maxRequestsPerConnection: 0 };

function breaker(limits: Partial<CircuitLimits>): CircuitBreaker {
  return new CircuitBreaker({ ...NONE, ...limits });
}

describe('waypoint/resilience/circuit-breaker', () => {
  it('circuitBreaker.maxConnections: no more at once, and a closed one makes room', () => {
    const circuit = breaker({ maxConnections: 2 });
    assert.deepEqual(
      [1, 2, 3].map(() => circuit.tryConnection()),
      [true, true, false],
    );
    assert.equal(circuit.stats().refused.connections, 1);
    circuit.endConnection();
    assert.equal(circuit.tryConnection(), true);
  });

  it('circuitBreaker.maxConnections: a closed connection lets the one that waits longest go', async () => {
    const circuit = breaker({ maxConnections: 1 });
    circuit.tryConnection();
    const order: string[] = [];
    const waits = ['first', 'second'].map((who) => circuit.pending.wait().then(() => order.push(who)));
    circuit.endConnection();
    await waits[0];
    assert.deepEqual(order, ['first']);
    assert.equal(circuit.pending.size, 1);
    circuit.pending.wake();
    await waits[1];
    assert.deepEqual(order, ['first', 'second']);
  });

  it('circuitBreaker.maxConnections: a raised bound lets as many go as there is room for', async () => {
    const circuit = breaker({ maxConnections: 1 });
    circuit.tryConnection();
    const waits = [1, 2, 3].map(() => circuit.pending.wait());
    circuit.configure({ ...NONE, maxConnections: 3 });
    assert.deepEqual(await Promise.all(waits.slice(0, 2)), ['ready', 'ready']);
    assert.equal(circuit.pending.size, 1);
    circuit.configure(undefined);
    assert.equal(await waits[2], 'ready');
  });

  it('circuitBreaker.maxConnections: a lowered bound cuts nothing and holds until there is room again', () => {
    const circuit = breaker({});
    for (let i = 0; i < 3; i++) circuit.tryConnection();
    circuit.configure({ ...NONE, maxConnections: 2 });
    void circuit.pending.wait();
    circuit.endConnection();
    assert.equal(circuit.pending.size, 1);
    assert.equal(circuit.tryConnection(), false);
    circuit.endConnection();
    assert.equal(circuit.pending.size, 0);
  });

  it('circuitBreaker.maxPendingRequests: refuses more that wait, and counts them', async () => {
    const circuit = breaker({ maxPendingRequests: 2 });
    const waits = [1, 2].map(() => circuit.pending.wait());
    assert.equal(await circuit.pending.wait(), 'refused');
    assert.equal(circuit.stats().refused.pending, 1);
    assert.equal(circuit.stats().pending, 2);
    assert.equal(circuit.pending.wake(5), 2);
    assert.deepEqual(await Promise.all(waits), ['ready', 'ready']);
  });

  it('circuitBreaker.maxPendingRequests: an aborted wait makes room and leaves no listener', async () => {
    const circuit = breaker({ maxPendingRequests: 1 });
    const controller = new AbortController();
    const wait = circuit.pending.wait(controller.signal);
    assert.equal(getEventListeners(controller.signal, 'abort').length, 1);
    controller.abort();
    assert.equal(await wait, 'aborted');
    assert.equal(await circuit.pending.wait(controller.signal), 'aborted');
    const other = new AbortController();
    const granted = circuit.pending.wait(other.signal);
    circuit.pending.wake();
    assert.equal(await granted, 'ready');
    assert.equal(getEventListeners(other.signal, 'abort').length, 0);
    assert.equal(circuit.pending.size, 0);
  });

  it('closing turns away whoever waits', async () => {
    const circuit = breaker({});
    const wait = circuit.pending.wait();
    circuit.pending.close();
    assert.equal(await wait, 'refused');
  });

  it('circuitBreaker.maxRequests: refuses more at once, and counts them', () => {
    const circuit = breaker({ maxRequests: 1 });
    assert.equal(circuit.refusesRequest(), false);
    circuit.beginRequest();
    assert.equal(circuit.refusesRequest(), true);
    assert.equal(circuit.stats().refused.requests, 1);
    circuit.endRequest();
    assert.equal(circuit.refusesRequest(), false);
  });

  it('circuitBreaker.maxRequestsPerConnection: a connection is used up after so many', () => {
    const circuit = breaker({ maxRequestsPerConnection: 3 });
    assert.deepEqual(
      [0, 2, 3, 4].map((n) => circuit.connectionUsedUp(n)),
      [false, false, true, true],
    );
    assert.equal(breaker({}).connectionUsedUp(1e9), false);
  });

  it('never counts below zero nor above its bounds', () => {
    const step = fc.constantFrom('connect', 'close', 'request', 'end');
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), fc.integer({ min: 1, max: 4 }), (steps, bound) => {
        const circuit = breaker({ maxConnections: bound, maxRequests: bound });
        for (const what of steps) {
          if (what === 'connect') circuit.tryConnection();
          else if (what === 'close') circuit.endConnection();
          else if (what === 'end') circuit.endRequest();
          else if (!circuit.refusesRequest()) circuit.beginRequest();
          const { connections, requests } = circuit.stats();
          assert.ok(connections >= 0 && connections <= bound && requests >= 0 && requests <= bound);
        }
      }),
    );
  });
});
