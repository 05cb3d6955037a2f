/** Whether what people have written is in force, as the controllers say in the status of each object. */
import {
  USE_WAYPOINT_LABEL,
  USE_WAYPOINT_NAMESPACE_LABEL,
  WAYPOINT_CLASS,
  type GatewayObject,
} from '../../waypoints/model.ts';
import { didYouMean } from '../../../lib/did-you-mean.ts';
import { countText } from '../../output/words.ts';
import { collectionPath, placeOf } from '../cluster/kinds.ts';
import { fail, labelMend, note, pass, type Finding } from './finding.ts';
import type { CheckSubject } from './subject.ts';

const POLICIES = [
  'security.istio.io/v1/AuthorizationPolicy',
  'security.istio.io/v1/PeerAuthentication',
  'security.istio.io/v1/RequestAuthentication',
  'loam.dev/v1/EgressPolicy',
  'loam.dev/v1/TrafficPolicy',
  'loam.dev/v1/MeshSettings',
  'networking.istio.io/v1/ServiceEntry',
  'telemetry.istio.io/v1/Telemetry',
] as const;
const MAX_LINES = 20;

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
  readonly message?: string;
}

interface Written {
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly status?: { readonly conditions?: readonly Condition[]; readonly phase?: string };
}

/** Policies that were rejected, waypoints that are not in force, and objects before which there is none that they name. */
export async function checkConfiguration({ api }: CheckSubject): Promise<Finding[]> {
  const findings: Finding[] = [];
  let policies = 0;
  for (const kind of POLICIES) {
    const name = kind.slice(kind.lastIndexOf('/') + 1);
    for (const object of await api.list<Written>(collectionPath(kind))) {
      policies += 1;
      const rejected = conditionOf(object, 'Accepted');
      if (rejected === undefined) continue;
      findings.push(
        fail(
          `${name} ${nameText(object)}`,
          `is not in force as written: ${rejected}`,
          `loam status names the field and what is allowed; kubectl edit ${placeOf(kind).plural} ${ofText(object)}`,
        ),
      );
    }
  }
  const gateways = await api.list<GatewayObject & Written>(
    collectionPath('gateway.networking.k8s.io/v1/Gateway'),
  );
  const waypoints = gateways.filter(({ spec }) => spec.gatewayClassName === WAYPOINT_CLASS);
  for (const waypoint of waypoints) {
    const why = conditionOf(waypoint, 'Accepted') ?? conditionOf(waypoint, 'Programmed');
    if (why === undefined) continue;
    const { name, namespace = '' } = waypoint.metadata;
    findings.push(
      fail(
        `waypoint ${namespace}/${name}`,
        `is not in force, so that what is sent to Services behind it is refused: ${why}`,
        `loam waypoint status; kubectl get pods --namespace ${namespace} --selector gateway.networking.k8s.io/gateway-name=${name}`,
      ),
    );
  }
  findings.push(...(await dangling({ api }, new Set(waypoints.map(nameText)))));
  const shown = findings.slice(0, MAX_LINES);
  return [
    ...(findings.length === 0
      ? [
          pass(
            'configuration',
            `${policies === 1 ? '1 policy' : `${policies} policies`} and ${countText(waypoints.length, 'waypoint')} in force`,
          ),
        ]
      : shown),
    ...(shown.length < findings.length
      ? [note('configuration', `and ${findings.length - shown.length} lines more: loam status`)]
      : []),
  ];
}

/** Labels that name a waypoint which is not there: nothing reaches what has one. */
async function dangling(
  { api }: Pick<CheckSubject, 'api'>,
  waypoints: ReadonlySet<string>,
): Promise<Finding[]> {
  const found: Finding[] = [];
  for (const kind of ['Namespace', 'Service', 'Pod'] as const) {
    const labelSelector = USE_WAYPOINT_LABEL;
    for (const object of await api.list<Written>(collectionPath(`v1/${kind}`), { labelSelector })) {
      const { labels = {}, name, namespace = name } = object.metadata;
      const wanted = labels[USE_WAYPOINT_LABEL];
      if (wanted === undefined || wanted === '' || wanted === 'none' || hasEnded(object)) continue;
      const home = labels[USE_WAYPOINT_NAMESPACE_LABEL] ?? namespace;
      if (waypoints.has(`${home}/${wanted}`)) continue;
      const there = [...waypoints].filter((key) => key.startsWith(`${home}/`));
      const meant = didYouMean(
        wanted,
        there.map((key) => key.slice(home.length + 1)),
      );
      found.push(
        fail(
          `${kind} ${nameText(object)}`,
          `has the label ${USE_WAYPOINT_LABEL}=${wanted}, and there is no waypoint ${home}/${wanted}: what is sent ${kind === 'Namespace' ? 'to its Services' : 'to it'} is refused`,
          `make it: loam waypoint apply ${wanted} -n ${home} --wait; or ${meant === undefined ? 'take the label off' : labelMend(kind, object.metadata, `--overwrite ${USE_WAYPOINT_LABEL}=${meant}`)}`,
        ),
      );
    }
  }
  return found;
}

function hasEnded({ status }: Written): boolean {
  return status?.phase === 'Succeeded' || status?.phase === 'Failed';
}

/** What a condition that is false says. */
function conditionOf({ status }: Written, type: string): string | undefined {
  const found = status?.conditions?.find(
    (condition) => condition.type === type && condition.status === 'False',
  );
  return found && (found.message || found.reason || 'no reason is given');
}

function nameText({ metadata: { namespace, name } }: Written): string {
  return namespace === undefined ? name : `${namespace}/${name}`;
}

function ofText({ metadata: { namespace, name } }: Written): string {
  return namespace === undefined ? name : `--namespace ${namespace} ${name}`;
}
