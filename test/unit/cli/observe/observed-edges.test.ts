import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { buildGraph } from '../../../../cli/observe/graph.ts';
import { EdgeCounts } from '../../../../lib/flow/edge-counts.ts';
import type { EdgeWindow } from '../../../../lib/flow/event.ts';

const PARTIES = {
  source: { workload: 'a-1', namespace: 'shop', app: 'a' },
  destination: { workload: 'b-1', namespace: 'shop', app: 'b' },
};

function window(side: 'source' | 'destination', ended: number, failed: number, rttMs: number): EdgeWindow {
  const counts = new EdgeCounts('connection', { side, ...PARTIES, mtls: false, observed: true });
  Object.assign(counts, { ended, failed, opened: ended - failed, up: 100, down: 300, retransmits: 2 });
  counts.rtt.add(rttMs);
  return counts.toWindow();
}

describe('cli/observe observed edges', () => {
  it('are counted once where both ends tell, with what never arrived, and are not mTLS', () => {
    const { edges } = buildGraph([window('source', 5, 2, 10), window('destination', 3, 0, 20)], 1_000, 0);
    const [edge, ...more] = edges;
    assert.equal(more.length, 0);
    assert.deepEqual([edge?.ended, edge?.failed, edge?.up, edge?.down, edge?.mtls], [5, 2, 100, 300, 0]);
    assert.equal(edge?.observed?.retransmits, 4);
    assert.ok(Math.abs((edge.observed.rtt50 ?? 0) - 10) < 1, 'as the caller has it');
  });

  it('are what the caller tells where the other end is not observed', () => {
    const [edge] = buildGraph([window('source', 5, 2, 10)], 1_000, 0).edges;
    assert.deepEqual([edge?.ended, edge?.failed, edge?.up, edge?.observed?.retransmits], [5, 2, 100, 2]);
  });
});
