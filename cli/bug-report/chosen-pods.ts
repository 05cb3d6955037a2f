/** Of which pods a bug report has the logs: each may be a megabyte, and a cluster has hundreds of nodes and any number of waypoints. */
import type { V1Pod } from '@kubernetes/client-node';

/** With a log of today and one of before each, this is what a report may weigh before it is packed. */
const MOST_PODS = 60;
/** Of waypoints, whose number the users of namespaces choose: theirs must not take the place of the nodes' programs. */
const MOST_WAYPOINTS = 20;
const MOST_NAMED = 20;

export interface ChosenPods {
  readonly chosen: readonly V1Pod[];
  /** Lines on those that are left out, for the reader of the report. */
  readonly leftOut: readonly string[];
}

/**
 * Those that tell most: what there are few of (the controllers), then what is not ready or has ended before, then the rest.
 *
 * @param controllers come first, whatever their number
 * @param others of the nodes
 */
export function choosePods(
  controllers: readonly V1Pod[],
  others: readonly V1Pod[],
  waypoints: readonly V1Pod[] = [],
): ChosenPods {
  const ordered = [...waypoints.filter(isTroubled), ...waypoints.filter((pod) => !isTroubled(pod))];
  const some = [...others, ...ordered.slice(0, MOST_WAYPOINTS)];
  const troubled = some.filter(isTroubled);
  const rest = some.filter((pod) => !isTroubled(pod));
  const all = [...controllers, ...troubled, ...rest, ...ordered.slice(MOST_WAYPOINTS)];
  const left = all.slice(MOST_PODS);
  const names = left.slice(0, MOST_NAMED).map(({ metadata }) => `${metadata?.namespace}/${metadata?.name}`);
  const more = left.length > MOST_NAMED ? ', …' : '';
  const line = `logs of ${left.length} more pods, those without trouble last: kubectl logs has them (${names.join(', ')}${more})`;
  return { chosen: all.slice(0, MOST_PODS), leftOut: left.length === 0 ? [] : [line] };
}

/** Whether a container of it has ended before, which leaves a log of its former life. */
export function hasEndedBefore({ status }: V1Pod): boolean {
  return (status?.containerStatuses ?? []).some(({ restartCount }) => restartCount > 0);
}

function isTroubled(pod: V1Pod): boolean {
  const ready = pod.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True');
  return ready !== true || hasEndedBefore(pod);
}
