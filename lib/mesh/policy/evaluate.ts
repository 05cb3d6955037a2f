import type { Identity } from '../../spiffe.ts';
import { parseWaypointGuardName } from '../../waypoint-guard.ts';
import { canonicalIp, cidrContains, ipToBytes, type Cidr } from '../state/ip.ts';
import type {
  Clause,
  Match,
  Policy,
  Rule,
  ServiceAccountMatch,
  TextMatch,
  Workload,
} from '../state/model.ts';
import type { PolicyStore } from '../state/policy-store.ts';
import { principalOf, textMatches } from '../state/text-match.ts';

const STATIC_STRICT = 'istio_converted_static_strict';
const CONVERTED_PREFIX = 'converted_peer_authentication_';

/** What policy can see of a connection at its destination. */
export interface ConnectionFacts {
  /** From the peer's certificate; undefined when it came in plaintext. */
  readonly sourceIdentity?: Identity | undefined;
  readonly sourceIp: string;
  readonly destIp: string;
  readonly destPort: number;
}

/** For logs: which policies were looked at, and what the ones on trial would have done. */
export interface Consulted {
  /** Names of the enforced policies that apply to the destination. */
  readonly applied: readonly string[];
  readonly dryRun: readonly {
    readonly policy: string;
    readonly action: 'allow' | 'deny';
    readonly matched: boolean;
  }[];
}

export type Verdict = Consulted &
  (
    | {
        readonly verdict: 'allow';
        /** The policy that allowed it; none when no ALLOW policy applies. */ readonly policy?: string;
      }
    | {
        readonly verdict: 'deny';
        /** The policy that denied; where no ALLOW policy allowed, the names of them all, joined by a comma and a space. */
        readonly policy?: string;
        readonly reason: string;
      }
    | {
        readonly verdict: 'wait';
        /** Policies that the destination lists and that have not arrived. */ readonly missing: readonly string[];
      }
  );

export interface EvaluateOptions {
  /** While the caller may still wait for policies to arrive (5 s, DESIGN §6); false turns 'wait' into 'deny'. */
  readonly mayWait: boolean;
}

/**
 * Whether a connection may be made, in Istio's order (ambient-facts C7): a DENY that matches denies; without ALLOW
 * policies all else is allowed; with them, one must match. Unlike Istio, a policy that is listed but not known denies,
 * and what L4 cannot see counts against the connection (DESIGN §6).
 */
export function evaluate(
  store: PolicyStore,
  destination: Pick<Workload, 'namespace' | 'authorizationPolicies'>,
  connection: ConnectionFacts,
  options: EvaluateOptions = { mayWait: true },
): Verdict {
  const { policies, missing } = store.applicable(destination);
  const enforced = policies.filter((p) => !p.dryRun);
  const applied = enforced.map((p) => p.key);
  const facts = readFacts(connection);
  if (!facts) {
    return { verdict: 'deny', reason: 'an address of the connection cannot be read', applied, dryRun: [] };
  }
  const dryRun = policies
    .filter((p) => p.dryRun)
    .map((p) => ({ policy: p.key, action: p.action, matched: policyMatches(p, facts) }));
  const consulted = { applied, dryRun };

  const denying = enforced.find((p) => p.action === 'deny' && policyMatches(p, facts));
  if (denying) {
    return {
      verdict: 'deny',
      policy: denying.key,
      reason: denialReason(denying.key, facts.destPort),
      ...consulted,
    };
  }
  const [unknown] = missing;
  if (unknown !== undefined) {
    if (options.mayWait) return { verdict: 'wait', missing, ...consulted };
    return { verdict: 'deny', policy: unknown, reason: `policy ${unknown} is not known`, ...consulted };
  }
  const allows = enforced.filter((p) => p.action === 'allow');
  if (allows.length === 0) return { verdict: 'allow', ...consulted };
  const allowing = allows.find((p) => policyMatches(p, facts));
  if (allowing) return { verdict: 'allow', policy: allowing.key, ...consulted };
  // The rule that denied is that none of these allowed: whoever looks for it must find their names.
  const policy = allows.map((p) => p.key).join(', ');
  return { verdict: 'deny', policy, reason: 'allow policies exist, but none allowed', ...consulted };
}

/**
 * Whether a DENY at a pod means a client whose connection somebody else makes in its place: a waypoint, which the pod's
 * own node sees as the peer. What keeps a port to waypoints is meant for those who go round them, and left out. A policy
 * that is listed but not known denies.
 *
 * @returns the denial; undefined when none matches
 */
export function denialOfClient(
  store: PolicyStore,
  destination: Pick<Workload, 'namespace' | 'authorizationPolicies'>,
  connection: ConnectionFacts,
): { readonly policy: string; readonly reason: string } | undefined {
  const { policies, missing } = store.applicable(destination);
  const denies = policies.filter((p) => p.action === 'deny' && !p.dryRun && !isGuard(p.key));
  const unknown = missing.find((key) => !isGuard(key));
  if (unknown !== undefined) return { policy: unknown, reason: `policy ${unknown} is not known` };
  if (denies.length === 0) return undefined;
  const facts = readFacts(connection);
  if (facts === undefined) return { policy: '', reason: 'an address of the connection cannot be read' };
  const denying = denies.find((p) => policyMatches(p, facts));
  return denying && { policy: denying.key, reason: denialReason(denying.key, facts.destPort) };
}

function isGuard(key: string): boolean {
  return parseWaypointGuardName(key.slice(key.indexOf('/') + 1)) !== undefined;
}

/** Whether a policy by its key is what a PeerAuthentication becomes on the wire. */
export function isOfPeerAuthentication(key: string): boolean {
  const name = key.slice(key.indexOf('/') + 1);
  return name === STATIC_STRICT || name.startsWith(CONVERTED_PREFIX);
}

/**
 * What a PeerAuthentication becomes on the wire has Istio's names (ambient-facts C7), and what keeps a port to waypoints
 * one of Loam's; nobody wrote either: the reason leads to what was written. No AuthorizationPolicy can have these names,
 * since Kubernetes' know no underscore.
 */
function denialReason(key: string, port: number): string {
  const slash = key.indexOf('/');
  const namespace = key.slice(0, Math.max(0, slash));
  const name = key.slice(slash + 1);
  if (name === STATIC_STRICT) return `plaintext is denied by a PeerAuthentication of mode STRICT (${key})`;
  if (name.startsWith(CONVERTED_PREFIX)) {
    const object = `${namespace}/${name.slice(CONVERTED_PREFIX.length)}`;
    return `plaintext is denied by PeerAuthentication ${object} (${key})`;
  }
  const guard = parseWaypointGuardName(name);
  if (guard !== undefined)
    return `port ${port} is reached only through waypoint ${guard.waypoints.join(' or ')} (${key})`;
  return `denied by policy ${key}`;
}

/** The connection in the forms that matches compare. */
interface Facts {
  readonly identity: Identity | undefined;
  /** Without `spiffe://`, as Istio writes principals. */
  readonly principal: string | undefined;
  readonly sourceIp: readonly number[];
  readonly destIp: readonly number[];
  readonly destPort: number;
}

function readFacts(connection: ConnectionFacts): Facts | undefined {
  const { sourceIdentity: identity, destPort } = connection;
  const sourceIp = ipToBytes(canonicalIp(connection.sourceIp) ?? '');
  const destIp = ipToBytes(canonicalIp(connection.destIp) ?? '');
  if (!sourceIp || !destIp) return undefined;
  const principal = identity && principalOf(identity);
  return { identity, principal, sourceIp, destIp, destPort };
}

function policyMatches(policy: Policy, facts: Facts): boolean {
  const unseen = policy.action === 'deny';
  if (policy.unsupported !== undefined) return unseen;
  return policy.rules.some((rule) => ruleMatches(rule, facts, unseen));
}

/** @param unseen what a condition that cannot be seen counts as */
function ruleMatches(rule: Rule, facts: Facts, unseen: boolean): boolean {
  if (rule.unsupported !== undefined) return unseen;
  return rule.clauses.every((clause) => clauseMatches(clause, facts, unseen));
}

function clauseMatches(clause: Clause, facts: Facts, unseen: boolean): boolean {
  if (clause.unsupported !== undefined || clause.matches.length === 0) return unseen;
  return clause.matches.some((match) => matchMatches(match, facts, unseen));
}

/** The fields that are understood are AND-ed with the one that is not: a DENY for one port stays one for that port. */
function matchMatches(match: Match, facts: Facts, unseen: boolean): boolean {
  if ((match.unsupported !== undefined || isEmpty(match)) && !unseen) return false;
  const { identity, principal } = facts;
  const namespace = (m: TextMatch) => textMatches(m, identity?.namespace);
  const ofPrincipal = (m: TextMatch) => textMatches(m, principal);
  const account = (m: ServiceAccountMatch) =>
    identity?.namespace === m.namespace && identity.serviceAccount === m.serviceAccount;
  const from = (cidr: Cidr) => cidrContains(cidr, facts.sourceIp);
  const to = (cidr: Cidr) => cidrContains(cidr, facts.destIp);
  const port = (p: number) => p === facts.destPort;
  return (
    holds(match.namespaces, match.notNamespaces, namespace) &&
    holds(match.principals, match.notPrincipals, ofPrincipal) &&
    holds(match.serviceAccounts, match.notServiceAccounts, account) &&
    holds(match.sourceIps, match.notSourceIps, from) &&
    holds(match.destinationIps, match.notDestinationIps, to) &&
    holds(match.destinationPorts, match.notDestinationPorts, port)
  );
}

function holds<T>(wanted: readonly T[], unwanted: readonly T[], test: (value: T) => boolean): boolean {
  return (wanted.length === 0 || wanted.some(test)) && !unwanted.some(test);
}

function isEmpty(match: Match): boolean {
  const { unsupported: _, ...fields } = match;
  return Object.values(fields).every((values) => values.length === 0);
}
