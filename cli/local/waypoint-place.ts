import type { GatewayManifest } from './model.ts';

/** Where a waypoint's first instance runs: the name of a node, which is made when no pod has made it. */
export const NODE_ANNOTATION = 'local.loam.dev/node';
/** How many instances a waypoint has, on as many nodes as there are. */
export const REPLICAS_ANNOTATION = 'local.loam.dev/replicas';

const MAX_REPLICAS = 4;
/** RFC 1123, as Kubernetes names nodes. */
const NODE_NAME = /^(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

export interface WaypointPlace {
  /** The node of each instance; none while there is no node to run on. */
  readonly nodes: readonly string[];
  /** What cannot be followed, each naming annotation, value and what is allowed; the default holds in its place. */
  readonly problems: readonly string[];
}

/**
 * Where the instances of a waypoint run. The first on the node that the Gateway names, else where it runs already,
 * else on the first node by name; the others on the nodes after that one, in turn.
 *
 * @param podNodes names of the nodes that run pods
 * @param current the node of its first instance, when it runs
 */
export function waypointPlace(
  gateway: GatewayManifest,
  podNodes: ReadonlySet<string>,
  current: string | undefined,
): WaypointPlace {
  const problems: string[] = [];
  const wrong = (annotation: string, value: string, allowed: string, instead: string): void => {
    problems.push(
      `metadata.annotations["${annotation}"] is ${JSON.stringify(value)}; allowed: ${allowed}; ${instead}`,
    );
  };
  const replicasText = gateway.annotations[REPLICAS_ANNOTATION] ?? '1';
  let replicas = /^\d$/.test(replicasText) ? Number(replicasText) : 0;
  if (replicas < 1 || replicas > MAX_REPLICAS) {
    wrong(REPLICAS_ANNOTATION, replicasText, `1 to ${MAX_REPLICAS}`, 'it has 1');
    replicas = 1;
  }
  let wanted = gateway.annotations[NODE_ANNOTATION];
  if (wanted !== undefined && !NODE_NAME.test(wanted)) {
    wrong(
      NODE_ANNOTATION,
      wanted,
      'a DNS name in lower case, as in spec.nodeName of a Pod',
      'a node is chosen for it',
    );
    wanted = undefined;
  }
  const known = [...podNodes].sort();
  const first = wanted ?? current ?? known[0];
  if (first === undefined) return { nodes: [], problems };
  const all = [...new Set([...known, first])].sort();
  const start = all.indexOf(first);
  const nodes = Array.from({ length: replicas }, (_, i) => all[(start + i) % all.length] ?? first);
  return { nodes, problems };
}
