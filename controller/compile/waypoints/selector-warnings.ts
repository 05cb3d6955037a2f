import {
  Action,
  type Authorization,
  type Match,
  Scope,
  type StringMatch,
} from '../../../proto/gen/istio/security/authorization_pb.js';
import { type Identity, parseSpiffeUri, spiffeUri } from '../../../lib/spiffe.ts';
import { namespaceOf, type Pod } from '../../model/objects.ts';
import { type CompiledPolicy, isAttached } from '../authorization.ts';
import type { GuardedPort } from './guards.ts';

const SPIFFE_SCHEME = 'spiffe://';

/**
 * What is probably not meant by a policy that is enforced at a pod whose traffic comes through waypoints: there it sees
 * the waypoint's identity in place of the client's, and nothing of requests (as in Istio). Undefined when all is well.
 */
export function selectorWarning(
  compiled: CompiledPolicy,
  pod: Pod,
  ports: readonly GuardedPort[],
): string | undefined {
  const { authorization, l7Fields = [] } = compiled;
  if (authorization === undefined || authorization.dryRun || !covers(compiled, authorization, pod))
    return undefined;
  for (const { waypoints } of ports) {
    for (const [key, uri] of waypoints) {
      const advice = 'attach the policy to their Service by targetRefs, so that the waypoint enforces it';
      if (l7Fields.length > 0)
        return `pods of it are behind waypoint ${key}, and requests cannot be seen at the pods (${l7Fields.join(', ')}): ${advice}`;
      // A DENY holds all the same: the waypoint asks it on behalf of its clients (decision 0073).
      if (uri === undefined || authorization.action !== Action.ALLOW) continue;
      if (mayMatch(authorization, parseSpiffeUri(uri))) continue;
      return `pods of it are behind waypoint ${key}, whose identity it does not allow, so that nothing gets through: ${advice}, or allow ${uri.slice(SPIFFE_SCHEME.length)}`;
    }
  }
  return undefined;
}

/** Whether the policy is enforced at the pod other than for a Service that has no waypoint. */
function covers({ attachment }: CompiledPolicy, { scope, namespace }: Authorization, pod: Pod): boolean {
  switch (attachment.by) {
    case 'services':
      return false;
    case 'scope':
      return scope === Scope.GLOBAL || namespace === namespaceOf(pod);
    case 'labels':
      return isAttached(attachment, namespaceOf(pod), pod.metadata.labels ?? {}, new Set());
  }
}

/** Whether a rule may match connections of this identity, whatever their addresses and ports are. */
function mayMatch({ rules }: Authorization, identity: Identity): boolean {
  return rules.some(({ clauses }) =>
    clauses.every(({ matches }) => matches.some((match) => isOfIdentity(match, identity))),
  );
}

function isOfIdentity(match: Match, identity: Identity): boolean {
  const principal = spiffeUri(identity).slice(SPIFFE_SCHEME.length);
  const { namespace, serviceAccount } = identity;
  return (
    listed(match.principals, match.notPrincipals, (m) => textMatches(m, principal)) &&
    listed(match.namespaces, match.notNamespaces, (m) => textMatches(m, namespace)) &&
    listed(
      match.serviceAccounts,
      match.notServiceAccounts,
      (m) => m.namespace === namespace && m.serviceAccount === serviceAccount,
    )
  );
}

function listed<T>(wanted: readonly T[], unwanted: readonly T[], test: (value: T) => boolean): boolean {
  return (wanted.length === 0 || wanted.some(test)) && !unwanted.some(test);
}

function textMatches({ matchType }: StringMatch, text: string): boolean {
  switch (matchType.case) {
    case 'exact':
      return text === matchType.value;
    case 'prefix':
      return text.startsWith(matchType.value);
    case 'suffix':
      return text.endsWith(matchType.value);
    case 'presence':
      return true;
    case undefined:
      return false;
  }
}
