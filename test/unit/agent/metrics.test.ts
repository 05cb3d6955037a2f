import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { metricsOf } from '../../../agent/metrics.ts';
import type { PodStatus, Status } from '../../../agent/status.ts';

function pod(name: string, guard: PodStatus['guard']): PodStatus {
  return {
    uid: name,
    pod: `shop/${name}`,
    ips: ['198.18.0.1'],
    state: 'verified',
    since: '2026-01-01T00:00:00.000Z',
    netns: { path: '/run/netns/x' },
    zds: { state: 'no-proxy' },
    uncovered: [],
    guard,
  };
}

describe('agent metrics', () => {
  it('count what guards dropped, and say who is not guarded', () => {
    const guarded = [{ name: 'eth0', by: 'tcx' }];
    const pods = [
      pod('a', { mode: 'on', guarded, unguarded: [], dropped: { syn: 3, source: 1 } }),
      pod('b', { mode: 'none', guarded: [], unguarded: [], dropped: {} }),
      pod('c', { mode: 'on', guarded, unguarded: ['net1'], dropped: {} }),
    ];
    const lines = metricsOf({ pods } as unknown as Status).split('\n');
    assert.deepEqual(
      lines.filter((line) => line !== '' && !line.startsWith('#')),
      [
        'loam_agent_guard_dropped_packets_total{namespace="shop",pod="a",reason="syn"} 3',
        'loam_agent_guard_dropped_packets_total{namespace="shop",pod="a",reason="source"} 1',
        'loam_agent_pod_guarded{namespace="shop",pod="a"} 1',
        'loam_agent_pod_guarded{namespace="shop",pod="b"} 0',
        'loam_agent_pod_guarded{namespace="shop",pod="c"} 0',
      ],
    );
  });
});
