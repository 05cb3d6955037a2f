import { namespaceOf, type ReferenceGrant, type Service, type TrafficPolicy } from '../../model/objects.ts';
import { tcpPorts } from '../services.ts';

const GROUP = 'loam.dev';
const KIND = 'TrafficPolicy';

/** What a fallback is looked up in. */
export interface FallbackWorld {
  /** Services by `<namespace>/<name>`, without those that the mesh does not carry. */
  readonly services: { get(key: string): Service | undefined };
  readonly grants: readonly ReferenceGrant[];
}

/** Why a fallback cannot be used; `reason` as Gateway API has it for ResolvedRefs. */
export interface FallbackProblem {
  readonly reason: 'BackendNotFound' | 'RefNotPermitted';
  readonly field: string;
  readonly message: string;
}

/** `<namespace>/<name>` of the Service that a policy falls back to, if it has a fallback. */
export function fallbackKey(policy: TrafficPolicy): string | undefined {
  const { fallback } = policy.spec;
  return fallback === undefined
    ? undefined
    : `${fallback.namespace ?? namespaceOf(policy)}/${fallback.service}`;
}

/**
 * What is wrong with a policy's fallback beyond the policy itself. The permission comes first, so that nobody learns by a
 * policy which Services another namespace has (Gateway API, ReferenceGrant).
 */
export function fallbackProblem(policy: TrafficPolicy, world: FallbackWorld): FallbackProblem | undefined {
  const { fallback } = policy.spec;
  const key = fallbackKey(policy);
  if (fallback === undefined || key === undefined) return undefined;
  const own = namespaceOf(policy);
  const namespace = fallback.namespace ?? own;
  if (namespace !== own && !world.grants.some((grant) => permits(grant, own, namespace, fallback.service))) {
    const message = `no ReferenceGrant in namespace ${namespace} lets a TrafficPolicy of namespace ${own} send to Service ${fallback.service}`;
    return { reason: 'RefNotPermitted', field: 'spec.fallback.namespace', message };
  }
  const service = world.services.get(key);
  if (service === undefined)
    return {
      reason: 'BackendNotFound',
      field: 'spec.fallback.service',
      message: `there is no Service ${key}`,
    };
  if (tcpPorts(service).some(({ port }) => port === fallback.port)) return undefined;
  const message = `Service ${key} has no port ${fallback.port}`;
  return { reason: 'BackendNotFound', field: 'spec.fallback.port', message };
}

function permits(grant: ReferenceGrant, from: string, to: string, name: string): boolean {
  if (namespaceOf(grant) !== to) return false;
  const isFrom = grant.spec.from.some(
    ({ group, kind, namespace }) => group === GROUP && kind === KIND && namespace === from,
  );
  return (
    isFrom &&
    grant.spec.to.some(
      (target) =>
        target.group === '' &&
        target.kind === 'Service' &&
        (target.name === undefined || target.name === name),
    )
  );
}
