import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  type CidrSchema,
  type Policy,
  PolicySchema,
  type PrincipalSchema,
  type RuleSchema,
} from '../../../proto/gen/loam/egress/v1/egress_pb.js';
import { hasSelector } from '../../model/labels.ts';
import { type EgressPolicy, namespaceOf } from '../../model/objects.ts';
import type { EgressRuleSpec } from '../../model/egress-policy.ts';
import { blockOf } from '../addresses.ts';
import type { Attachment } from '../authorization.ts';
import { accountMatch, stringMatch } from '../policy-rules.ts';
import { hostnameOf, serviceKey } from '../services.ts';

/** Which pods a policy selects: as an AuthorizationPolicy does, but always by pods and never by targets. */
export function egressAttachment(policy: EgressPolicy, rootNamespace: string): Attachment {
  const namespace = namespaceOf(policy);
  const { selector } = policy.spec;
  return {
    by: 'labels',
    // No label at all is had by every pod.
    labels: hasSelector(selector) ? selector.matchLabels : {},
    namespace: namespace === rootNamespace ? undefined : namespace,
  };
}

/** Compiles one policy. Pure; the object has passed validation. */
export function compileEgressPolicy(policy: EgressPolicy): Policy {
  const namespace = namespaceOf(policy);
  return create(PolicySchema, {
    namespace,
    name: policy.metadata.name,
    rules: (policy.spec.allow ?? []).map((rule) => compileRule(rule, namespace)),
  });
}

function compileRule(rule: EgressRuleSpec, own: string): MessageInitShape<typeof RuleSchema> {
  const {
    services = [],
    serviceAccounts = [],
    principals = [],
    namespaces = [],
    cidrs = [],
    ports = [],
  } = rule;
  return {
    services: services.map(({ name, namespace = own }) => ({
      key: serviceKey({ namespace, hostname: hostnameOf(namespace, name) }),
    })),
    serviceAccounts: serviceAccounts.map((text) => {
      const { namespace, serviceAccount } = accountMatch(text, own);
      return { namespace, name: serviceAccount };
    }),
    principals: principals.map(principalMatch),
    namespaces: [...namespaces],
    blocks: cidrs.map(({ cidr, except = [] }) => ({ cidr: block(cidr), except: except.map(block) })),
    ports: ports.map(({ port, endPort = port }) => ({ first: port, last: endPort })),
  };
}

function block(text: string): MessageInitShape<typeof CidrSchema> {
  return blockOf(text);
}

function principalMatch(text: string): MessageInitShape<typeof PrincipalSchema> {
  const { matchType } = stringMatch(text);
  if (matchType?.case === undefined || matchType.case === 'presence')
    return { match: { case: 'any', value: true } };
  return { match: { case: matchType.case, value: matchType.value } };
}

/** Says what a policy allows, for its status. */
export function describeRules({ rules }: Policy): string {
  if (rules.length === 0) return 'allows nothing: every call of what it selects is refused';
  return `allows by ${rules.length} ${rules.length === 1 ? 'rule' : 'rules'}`;
}
