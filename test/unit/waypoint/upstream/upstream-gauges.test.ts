import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { Cluster } from '../../../../waypoint/resilience/cluster.ts';
import { RuntimeMetrics } from '../../../../waypoint/telemetry/runtime-metrics.ts';
import { showUpstreams } from '../../../../waypoint/upstream/upstream-gauges.ts';
import { endpoint, FakeClock, policy } from '../resilience/tools.ts';

describe('waypoint/upstream: gauges', () => {
  it('are of what there is when they are asked for, with the ports of a Service added up', () => {
    const clock = new FakeClock();
    const ofPort = (ejected: string[]): Cluster => {
      const cluster = new Cluster({ now: clock.now });
      const all = ['a', 'b'].map((uid) => endpoint(uid));
      const outlierDetection = { consecutiveErrors: 1, baseEjection: 1_000, maxEjectedPercent: 100 };
      cluster.update(all, policy({ outlierDetection, circuitBreaker: { maxPendingRequests: 5 } }));
      for (const each of all.filter(({ uid }) => ejected.includes(uid))) {
        cluster.begin(each);
        cluster.done(each, { kind: 'reset' }, 1);
      }
      return cluster;
    };
    const [one, two, quiet] = [ofPort(['a']), ofPort(['a', 'b']), ofPort([])];
    one.circuit.tryConnection();
    two.circuit.tryConnection();
    two.circuit.tryConnection();
    void two.circuit.pending.wait(new AbortController().signal);
    const clusters = [
      { service: 'shop/web', cluster: one },
      { service: 'shop/web', cluster: two },
      { service: 'shop/db', cluster: quiet },
    ];
    const shown = (): Record<string, number> => {
      const runtime = new RuntimeMetrics();
      showUpstreams(runtime, clusters);
      const { gauges = [] } = runtime.takeBatch();
      return Object.fromEntries(
        gauges.map(({ metric, labels, value }) => [`${metric} ${labels.join()}`, value]),
      );
    };
    assert.deepEqual(shown(), {
      'upstreamConnections shop/web': 3,
      'upstreamConnections shop/db': 0,
      'pendingRequests shop/web': 1,
      'pendingRequests shop/db': 0,
      'ejectedEndpoints shop/web': 3,
      'ejectedEndpoints shop/db': 0,
    });
    two.circuit.endConnection();
    clock.advance(2_000);
    assert.equal(shown()['ejectedEndpoints shop/web'], 0, 'their time is over, though no request came since');
    assert.equal(shown()['upstreamConnections shop/web'], 2);
    clusters.pop();
    assert.equal('ejectedEndpoints shop/db' in shown(), false);
    two.circuit.pending.close();
  });
});
