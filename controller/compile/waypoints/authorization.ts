import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  AuthorizationPolicy_Action as Action,
  AuthorizationPolicySchema,
  type AuthorizationRuleSchema,
} from '../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { type AuthorizationPolicy, namespaceOf, type PolicyRule, type Service } from '../../model/objects.ts';
import { isDryRun } from '../authorization.ts';
import type { Outcomes } from '../outcomes.ts';
import { enforced, notEnforced } from '../policy-conditions.ts';
import { encodeResource, type PolicyPart, resourceLabel } from './part.ts';
import { attach } from './targets.ts';
import { keyOf, type Waypoint, type World } from './world.ts';

const ACTIONS = { ALLOW: Action.ALLOW, DENY: Action.DENY, AUDIT: Action.AUDIT } as const;
const DOES = { ALLOW: 'allows', DENY: 'denies', AUDIT: 'records' } as const;

/** The AuthorizationPolicies that this waypoint enforces: those whose targetRefs lead to it. */
export function compileAuthorizations(
  world: World,
  waypoint: Waypoint,
  served: readonly Service[],
  outcomes: Outcomes,
): PolicyPart {
  const attached = attach(world.objects.policies, waypoint, served, world);
  const resources = new Map<string, Uint8Array>();
  for (const policy of attached.policies) {
    const name = `authorization/${keyOf(policy)}`;
    const value = compilePolicy(policy);
    resources.set(name, encodeResource({ case: 'authorization', value }));
    const message = `waypoint ${waypoint.key} ${describe(policy)}`;
    outcomes.add(policy, {
      message,
      conditions: [isDryRun(policy) ? notEnforced('DryRun', message) : enforced(message)],
      compiledTo: [resourceLabel(waypoint.key, name)],
    });
  }
  return { resources, forService: attached.forService };
}

function compilePolicy(policy: AuthorizationPolicy) {
  const spec = policy.spec ?? {};
  const namespace = namespaceOf(policy);
  return create(AuthorizationPolicySchema, {
    namespace,
    name: policy.metadata.name,
    action: ACTIONS[spec.action ?? 'ALLOW'],
    dryRun: isDryRun(policy),
    rules: (spec.rules ?? []).map((rule) => compileRule(rule, namespace)),
  });
}

function compileRule(rule: PolicyRule, home: string): MessageInitShape<typeof AuthorizationRuleSchema> {
  const full = (accounts: readonly string[] = []): string[] =>
    accounts.map((account) => (account.includes('/') ? account : `${home}/${account}`));
  return {
    from: (rule.from ?? []).map(({ source }) => ({
      ...copied(source),
      serviceAccounts: full(source.serviceAccounts),
      notServiceAccounts: full(source.notServiceAccounts),
    })),
    to: (rule.to ?? []).map(({ operation }) => copied(operation)),
    when: (rule.when ?? []).map(({ key, values = [], notValues = [] }) => ({
      key,
      values: [...values],
      notValues: [...notValues],
    })),
  };
}

/** Fields of a source or an operation, whose names and values are the manifest's. */
function copied(lists: object): Record<string, string[]> {
  return Object.fromEntries(
    Object.entries(lists as Record<string, readonly string[]>).map(([field, values]) => [field, [...values]]),
  );
}

function describe(policy: AuthorizationPolicy): string {
  const { action = 'ALLOW', rules = [] } = policy.spec ?? {};
  const what =
    rules.length > 0
      ? `${DOES[action]} by ${rules.length} ${rules.length === 1 ? 'rule' : 'rules'}`
      : action === 'ALLOW'
        ? 'allows nothing by it: every request that no other policy allows is denied'
        : `${DOES[action]} nothing by it`;
  return isDryRun(policy) ? `${what}; dry run: logged only` : what;
}
