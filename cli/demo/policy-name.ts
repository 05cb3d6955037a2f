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
    .map((name) => strictName(name, objects) ?? name)
    .join(', ');
}

function strictName(policy: string, objects: readonly ObjectStatus[]): string | undefined {
  const peers = objects.filter(({ kind }) => kind === 'PeerAuthentication');
  const text = (found: readonly ObjectStatus[]): string =>
    `PeerAuthentication ${found.map(({ namespace, name }) => `${namespace}/${name}`).join(' or ')}`;
  const own = peers.filter(({ compiledTo }) =>
    compiledTo.some((resource) => resource.split(' ')[1] === policy),
  );
  if (own.length > 0) return text(own);
  if (policy.endsWith(`/${STATIC_STRICT}`)) {
    // Those with exceptions for ports have a policy of their own; of the others, those that forbid plaintext.
    const found = peers.filter(
      ({ compiledTo, message }) => compiledTo.length === 0 && message?.startsWith('plaintext is denied'),
    );
    return found.length === 0 ? 'PeerAuthentication with STRICT' : text(found);
  }
  return undefined;
}
