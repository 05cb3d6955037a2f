import type { ObjectStatus } from '../local/status.ts';

/** The name that Istio's protocol has for "no plaintext": one policy, for all pods that a STRICT covers. */
const STATIC_STRICT = 'istio_converted_static_strict';

/**
 * The name by which whoever wrote the manifests knows a policy.
 *
 * @param policy `namespace/name` as a ztunnel logs it; several are joined by a comma and a space
 * @param objects what the controller tells of the manifests
 */
export function policyName(policy: string, objects: readonly ObjectStatus[]): string {
  return policy
    .split(', ')
    .map((name) => peerName(name, objects) ?? name)
    .join(', ');
}

function peerName(policy: string, objects: readonly ObjectStatus[]): string | undefined {
  const found = objects
    .filter(({ kind }) => kind === 'PeerAuthentication')
    .filter(({ compiledTo }) => compiledTo.some((resource) => resource.split(' ')[1] === policy))
    .map(({ namespace, name }) => `${namespace}/${name}`);
  if (found.length > 0) return `PeerAuthentication ${found.join(' or ')}`;
  return policy.endsWith(`/${STATIC_STRICT}`) ? 'PeerAuthentication with STRICT' : undefined;
}
