import { GATEWAY_GROUP, type ObjectReference } from '../../model/gateway-api.ts';
import { type GRPCRoute, type HTTPRoute, isService, namespaceOf, type Service } from '../../model/objects.ts';
import { tcpPorts } from '../services.ts';
import type { World } from './world.ts';

/** Why a backend cannot be used: a reason of the condition ResolvedRefs (Gateway API: RouteConditionReason). */
export type RefReason = 'InvalidKind' | 'RefNotPermitted' | 'BackendNotFound';

/** Where a reference leads. */
export type ResolvedBackend =
  | { readonly state: 'found'; readonly service: Service; readonly port: number }
  | { readonly state: 'invalid'; readonly reason: RefReason; readonly why: string };

/** Follows a backendRef of a route. Whether the Service exists is not told to whom it was not granted. */
export function resolveBackend(
  route: HTTPRoute | GRPCRoute,
  { group = '', kind = 'Service', namespace, name, port = 0 }: ObjectReference,
  world: World,
): ResolvedBackend {
  const invalid = (reason: RefReason, why: string): ResolvedBackend => ({ state: 'invalid', reason, why });
  if (kind !== 'Service' || (group !== '' && group !== 'core'))
    return invalid('InvalidKind', `${kind} ${name}: only Services can be backends`);
  const home = namespaceOf(route);
  const target = namespace ?? home;
  const key = `${target}/${name}`;
  if (target !== home && !isOnlyParent(route, target, name) && !isGranted(route, target, name, world))
    return invalid(
      'RefNotPermitted',
      `no ReferenceGrant in ${target} admits ${route.kind}s of ${home} to Service ${name}`,
    );
  const service = world.services.get(key);
  if (service === undefined) {
    const all = world.objects.servicesByNamespace.get(target) ?? [];
    const isExternal = all.some(({ metadata }) => metadata.name === name);
    return invalid(
      'BackendNotFound',
      isExternal
        ? `Service ${key} is of type ExternalName, which the mesh does not carry`
        : `there is no Service ${key}`,
    );
  }
  if (!tcpPorts(service).some((each) => each.port === port))
    return invalid('BackendNotFound', `Service ${key} has no TCP port ${port}`);
  return { state: 'found', service, port };
}

/**
 * A route for clients of its own namespace alone (Gateway API: a consumer's) that sends to the very Service that they called needs no
 * leave for it. With another parent it would send there what was meant for that one.
 */
function isOnlyParent(route: HTTPRoute | GRPCRoute, target: string, name: string): boolean {
  const parents = route.spec.parentRefs ?? [];
  return (
    parents.length > 0 &&
    parents.every(
      (parent) =>
        isService({
          kind: parent.kind ?? 'Gateway',
          group: parent.group ?? GATEWAY_GROUP,
          name: parent.name,
        }) &&
        (parent.namespace ?? namespaceOf(route)) === target &&
        parent.name === name,
    )
  );
}

/** Gateway API: a reference to another namespace counts only where that one allows it. */
function isGranted(route: HTTPRoute | GRPCRoute, target: string, name: string, world: World): boolean {
  const home = namespaceOf(route);
  return (world.grants.get(target) ?? []).some(
    ({ spec }) =>
      spec.from.some(
        (from) => from.group === GATEWAY_GROUP && from.kind === route.kind && from.namespace === home,
      ) &&
      spec.to.some(
        (to) =>
          (to.group === '' || to.group === 'core') &&
          to.kind === 'Service' &&
          (to.name === undefined || to.name === '' || to.name === name),
      ),
  );
}
