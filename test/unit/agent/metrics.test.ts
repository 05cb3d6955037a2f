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

const NOTHING = { pods: [], problems: [] };

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
    const proxies = [{ role: 'serving', loamHandover: true }];
    const status = { ...{ pods, kernel, maps, proxies }, repairs: { pods: 2 }, earlierCut: 0 };
    const gates = [{ name: 'redirection', ready: false, reason: 'a hook is gone' }];
    const lines = metricsOf({ ...status, observe: NOTHING } as unknown as Status, { gates }).split('\n');
    assert.deepEqual(
      lines.filter((line) => line !== '' && !line.startsWith('#')),
      [
        'loam_agent_guard_dropped_packets_total{namespace="shop",pod="a",reason="syn"} 3',
        'loam_agent_guard_dropped_packets_total{namespace="shop",pod="a",reason="source"} 1',
        'loam_agent_pod_guarded{namespace="shop",pod="a"} 1',
        'loam_agent_pod_guarded{namespace="shop",pod="b"} 0',
        'loam_agent_pod_guarded{namespace="shop",pod="c"} 0',
        'loam_agent_pod_guard_wanted{namespace="shop",pod="a"} 1',
        'loam_agent_pod_guard_wanted{namespace="shop",pod="b"} 0',
        'loam_agent_pod_guard_wanted{namespace="shop",pod="c"} 1',
        'loam_agent_pods{state="verified"} 3',
        'loam_agent_ztunnel_connected 1',
        'loam_ready{gate="redirection"} 0',
        'loam_agent_map_entries{map="records"} 5',
        'loam_agent_map_capacity{map="records"} 65536',
        'loam_agent_redirection_total{what="recordsFull"} 4',
        'loam_agent_repairs_total{what="pods"} 2',
        'loam_agent_earlier_connections 0',
        'loam_agent_earlier_connections_cut_total 0',
      ],
    );
  });

  it('count connections from before an enrolment, and pods that were held', () => {
    const none = { mode: 'none', guarded: [], unguarded: [], dropped: {} } as const;
    const pods = [{ ...pod('a', none), earlier: { count: 3, connections: [] } }, pod('b', none)];
    const held = { passed: 5, refused: 1, heldMs: 1500 };
    const kubernetes = { nri: { state: 'connecting' }, cni: { state: 'installed' }, held };
    const status = {
      pods,
      kernel: {},
      maps: {},
      proxies: [],
      repairs: {},
      earlierCut: 2,
      observe: NOTHING,
    } as unknown as Status;
    const lines = metricsOf({ ...status, kubernetes } as Status, { gates: [] }).split('\n');
    for (const line of [
      'loam_agent_earlier_connections 3',
      'loam_agent_earlier_connections_cut_total 2',
      'loam_agent_pods_held_total{outcome="passed"} 5',
      'loam_agent_pods_held_total{outcome="refused"} 1',
      'loam_agent_pods_held_seconds_total 1.5',
      'loam_agent_nri_connected 0',
      'loam_agent_cni_holds 1',
      'loam_agent_ztunnel_connected 0',
    ])
      assert.ok(lines.includes(line), line);
    assert.ok(
      !metricsOf(status, { gates: [] }).includes('nri'),
      'without Kubernetes there is no runtime to be connected with',
    );
  });
});
