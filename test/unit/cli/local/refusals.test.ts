import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { parseRefusals } from '../../../../cli/local/refusals.ts';
import { FlowMetrics } from '../../../../ztunnel/telemetry/flow-metrics.ts';
import { MetricsRegistry } from '../../../../ztunnel/telemetry/metrics-registry.ts';

describe('cli/local/refusals', () => {
  it('reads what a ztunnel writes', async () => {
    const flows = new FlowMetrics();
    for (let i = 0; i < 3; i += 1) flows.egressRefused('policy', 'shop/a, shop/b');
    flows.egressRefused('registry-only');
    const registry = new MetricsRegistry('test');
    registry.apply(flows.takeBatch());
    assert.deepEqual(parseRefusals('node-a', await registry.text()), [
      { node: 'node-a', reason: 'policy', policy: 'shop/a, shop/b', count: 3 },
      { node: 'node-a', reason: 'registry-only', policy: '', count: 1 },
    ]);
    assert.deepEqual(parseRefusals('node-a', 'nothing of the kind'), []);
  });
});
