/** The agent's counters in the text format of Prometheus; the few that it has need no library in a process of root. */
import { observeMetrics } from './observe/observe-status.ts';
import type { Readiness, Status } from './status.ts';

/** The page. Values of labels are names of Kubernetes or our own, which need no escaping. */
export function metricsOf(status: Status, { gates }: Pick<Readiness, 'gates'>): string {
  const lines = [
    '# HELP loam_agent_guard_dropped_packets_total Packets of a pod that its guard dropped.',
    '# TYPE loam_agent_guard_dropped_packets_total counter',
  ];
  for (const { pod, guard } of status.pods) {
    const [namespace = '', name = ''] = pod.split('/');
    for (const [reason, packets] of Object.entries(guard.dropped)) {
      const labels = `namespace="${namespace}",pod="${name}",reason="${reason}"`;
      lines.push(`loam_agent_guard_dropped_packets_total{${labels}} ${packets}`);
    }
  }
  lines.push(
    '# HELP loam_agent_pod_guarded Whether all ways out of a pod are guarded.',
    '# TYPE loam_agent_pod_guarded gauge',
  );
  for (const { pod, guard } of status.pods) {
    const [namespace = '', name = ''] = pod.split('/');
    const whole = guard.mode === 'on' && guard.guarded.length > 0 && guard.unguarded.length === 0;
    lines.push(`loam_agent_pod_guarded{namespace="${namespace}",pod="${name}"} ${whole ? 1 : 0}`);
  }
  lines.push(
    '# HELP loam_agent_pod_guard_wanted Whether a pod is to be guarded.',
    '# TYPE loam_agent_pod_guard_wanted gauge',
  );
  for (const { pod, guard } of status.pods) {
    const [namespace = '', name = ''] = pod.split('/');
    const wanted = guard.mode === 'on' ? 1 : 0;
    lines.push(`loam_agent_pod_guard_wanted{namespace="${namespace}",pod="${name}"} ${wanted}`);
  }
  // Another's node proxy is not told to serve: it does as soon as it is there.
  const serving = status.proxies.some(({ role, loamHandover }) => role === 'serving' || !loamHandover);
  lines.push(
    ...family('pods', 'gauge', 'Pods that belong in the mesh, by how far they are.', 'state', [
      ...[...Map.groupBy(status.pods, ({ state }) => state)].map(
        ([state, pods]) => [state, pods.length] as const,
      ),
    ]),
    '# HELP loam_agent_ztunnel_connected Whether a ztunnel serves the pods of the node.',
    '# TYPE loam_agent_ztunnel_connected gauge',
    `loam_agent_ztunnel_connected ${serving ? 1 : 0}`,
    '# HELP loam_ready Whether a gate of readiness is open.',
    '# TYPE loam_ready gauge',
    ...gates.map(({ name, ready }) => `loam_ready{gate="${name}"} ${ready ? 1 : 0}`),
  );
  lines.push(
    ...family(
      'map_entries',
      'gauge',
      'Entries of a map of the kernel part.',
      'map',
      entries(status, 'entries'),
    ),
  );
  lines.push(
    ...family(
      'map_capacity',
      'gauge',
      'Entries that the map has room for.',
      'map',
      entries(status, 'capacity'),
    ),
  );
  const counters =
    'error' in status.kernel ? [] : Object.entries(status.kernel).filter(([name]) => !GAUGES.has(name));
  lines.push(
    ...family('redirection_total', 'counter', 'What the programs did with connections.', 'what', counters),
  );
  lines.push(
    ...family(
      'repairs_total',
      'counter',
      'What somebody had taken away of the kernel part and was put back.',
      'what',
      Object.entries(status.repairs),
    ),
  );
  lines.push(
    '# HELP loam_agent_earlier_connections Connections from before their pod was enrolled, which go on in plaintext.',
    '# TYPE loam_agent_earlier_connections gauge',
    `loam_agent_earlier_connections ${status.pods.reduce((sum, { earlier }) => sum + (earlier?.count ?? 0), 0)}`,
    '# HELP loam_agent_earlier_connections_cut_total Such connections that were cut when their grace was over.',
    '# TYPE loam_agent_earlier_connections_cut_total counter',
    `loam_agent_earlier_connections_cut_total ${status.earlierCut}`,
  );
  lines.push(...observeMetrics(status.observe));
  if (status.kubernetes !== undefined) {
    const { passed, refused, heldMs } = status.kubernetes.held;
    lines.push(
      ...family(
        'pods_held_total',
        'counter',
        'Containers that waited for their pod to be enrolled.',
        'outcome',
        [
          ['passed', passed],
          ['refused', refused],
        ],
      ),
      '# HELP loam_agent_pods_held_seconds_total How long those that passed were held, altogether.',
      '# TYPE loam_agent_pods_held_seconds_total counter',
      `loam_agent_pods_held_seconds_total ${heldMs / 1000}`,
      '# HELP loam_agent_nri_connected Whether the container runtime holds new pods for the agent.',
      '# TYPE loam_agent_nri_connected gauge',
      `loam_agent_nri_connected ${status.kubernetes.nri.state === 'connected' ? 1 : 0}`,
      '# HELP loam_agent_cni_holds Whether the network plugin holds new pods for the agent.',
      '# TYPE loam_agent_cni_holds gauge',
      `loam_agent_cni_holds ${status.kubernetes.cni?.state === 'installed' ? 1 : 0}`,
    );
  }
  return `${lines.join('\n')}\n`;
}

/** Of the kernel's figures, those that are no counters. */
const GAUGES = new Set(['pods', 'records']);

function entries({ maps }: Status, what: 'entries' | 'capacity'): [string, number][] {
  return Object.entries(maps).map(([name, fill]) => [name, fill[what]]);
}

function family(
  name: string,
  type: 'counter' | 'gauge',
  help: string,
  label: string,
  values: readonly (readonly [string, number | string])[],
): string[] {
  const metric = `loam_agent_${name}`;
  return [
    `# HELP ${metric} ${help}`,
    `# TYPE ${metric} ${type}`,
    ...values.map(([value, number]) => `${metric}{${label}="${value}"} ${number}`),
  ];
}
