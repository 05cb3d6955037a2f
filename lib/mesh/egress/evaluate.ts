import type { Identity } from '../../spiffe.ts';
import { cidrContains } from '../state/ip.ts';
import { principalOf, textMatches } from '../state/text-match.ts';
import type { EgressStore } from './egress-store.ts';
import type { Block, EgressPolicy, EgressRule } from './model.ts';

/** What a pod dials, as rules compare it. */
export interface EgressFacts {
  /** Bytes of the address as the application dialled it (ipToBytes). */
  readonly ip: readonly number[];
  readonly port: number;
  /** Keys of the Services that are dialled: the one with that virtual address, or headless ones with that pod and port. */
  readonly services: readonly string[];
  /** Of the Service that is dialled, else of the workload; undefined outside the mesh. */
  readonly namespace: string | undefined;
  /** Of the pod where the connection ends; undefined where the source does not know it: behind a waypoint, outside the mesh. */
  readonly identity: Identity | undefined;
  /** Whether the mesh knows what is dialled. */
  readonly known: boolean;
  /** What is dialled, for reasons: `service shop/payments port 80`. */
  readonly text: string;
}

export type EgressVerdict =
  | {
      readonly verdict: 'allow';
      /** The policy that allowed it; none where no policy selects the pod. */
      readonly policy?: string;
    }
  | {
      readonly verdict: 'deny';
      readonly why: 'policy' | 'registry-only' | 'not-told';
      /** Names of all policies that select the pod and do not allow it, joined by a comma and a space. */
      readonly policy?: string;
      readonly reason: string;
    }
  /** The controller has not told all that counts for the pod. */
  | { readonly verdict: 'wait' };

/**
 * Whether a pod may make a connection (docs/egress-policy.md). No policy selects it: all that the mesh knows, and the
 * rest where the mesh's setting says so. With policies: what any of them allows, and nothing else. An address that a policy
 * allows as an address is reached whether or not the mesh knows it. What is not known yet denies.
 *
 * @param uid of the calling pod's workload
 * @param mayWait while the caller may still wait for what is missing; false turns 'wait' into 'deny'
 */
export function evaluateEgress(
  store: EgressStore,
  uid: string,
  facts: EgressFacts,
  mayWait: boolean,
): EgressVerdict {
  const applicable = store.applicable(uid);
  if (applicable === undefined)
    return mayWait ? { verdict: 'wait' } : notTold('what the pod may call is not known');
  const { workload, policies, missing } = applicable;
  if (workload.unsupported !== undefined) return notTold(workload.unsupported);
  const open = workload.unknownDestinations === 'allow';
  if (workload.policies.length === 0) return facts.known || open ? { verdict: 'allow' } : unknown(facts);

  let refused = false;
  for (const policy of policies) {
    const rule = allowingRule(policy, facts);
    if (rule === undefined) continue;
    if (facts.known || open || inBlocks(rule.blocks, facts.ip))
      return { verdict: 'allow', policy: policy.key };
    refused = true;
  }
  if (missing.length > 0 && mayWait) return { verdict: 'wait' };
  if (refused) return unknown(facts);
  const [first] = missing;
  return {
    verdict: 'deny',
    why: 'policy',
    policy: workload.policies.join(', '),
    reason:
      first === undefined
        ? `no rule allows ${facts.text}`
        : `no rule allows ${facts.text}, and policy ${first} is not known`,
  };
}

function notTold(reason: string): EgressVerdict {
  return { verdict: 'deny', why: 'not-told', reason };
}

function unknown(facts: EgressFacts): EgressVerdict {
  const reason = `the mesh does not know ${facts.text}, and unknown destinations are refused`;
  return { verdict: 'deny', why: 'registry-only', reason };
}

/** Of the rules that allow it one with blocks, if there is one: it also stands for what the mesh does not know. */
function allowingRule(policy: EgressPolicy, facts: EgressFacts): EgressRule | undefined {
  if (policy.unsupported !== undefined) return undefined;
  const allowing = policy.rules.filter((rule) => ruleAllows(rule, facts));
  return allowing.find((rule) => inBlocks(rule.blocks, facts.ip)) ?? allowing[0];
}

function ruleAllows(rule: EgressRule, facts: EgressFacts): boolean {
  const { ports } = rule;
  if (rule.unsupported !== undefined) return false;
  if (ports.length > 0 && !ports.some(({ first, last }) => facts.port >= first && facts.port <= last))
    return false;
  return namesNone(rule) || names(rule, facts);
}

function namesNone(rule: EgressRule): boolean {
  const { services, serviceAccounts, principals, namespaces, blocks } = rule;
  return [services, serviceAccounts, principals, namespaces, blocks].every((list) => list.length === 0);
}

function names(rule: EgressRule, facts: EgressFacts): boolean {
  const { identity, namespace } = facts;
  return (
    rule.services.some((key) => facts.services.includes(key)) ||
    (namespace !== undefined && rule.namespaces.includes(namespace)) ||
    (identity !== undefined &&
      (rule.serviceAccounts.some(
        (each) => each.namespace === identity.namespace && each.serviceAccount === identity.serviceAccount,
      ) ||
        rule.principals.some((match) => textMatches(match, principalOf(identity))))) ||
    inBlocks(rule.blocks, facts.ip)
  );
}

function inBlocks(blocks: readonly Block[], ip: readonly number[]): boolean {
  return blocks.some(
    ({ cidr, except }) => cidrContains(cidr, ip) && !except.some((part) => cidrContains(part, ip)),
  );
}
