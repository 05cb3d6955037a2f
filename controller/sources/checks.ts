import { POD_FAMILIES_ALLOWED, POD_FAMILIES_ANNOTATION } from '../../lib/ip-families.ts';
import { DATAPLANE_MODE_LABEL } from '../../lib/enrolment.ts';
import { GUARD_ANNOTATION, GUARD_MODES } from '../../lib/guard-mode.ts';
import { hasSelector } from '../model/labels.ts';
import { type KubeObject, type PeerAuthentication, type Pod } from '../model/objects.ts';
import { didYouMean } from '../../lib/did-you-mean.ts';
import { type FieldProblem, show } from '../schema/validate.ts';
import { OUTBOUND_LABEL, OUTBOUND_LABEL_VALUES } from '../compile/egress/settings.ts';
import {
  USE_WAYPOINT_LABEL,
  USE_WAYPOINT_NAMESPACE_LABEL,
  WAYPOINT_FOR_LABEL,
  WAYPOINT_FOR_VALUES,
} from '../compile/waypoints/labels.ts';
import { checkAuthorization } from './check-authorization.ts';
import { checkEndpointSlice } from './check-endpoint-slice.ts';
import { checkEgressPolicy } from './check-egress-policy.ts';
import { checkGateway, checkGatewayClass, checkReferenceGrant } from './check-gateway.ts';
import { duplicates, notAllowed, type Path, problem } from './check-helpers.ts';
import { checkRequestAuthentication } from './check-request-authentication.ts';
import { checkRoute } from './check-routes.ts';
import { checkService } from './check-service.ts';
import { checkServiceEntry } from './check-service-entry.ts';
import { checkMeshSettings, checkTelemetry } from './check-telemetry.ts';
import { checkTrafficPolicy } from './check-traffic-policy.ts';

const OWN_ANNOTATIONS: ReadonlyMap<string, readonly string[]> = new Map<string, readonly string[]>([
  [GUARD_ANNOTATION, GUARD_MODES],
  [POD_FAMILIES_ANNOTATION, POD_FAMILIES_ALLOWED],
]);
const OWN_LABELS = 'loam.dev/';
const OWN_LABEL_NAMES = [
  DATAPLANE_MODE_LABEL,
  USE_WAYPOINT_LABEL,
  USE_WAYPOINT_NAMESPACE_LABEL,
  WAYPOINT_FOR_LABEL,
  OUTBOUND_LABEL,
];
/** The labels that take certain values alone. */
const LABEL_VALUES: ReadonlyMap<string, readonly string[]> = new Map([
  [DATAPLANE_MODE_LABEL, ['ambient', 'observe', 'none']],
  [WAYPOINT_FOR_LABEL, WAYPOINT_FOR_VALUES],
  [OUTBOUND_LABEL, OUTBOUND_LABEL_VALUES],
]);

/** What a schema cannot say: rules between the fields of one object, and the labels that are ours. */
export function checkObject(object: KubeObject): FieldProblem[] {
  return [...checkOwnLabels(object), ...checkKind(object)];
}

function checkKind(object: KubeObject): FieldProblem[] {
  switch (object.kind) {
    case 'Pod':
      return checkPod(object);
    case 'Service':
      return checkService(object);
    case 'EndpointSlice':
      return checkEndpointSlice(object);
    case 'AuthorizationPolicy':
      return checkAuthorization(object);
    case 'PeerAuthentication':
      return checkPeerAuthentication(object);
    case 'RequestAuthentication':
      return checkRequestAuthentication(object);
    case 'TrafficPolicy':
      return checkTrafficPolicy(object);
    case 'ServiceEntry':
      return checkServiceEntry(object);
    case 'EgressPolicy':
      return checkEgressPolicy(object);
    case 'Telemetry':
      return checkTelemetry(object);
    case 'MeshSettings':
      return checkMeshSettings(object);
    case 'Gateway':
      return checkGateway(object);
    case 'GatewayClass':
      return checkGatewayClass(object);
    case 'HTTPRoute':
    case 'GRPCRoute':
      return checkRoute(object);
    case 'ReferenceGrant':
      return checkReferenceGrant(object);
    case 'Namespace':
    case 'ServiceAccount':
    case 'Node':
      return [];
  }
}

/** A typing error here would take a pod out of the mesh, and out of reach of its policies. */
function checkOwnLabels({ kind, metadata: { labels = {} } }: KubeObject): FieldProblem[] {
  return Object.entries(labels).flatMap(([key, value]) => {
    const path: Path = ['metadata', 'labels', key];
    if (key === OUTBOUND_LABEL && kind !== 'Namespace')
      return [{ ...problem(path, `the label ${key} has a meaning on a Namespace alone`), atKey: true }];
    const values = LABEL_VALUES.get(key);
    if (values !== undefined && !values.includes(value)) return [notAllowed(path, value, values.join(', '))];
    if (!key.startsWith(OWN_LABELS) || OWN_LABEL_NAMES.includes(key)) return [];
    const guess = didYouMean(key, OWN_LABEL_NAMES);
    const hint = guess === undefined ? '' : `; did you mean ${show(guess)}?`;
    return [
      {
        ...problem(path, `unknown label ${show(key)}${hint}`, undefined, OWN_LABEL_NAMES.join(', ')),
        atKey: true,
      },
    ];
  });
}

function checkPod(pod: Pod): FieldProblem[] {
  const { containers, initContainers = [] } = pod.spec;
  const all = [...containers, ...initContainers];
  const names = duplicates(all, (c) => c.name, ['spec', 'containers'], 'container');
  const ports = containers.flatMap((container, i) =>
    duplicates(container.ports ?? [], (p) => p.name, ['spec', 'containers', i, 'ports'], 'port name'),
  );
  return [...checkAnnotations(pod), ...names, ...ports];
}

/** A typing error here would leave a pod without what its owner counts on. */
function checkAnnotations({ metadata: { annotations = {} } }: Pod): FieldProblem[] {
  return Object.entries(annotations).flatMap(([key, value]) => {
    const values = OWN_ANNOTATIONS.get(key);
    if (values === undefined || values.includes(value)) return [];
    return [notAllowed(['metadata', 'annotations', key], value, values.join(', '))];
  });
}

function checkPeerAuthentication(policy: PeerAuthentication): FieldProblem[] {
  const spec = policy.spec ?? {};
  if (Object.keys(spec.portLevelMtls ?? {}).length > 0 && !hasSelector(spec.selector)) {
    return [problem(['spec', 'portLevelMtls'], 'ports can be set only together with a selector')];
  }
  return [];
}
