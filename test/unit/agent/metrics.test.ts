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
    const kernel = { recordsFull: 4, pods: 1 };
    const maps = { records: { entries: 5, capacity: 65536 } };
    const lines = metricsOf({ pods, kernel, maps, repairs: { pods: 2 } } as unknown as Status).split('\n');
    assert.deepEqual(
      lines.filter((line) => line !== '' && !line.startsWith('#')),
      [
        'loam_agent_guard_dropped_packets_total{namespace="shop",pod="a",reason="syn"} 3',
        'loam_agent_guard_dropped_packets_total{namespace="shop",pod="a",reason="source"} 1',
        'loam_agent_pod_guarded{namespace="shop",pod="a"} 1',
        'loam_agent_pod_guarded{namespace="shop",pod="b"} 0',
        'loam_agent_pod_guarded{namespace="shop",pod="c"} 0',
        'loam_agent_map_entries{map="records"} 5',
        'loam_agent_map_capacity{map="records"} 65536',
        'loam_agent_redirection_total{what="recordsFull"} 4',
        'loam_agent_repairs_total{what="pods"} 2',
      ],
    );
  });
});
