/** Waypoints, for a person. */
import { isWell, type WaypointHealth } from './health.ts';
import { userText } from './users.ts';

/** Columns as wide as their longest cell, three blanks between. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const all = [head, ...rows];
  const widths = head.map((_, i) => Math.max(...all.map((row) => (row[i] ?? '').length)));
  return all.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('   ')
      .trimEnd(),
  );
}

export function listText(waypoints: readonly WaypointHealth[]): string[] {
  return table(
    ['NAMESPACE', 'NAME', 'FOR', 'READY', 'PROGRAMMED', 'ADDRESS', 'USED BY'],
    waypoints.map((each) => [
      each.namespace,
      each.name,
      each.for,
      `${each.replicas.ready}/${each.replicas.wanted}`,
      each.programmed ? 'yes' : 'no',
      each.address ?? '-',
      usersText(each),
    ]),
  );
}

const MAX_USERS = 3;

function usersText({ users }: WaypointHealth): string {
  if (users.length === 0) return 'nobody';
  const named = users.slice(0, MAX_USERS).map(userText).join(', ');
  return users.length > MAX_USERS ? `${named} and ${users.length - MAX_USERS} more` : named;
}

/** Everything about one. */
export function statusText(waypoint: WaypointHealth): string[] {
  const { namespace, name, replicas, pods, problems, users } = waypoint;
  return [
    `waypoint ${namespace}/${name}: ${isWell(waypoint) ? 'works' : 'NOT WELL'}`,
    `  takes      ${takesText(waypoint)}`,
    `  address    ${waypoint.address ?? 'none yet'}`,
    `  instances  ${replicas.ready} of ${replicas.wanted} ready`,
    ...pods.map((pod) => `    ${pod.name} on ${pod.node ?? 'no node'}: ${pod.problem ?? 'ready'}`),
    `  used by    ${users.length === 0 ? `nobody: kubectl label service NAME -n ${namespace} loam.dev/use-waypoint=${name}` : ''}`.trimEnd(),
    ...users.map((user) => `    ${userText(user)}`),
    ...problems.map((problem) => `  ✗ ${problem}`),
  ];
}

function takesText(waypoint: WaypointHealth): string {
  switch (waypoint.for) {
    case 'all':
      return 'what is sent to Services, and to pods by their own address';
    case 'workload':
      return 'what is sent to pods by their own address';
    case 'none':
      return 'nothing';
    default:
      return 'what is sent to Services';
  }
}
