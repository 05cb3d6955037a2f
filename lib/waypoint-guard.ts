/**
 * The Authorization that keeps a port of a pod to the waypoints before it has a name that tells ports and waypoints, so
 * that a node can say in a denial what to do about it. Underscores part it: no Kubernetes object has one in its name.
 */
const PREFIX = 'loam_waypoint_';

/** What a guard says. */
export interface WaypointGuard {
  /** The pod's ports. */
  readonly ports: readonly number[];
  /** `<namespace>/<name>` of the Gateways through whose waypoints alone these ports are reached. */
  readonly waypoints: readonly string[];
}

/** The name of a guard, without its namespace; equal for equal guards. */
export function waypointGuardName({ ports, waypoints }: WaypointGuard): string {
  const numbers = [...ports].sort((a, b) => a - b).join('-');
  return `${PREFIX}${numbers}_${[...waypoints].sort().join('_').replaceAll('/', '_')}`;
}

/** Reads a name of {@link waypointGuardName}; undefined for any other. */
export function parseWaypointGuardName(name: string): WaypointGuard | undefined {
  if (!name.startsWith(PREFIX)) return undefined;
  const [numbers = '', ...parts] = name.slice(PREFIX.length).split('_');
  const ports = numbers.split('-').map(Number);
  if (parts.length === 0 || parts.length % 2 !== 0 || !ports.every((port) => port > 0)) return undefined;
  const waypoints: string[] = [];
  for (let i = 0; i < parts.length; i += 2) waypoints.push(`${parts[i]}/${parts[i + 1]}`);
  return { ports, waypoints };
}
