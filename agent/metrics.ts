/** The agent's counters in the text format of Prometheus; the few that it has need no library in a process of root. */
import type { Status } from './status.ts';

/** The page. Values of labels are names of Kubernetes or our own, which need no escaping. */
export function metricsOf(status: Status): string {
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
  return `${lines.join('\n')}\n`;
}
