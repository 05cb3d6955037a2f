import assert from 'node:assert/strict';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { describe, it } from 'mocha';
import {
  LoadBalancing_Algorithm as Algorithm,
  type OutlierDetectionSchema,
} from '../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { Cluster } from '../../../../waypoint/resilience/cluster.ts';
import type { Endpoint } from '../../../../waypoint/resilience/endpoint.ts';
import type { Outcome } from '../../../../waypoint/resilience/outcome.ts';
import type { OutlierEvent } from '../../../../waypoint/resilience/outlier-detector.ts';
import { endpoints, FakeClock, policy, seededRandom } from './tools.ts';

const OK: Outcome = { kind: 'status', status: 200 };
const ERROR: Outcome = { kind: 'status', status: 500 };
const GATEWAY: Outcome = { kind: 'status', status: 503 };

const SETTINGS = {
  consecutiveErrors: 3,
  consecutiveGatewayErrors: 0,
  interval: 10_000,
  baseEjection: 1_000,
  maxEjection: 3_000,
  maxEjectedPercent: 100,
  minHealthPercent: 0,
};

function setUp(count: number, settings: MessageInitShape<typeof OutlierDetectionSchema> = {}) {
  const clock = new FakeClock();
  const events: OutlierEvent[] = [];
  const cluster = new Cluster({ now: clock.now, random: seededRandom(1), onEvent: (e) => events.push(e) });
  const all = endpoints(count);
  const applied = policy({
    outlierDetection: { ...SETTINGS, ...settings },
    loadBalancing: { algorithm: Algorithm.ROUND_ROBIN },
  });
  cluster.update(all, applied);
  const at = (index: number): Endpoint => all[index] ?? assert.fail();
  const send = (index: number, ...outcomes: Outcome[]) => {
    for (const outcome of outcomes) {
      cluster.begin(at(index));
      cluster.done(at(index), outcome, 5);
    }
  };
  const eject = (index: number) => send(index, ERROR, ERROR, ERROR);
  const ejections = () => events.filter((e) => e.kind === 'ejected');
  return { clock, cluster, events, all, applied, send, eject, ejections };
}

describe('waypoint/resilience/outlier-detector', () => {
  it('outlierDetection.consecutiveErrors: so many failures in a row eject, a success between begins anew', () => {
    const { cluster, send, ejections } = setUp(3);
    send(0, ERROR, ERROR, OK, ERROR, { kind: 'reset' });
    assert.equal(ejections().length, 0);
    send(0, { kind: 'connect-failure' });
    assert.equal(ejections()[0]?.cause, 'consecutive-errors');
    assert.deepEqual(cluster.health(), { listed: 3, ready: 3, ejected: 1 });
    for (let i = 0; i < 30; i++) {
      const picked = cluster.pick();
      assert.ok(typeof picked !== 'string' && picked.uid !== 'pod-0');
    }
  });

  it('outlierDetection.consecutiveErrors: 0 is off', () => {
    const { send, ejections } = setUp(3, { consecutiveErrors: 0 });
    send(0, ...Array.from({ length: 50 }, () => GATEWAY));
    assert.equal(ejections().length, 0);
  });

  it('outlierDetection.consecutiveErrors: what a client can provoke, and refused streams, do not count', () => {
    const { send, ejections } = setUp(3, { consecutiveErrors: 2 });
    const harmless: Outcome[] = [
      { kind: 'client-gone' },
      { kind: 'request-timeout', by: 'client' },
      { kind: 'refused-stream' },
      { kind: 'grpc-status', grpcStatus: 12 },
      { kind: 'status', status: 404 },
    ];
    for (const outcome of harmless) send(0, outcome, outcome, outcome);
    assert.equal(ejections().length, 0);
    send(1, ERROR, { kind: 'client-gone' }, ERROR);
    assert.equal(ejections().length, 1, 'and do not interrupt a row either');
    send(0, { kind: 'request-timeout', by: 'policy' }, { kind: 'try-timeout' });
    assert.equal(ejections().length, 2);
  });

  it('outlierDetection.consecutiveErrors: gRPC statuses that speak against the server count', () => {
    for (const grpcStatus of [2, 4, 13, 14, 15]) {
      const { send, ejections } = setUp(3, { consecutiveErrors: 1 });
      send(0, { kind: 'grpc-status', grpcStatus });
      assert.equal(ejections().length, 1, `status ${grpcStatus}`);
    }
  });

  it('outlierDetection.consecutiveGatewayErrors: only 502, 503, 504 and missing responses count', () => {
    const { send, ejections } = setUp(3, { consecutiveErrors: 0, consecutiveGatewayErrors: 2 });
    send(0, GATEWAY, ERROR, GATEWAY, ERROR);
    assert.equal(ejections().length, 0);
    send(0, { kind: 'status', status: 502 }, { kind: 'reset' });
    assert.equal(ejections()[0]?.cause, 'consecutive-gateway-errors');
  });

  it('outlierDetection.baseEjection: an ejection lasts n times it, the n-th time in a row', () => {
    const { clock, cluster, eject, ejections, events } = setUp(3);
    eject(0);
    clock.advance(999);
    assert.equal(cluster.health().ejected, 1);
    clock.advance(1);
    assert.equal(cluster.health().ejected, 0);
    assert.equal(events.at(-1)?.kind, 'readmitted');
    eject(0);
    assert.deepEqual(
      ejections().map(({ forMs, ejections: n }) => [forMs, n]),
      [
        [1_000, 1],
        [2_000, 2],
      ],
    );
  });

  it('outlierDetection.maxEjection: caps the growth, and never below the base', () => {
    const { clock, eject, ejections, cluster } = setUp(3);
    for (let i = 0; i < 5; i++) {
      eject(0);
      clock.advance(3_000);
      cluster.health();
    }
    assert.deepEqual(
      ejections().map((e) => e.forMs),
      [1_000, 2_000, 3_000, 3_000, 3_000],
    );
    const odd = setUp(3, { baseEjection: 5_000, maxEjection: 1_000 });
    odd.eject(0);
    assert.equal(odd.ejections()[0]?.forMs, 5_000);
  });

  it('outlierDetection.interval: each one spent in health takes one step of growth back', () => {
    const { clock, cluster, eject, ejections } = setUp(3);
    for (let i = 0; i < 3; i++) {
      eject(0);
      clock.advance(3_000);
      cluster.health();
    }
    // It ended exactly as its three seconds were over; two intervals on, one of three steps is left.
    clock.advance(20_000);
    eject(0);
    assert.equal(ejections().at(-1)?.ejections, 2);
    clock.advance(2_000);
    cluster.health();
    clock.advance(100_000);
    eject(0);
    assert.equal(ejections().at(-1)?.ejections, 1);
  });

  it('outlierDetection.maxEjectedPercent: no more than that at once, but one always', () => {
    const { eject, ejections, events, cluster } = setUp(10, { maxEjectedPercent: 25 });
    for (const index of [0, 1, 2]) eject(index);
    assert.equal(ejections().length, 2);
    assert.equal(events.at(-1)?.kind, 'ejection-refused');
    assert.equal(cluster.health().ejected, 2);
    const few = setUp(3, { maxEjectedPercent: 10 });
    few.eject(0);
    few.eject(1);
    assert.equal(few.ejections().length, 1);
    const none = setUp(3, { maxEjectedPercent: 0 });
    none.eject(0);
    assert.equal(none.ejections().length, 0);
  });

  it('outlierDetection.maxEjectedPercent: 100 may leave nothing, which is then told', () => {
    const { eject, cluster } = setUp(2);
    eject(0);
    eject(1);
    assert.equal(cluster.pick(), 'none-healthy');
  });

  it('outlierDetection.minHealthPercent: below so many left, ejections are ignored until there are enough', () => {
    const { clock, eject, cluster, events } = setUp(4, { minHealthPercent: 60 });
    const uids = () => new Set(Array.from({ length: 40 }, () => cluster.pick()));
    eject(0);
    assert.equal(uids().size, 3);
    clock.advance(500);
    eject(1);
    assert.equal(uids().size, 4);
    assert.deepEqual(events.at(-1), { kind: 'panic', on: true });
    clock.advance(500);
    assert.equal(uids().size, 3);
    assert.deepEqual(events.at(-1), { kind: 'panic', on: false });
  });

  it('what ends while an endpoint is ejected does not prolong its ejection', () => {
    const { clock, eject, ejections, cluster } = setUp(3);
    eject(0);
    eject(0);
    assert.equal(ejections().length, 1);
    clock.advance(1_000);
    assert.equal(cluster.health().ejected, 0);
  });

  it('switching it off ends every ejection', () => {
    const { eject, cluster, all, events } = setUp(3);
    eject(0);
    cluster.update(all, undefined);
    assert.equal(cluster.health().ejected, 0);
    assert.equal(events.at(-1)?.kind, 'readmitted');
  });

  it('an edit of the policy or of other endpoints does not end an ejection', () => {
    const { eject, cluster, all, applied } = setUp(3);
    eject(0);
    cluster.update([...all, ...endpoints(5)], applied);
    assert.equal(cluster.health().ejected, 1);
  });
});
