import { DATAPLANE_MODE_LABEL } from '../../lib/enrolment.ts';
import { tcpPorts } from '../compile/services.ts';
import {
  USE_WAYPOINT_LABEL,
  USE_WAYPOINT_NAMESPACE_LABEL,
  WAYPOINT_FOR_LABEL,
} from '../compile/waypoints/labels.ts';
import { containerPort } from '../compile/workloads.ts';
import { hasSelector, labelsMatch } from '../model/labels.ts';
import {
  type AuthorizationPolicy,
  type EgressPolicy,
  type KubeObject,
  type Labels,
  namespaceOf,
  type PeerAuthentication,
  type Pod,
  refOf,
  type Service,
} from '../model/objects.ts';
import { didYouMean } from '../../lib/did-you-mean.ts';
import { show } from '../schema/validate.ts';
import { type Steps, THINGS_A_STEP } from './in-steps.ts';
import { classWarnings, routeWarnings, waypointWarnings } from './gateway-warnings.ts';
import { egressWarnings } from './egress-warnings.ts';
import { peerWarnings } from './peer-warnings.ts';
import type { AcceptedObject, Problem } from './source.ts';
import { trafficWarnings } from './traffic-warnings.ts';

/** What the local mesh runs in a container (cli/local/model.ts), here for the check of names alone. */
const COMMAND_PREFIX = 'local.loam.dev/command.';
const MAX_NAMES = 5;

/** Labels of Istio that have a namesake here and no meaning. */
const OWN_LABEL_BY_ISTIO_LABEL: ReadonlyMap<string, string> = new Map(
  [DATAPLANE_MODE_LABEL, USE_WAYPOINT_LABEL, USE_WAYPOINT_NAMESPACE_LABEL, WAYPOINT_FOR_LABEL].map((own) => [
    own.replace('loam.dev/', 'istio.io/'),
    own,
  ]),
);

/** A doubt about one field of an object. */
export interface Doubt {
  readonly field: string;
  readonly message: string;
  readonly value?: string;
  readonly allowed?: string;
}

export interface WarningContext {
  readonly rootNamespace: string;
  readonly trustDomain: string;
  /** Set where an API server keeps the objects and kubelets run the pods. */
  readonly platform?: 'kubernetes';
}

/** Pods by namespace, since most questions are about those of one. */
type Pods = ReadonlyMap<string, readonly Pod[]>;

/** All that is legal in a set of objects, and almost always a typing error. Pure. */
export function* warningSteps(
  objects: ReadonlyMap<string, AcceptedObject>,
  context: WarningContext,
): Steps<Problem[]> {
  const pods = new Map<string, Pod[]>();
  for (const { object } of objects.values()) {
    if (object.kind !== 'Pod') continue;
    const namespace = namespaceOf(object);
    const list = pods.get(namespace) ?? [];
    list.push(object);
    pods.set(namespace, list);
  }
  const warnings: Problem[] = [];
  let seen = 0;
  for (const { object, file, line } of objects.values()) {
    if (seen % THINGS_A_STEP === 0) yield;
    seen += 1;
    const doubts = [
      ...labelDoubts(object),
      ...waypointWarnings(object, objects),
      ...kindDoubts(object, pods, objects, context),
    ];
    const place = { severity: 'warning', file, ...(line !== undefined && { line }) } as const;
    for (const doubt of doubts) warnings.push({ ...place, object: refOf(object), ...doubt });
  }
  return warnings;
}

function kindDoubts(
  object: KubeObject,
  pods: Pods,
  objects: ReadonlyMap<string, AcceptedObject>,
  context: WarningContext,
): Doubt[] {
  switch (object.kind) {
    case 'Pod':
      return context.platform === 'kubernetes' ? [] : [...nodeDoubts(object), ...commandDoubts(object)];
    case 'Service':
      return serviceDoubts(object, pods.get(namespaceOf(object)) ?? []);
    case 'AuthorizationPolicy':
      return [
        ...selectorDoubts(object, pods, context.rootNamespace),
        ...peerWarnings(object, objects, context),
      ];
    case 'PeerAuthentication':
      return selectorDoubts(object, pods, context.rootNamespace);
    case 'EgressPolicy':
      return [
        ...selectorDoubts(object, pods, context.rootNamespace),
        ...egressWarnings(object, objects, context),
      ];
    case 'TrafficPolicy':
      return trafficWarnings(object, objects);
    case 'HTTPRoute':
    case 'GRPCRoute':
      return routeWarnings(object, objects);
    case 'Gateway':
      return classWarnings(object);
    case 'Namespace':
    case 'ServiceAccount':
    case 'Node':
    case 'EndpointSlice':
    case 'RequestAuthentication':
    case 'GatewayClass':
    case 'ReferenceGrant':
    case 'MeshSettings':
    case 'ServiceEntry':
    case 'Telemetry':
      return [];
  }
}

function labelDoubts({ metadata: { labels = {} } }: KubeObject): Doubt[] {
  return Object.entries(labels).flatMap(([key, value]) => {
    const own = OWN_LABEL_BY_ISTIO_LABEL.get(key);
    if (own === undefined || Object.hasOwn(labels, own)) return [];
    return [
      {
        field: `metadata.labels["${key}"]`,
        value: show(value),
        message: `the label ${key} has no effect here; did you mean ${own}?`,
      },
    ];
  });
}

function nodeDoubts({ spec }: Pod): Doubt[] {
  if (spec.nodeName !== undefined) return [];
  return [{ field: 'spec.nodeName', message: 'the pod names no node (spec.nodeName), so it runs nowhere' }];
}

function commandDoubts({ metadata: { annotations = {} }, spec }: Pod): Doubt[] {
  const names = [...spec.containers, ...(spec.initContainers ?? [])].map(({ name }) => name);
  const doubts: Doubt[] = [];
  for (const key of Object.keys(annotations)) {
    const name = key.startsWith(COMMAND_PREFIX) ? key.slice(COMMAND_PREFIX.length) : undefined;
    if (name === undefined || names.includes(name)) continue;
    const guess = didYouMean(name, names);
    doubts.push({
      field: `metadata.annotations["${key}"]`,
      message: `the pod has no container ${show(name)}${guess === undefined ? '' : `; did you mean ${show(guess)}?`}`,
      allowed: names.map((each) => COMMAND_PREFIX + each).join(', '),
    });
  }
  for (const { name } of spec.containers) {
    if (Object.hasOwn(annotations, COMMAND_PREFIX + name)) continue;
    doubts.push({
      field: 'metadata.annotations',
      message: `container ${name} has no command (annotation ${COMMAND_PREFIX}${name}), so nothing runs in it`,
    });
  }
  return doubts;
}

function serviceDoubts(service: Service, pods: readonly Pod[]): Doubt[] {
  const { selector, ports = [], type } = service.spec;
  if (type === 'ExternalName') return [];
  const doubts: Doubt[] = [];
  const others = ports.filter(({ protocol }) => (protocol ?? 'TCP') !== 'TCP');
  if (others.length > 0) {
    const list = others.map(({ port, protocol }) => `${port}/${protocol}`).join(', ');
    const rest = others.length === ports.length ? '; the Service has no other port' : '';
    doubts.push({
      field: 'spec.ports',
      value: list,
      message: `the mesh carries TCP alone, not ${list}${rest}`,
    });
  }
  if (selector === undefined || Object.keys(selector).length === 0) return doubts;
  const selected = pods.filter((pod) => labelsMatch(selector, pod.metadata.labels));
  if (selected.length === 0) {
    doubts.push({
      field: 'spec.selector',
      value: labelsText(selector),
      message: `selects no Pod: none of namespace ${namespaceOf(service)} has the labels ${labelsText(selector)}`,
    });
  }
  service.spec.ports?.forEach((port, i) => {
    const { targetPort } = port;
    if (typeof targetPort !== 'string' || !tcpPorts(service).includes(port)) return;
    const lacking = selected.filter((pod) => containerPort(pod, targetPort) === undefined);
    if (lacking.length > 0) doubts.push(portDoubt(targetPort, i, lacking));
  });
  return doubts;
}

function portDoubt(targetPort: string, index: number, lacking: readonly Pod[]): Doubt {
  const named = new Set(
    lacking.flatMap(({ spec }) =>
      spec.containers.flatMap(({ ports = [] }) =>
        ports.flatMap(({ name }) => (name === undefined ? [] : [name])),
      ),
    ),
  );
  const who = lacking.slice(0, MAX_NAMES).map(({ metadata }) => metadata.name);
  const more = lacking.length > MAX_NAMES ? ` and ${lacking.length - MAX_NAMES} more` : '';
  return {
    field: `spec.ports[${index}].targetPort`,
    value: show(targetPort),
    message: `no container port of Pod ${who.join(', ')}${more} has the name ${show(targetPort)}`,
    allowed: named.size === 0 ? "a number, or a name in the container's ports" : [...named].sort().join(', '),
  };
}

function selectorDoubts(
  policy: AuthorizationPolicy | PeerAuthentication | EgressPolicy,
  pods: Pods,
  rootNamespace: string,
): Doubt[] {
  const { spec } = policy;
  if (policy.kind === 'AuthorizationPolicy' && (policy.spec?.targetRef ?? policy.spec?.targetRefs)) return [];
  const namespace = namespaceOf(policy);
  // In the root namespace a policy is for all namespaces, a PeerAuthentication with a selector is not (Istio's rules).
  const everywhere =
    namespace === rootNamespace && (policy.kind !== 'PeerAuthentication' || !hasSelector(spec?.selector));
  const candidates = everywhere ? [...pods.values()].flat() : (pods.get(namespace) ?? []);
  if (!hasSelector(spec?.selector)) {
    if (candidates.length > 0 || everywhere) return [];
    return [
      {
        field: 'metadata.namespace',
        value: show(namespace),
        message: `selects no Pod: there is none in namespace ${namespace}`,
      },
    ];
  }
  const { matchLabels } = spec.selector;
  if (candidates.some((pod) => labelsMatch(matchLabels, pod.metadata.labels))) return [];
  const where = everywhere ? '' : ` of namespace ${namespace}`;
  return [
    {
      field: 'spec.selector',
      value: labelsText(matchLabels),
      message: `selects no Pod: none${where} has the labels ${labelsText(matchLabels)}`,
    },
  ];
}

function labelsText(labels: Labels): string {
  return Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(',');
}
