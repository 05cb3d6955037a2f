import { tcpPorts } from '../compile/services.ts';
import { gatewayNameOf, USE_WAYPOINT_LABEL } from '../compile/waypoints/labels.ts';
import { WAYPOINT_CLASS } from '../model/gateway-api.ts';
import type { ObjectReference } from '../model/gateway-api.ts';
import {
  type Gateway,
  type GRPCRoute,
  type HTTPRoute,
  type KubeObject,
  namespaceOf,
  objectKey,
} from '../model/objects.ts';
import { didYouMean } from '../../lib/did-you-mean.ts';
import { show } from '../schema/validate.ts';
import { namesOf } from './references.ts';
import type { AcceptedObject } from './source.ts';
import type { Doubt } from './warnings.ts';

type Objects = ReadonlyMap<string, AcceptedObject>;
const MAX_NAMES = 20;
const ISTIO_WAYPOINT_CLASS = 'istio-waypoint';

/** A label that names a waypoint which does not exist: what has it is out of reach. */
export function waypointWarnings(object: KubeObject, objects: Objects): Doubt[] {
  if (object.kind !== 'Namespace' && object.kind !== 'Service' && object.kind !== 'Pod') return [];
  const home = object.kind === 'Namespace' ? object.metadata.name : namespaceOf(object);
  const wanted = gatewayNameOf(home, object.metadata.labels, undefined);
  if (wanted === undefined) return [];
  const { namespace, name } = wanted;
  const found = objects.get(objectKey({ kind: 'Gateway', namespace, name }))?.object;
  const field = `metadata.labels["${USE_WAYPOINT_LABEL}"]`;
  if (found === undefined) {
    const message = `there is no Gateway ${show(name)} in namespace ${namespace}, so connections are refused`;
    return [{ field, value: show(name), ...guessed(message, 'Gateway', namespace, name, objects) }];
  }
  if (found.kind !== 'Gateway' || found.spec.gatewayClassName === WAYPOINT_CLASS) return [];
  const message = `Gateway ${namespace}/${name} is of class ${found.spec.gatewayClassName}, so connections are refused`;
  return [{ field, value: show(name), message, allowed: `a Gateway of class ${WAYPOINT_CLASS}` }];
}

/** A class that is nearly Loam's, or Istio's for the same thing: such a Gateway is nobody's, and no waypoint runs for it. */
export function classWarnings({ spec: { gatewayClassName } }: Gateway): Doubt[] {
  const nearly = didYouMean(gatewayClassName, [WAYPOINT_CLASS]) !== undefined;
  if (gatewayClassName === WAYPOINT_CLASS || !(nearly || gatewayClassName === ISTIO_WAYPOINT_CLASS))
    return [];
  const message = `no waypoint runs for a Gateway of this class; did you mean ${show(WAYPOINT_CLASS)}?`;
  return [{ field: 'spec.gatewayClassName', value: show(gatewayClassName), message }];
}

/** Services that a route names and that do not exist, or not with that port. Whether it may name them is status. */
export function routeWarnings(route: HTTPRoute | GRPCRoute, objects: Objects): Doubt[] {
  const doubts: Doubt[] = [];
  const check = (reference: ObjectReference, field: string): void => {
    const { group = '', kind = 'Service', namespace = namespaceOf(route), name, port } = reference;
    if (kind !== 'Service' || (group !== '' && group !== 'core')) return;
    const found = objects.get(objectKey({ kind, namespace, name }))?.object;
    if (found?.kind !== 'Service') {
      const message = `there is no Service ${show(name)} in namespace ${namespace}`;
      doubts.push({
        field: `${field}.name`,
        value: show(name),
        ...guessed(message, kind, namespace, name, objects),
      });
      return;
    }
    const ports = tcpPorts(found).map((each) => each.port);
    if (port === undefined || ports.includes(port)) return;
    const message = `Service ${namespace}/${name} has no TCP port ${port}`;
    const allowed = ports.length === 0 ? {} : { allowed: ports.join(', ') };
    doubts.push({ field: `${field}.port`, value: show(port), message, ...allowed });
  };
  (route.spec.parentRefs ?? []).forEach((parent, i) => check(parent, `spec.parentRefs[${i}]`));
  (route.spec.rules ?? []).forEach((rule, r) => {
    (rule.backendRefs ?? []).forEach((backend, b) => check(backend, `spec.rules[${r}].backendRefs[${b}]`));
    (rule.filters ?? []).forEach((filter, f) => {
      if (filter.type === 'RequestMirror')
        check(filter.requestMirror.backendRef, `spec.rules[${r}].filters[${f}].requestMirror.backendRef`);
    });
  });
  return doubts;
}

function guessed(
  message: string,
  kind: string,
  namespace: string,
  name: string,
  objects: Objects,
): Pick<Doubt, 'message' | 'allowed'> {
  const names = namesOf(
    [...objects.values()].map(({ object }) => object),
    kind,
    namespace,
  );
  const guess = didYouMean(name, names);
  return {
    message: `${message}${guess === undefined ? '' : `; did you mean ${show(guess)}?`}`,
    ...(names.length === 0 ? {} : { allowed: names.slice(0, MAX_NAMES).join(', ') }),
  };
}
