import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'mocha';
import { Registry } from 'prom-client';
import { FlowRecorder } from '../../../../lib/flow/recorder.ts';
import { WorkloadStore } from '../../../../lib/mesh/state/workload-store.ts';
import type { ObservedFlow } from '../../../../lib/observe/record.ts';
import { ObserveMetrics } from '../../../../ztunnel/observe/observe-metrics.ts';
import { ObservedFlows } from '../../../../ztunnel/observe/observed-flows.ts';
import { FlowMetrics } from '../../../../ztunnel/telemetry/flow-metrics.ts';

const POD = { uid: 'u', namespace: 'shop', name: 'a', account: 'a' };

function flow(changes: Partial<ObservedFlow> = {}): ObservedFlow {
  return {
    ...{ id: '1', pod: 'u', side: 'source', state: 'open', at: 1_000 },
    local: { ip: '198.18.1.2', port: 40_000 },
    remote: { ip: '198.18.1.3', port: 80 },
    ...{ sent: 10, received: 20, retransmits: 0, segments: 3 },
    ...changes,
  };
}

describe('ztunnel observed flows', () => {
  let metrics: FlowMetrics;
  let registry: Registry;
  let flows: ObservedFlows;
  beforeEach(() => {
    metrics = new FlowMetrics();
    registry = new Registry();
    const recorder = new FlowRecorder(() => undefined);
    flows = new ObservedFlows({
      ...{ clusterId: 'Kubernetes', workloads: new WorkloadStore(), metrics, recorder: () => recorder },
      more: new ObserveMetrics(registry),
    });
  });
  const tell = (first: boolean, ...told: ObservedFlow[]): void =>
    flows.apply({ kind: 'batch', at: 1, first, pods: [POD], flows: told, missed: 0 });
  const sums = (): number[] => {
    const total = [0, 0, 0, 0, 0];
    for (const { opened, closed, failed, received, sent } of metrics.takeBatch().flows)
      [opened, closed, failed, received, sent].forEach((each, i) => (total[i] = (total[i] ?? 0) + each));
    return total;
  };

  it('count what grew: opened, bytes by direction, closed', () => {
    tell(false, flow());
    assert.deepEqual(sums(), [1, 0, 0, 10, 20]);
    tell(false, flow({ sent: 15 }), flow({ id: '2', side: 'destination', state: 'closed', endedAt: 1_500 }));
    assert.deepEqual(sums(), [1, 1, 0, 25, 10]);
    tell(false, flow({ state: 'closed', sent: 15, received: 25, endedAt: 2_000 }));
    assert.deepEqual(sums(), [0, 1, 0, 0, 5]);
  });

  it('count nothing twice of what was open before, when an agent begins anew', () => {
    tell(false, flow());
    sums();
    tell(true, flow({ sent: 12 }));
    assert.deepEqual(sums(), [0, 0, 0, 0, 0]);
    tell(false, flow({ state: 'closed', sent: 13, received: 20, endedAt: 2_000 }));
    assert.deepEqual(sums(), [0, 1, 0, 1, 0]);
  });

  it('count failures by reason, and nothing of a pod that was not told of', async () => {
    tell(false, flow({ state: 'connecting', sent: 0, received: 0 }));
    tell(false, flow({ state: 'failed', sent: 0, received: 0, retransmits: 2, reason: 'timed-out' }));
    tell(false, flow({ id: '3', pod: 'another' }));
    assert.deepEqual(sums(), [0, 0, 1, 0, 0]);
    const page = await registry.metrics();
    assert.match(page, /loam_observe_failed_connections_total\{[^}]*reason="timed-out"\} 1/);
    assert.match(page, /loam_observe_retransmitted_segments_total\{[^}]*\} 2/);
  });
});
