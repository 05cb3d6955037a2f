import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  type Clause,
  ClauseSchema,
  type Match,
  MatchSchema,
  type Rule,
  RuleSchema,
  type StringMatchSchema,
} from '../../proto/gen/istio/security/authorization_pb.js';
import type { PolicyCondition, PolicyOperation, PolicyRule, PolicySource } from '../model/objects.ts';
import { blockOf } from './addresses.ts';
import { isL7Key } from './condition-keys.ts';

export type PolicyAction = 'ALLOW' | 'DENY';

/**
 * What one alternative comes down to at L4: a match; `any` (matches everything); `none` (matches nothing).
 * The last two arise from L7 attributes, which L4 cannot see: an ALLOW must then not match, a DENY must (DESIGN §6).
 * No empty Match ever leaves the compiler: Istio's ztunnel skips one as if it were not there.
 */
type Alternative =
  { readonly kind: 'match'; readonly match: Match } | { readonly kind: 'any' } | { readonly kind: 'none' };

/** A rule compiled, with the L7 fields that changed its meaning. */
export interface CompiledRule {
  /** Absent when the rule can never match. */
  readonly rule?: Rule;
  /** For example `to[0].operation.methods`. */
  readonly l7Fields: readonly string[];
}

type MatchInit = MessageInitShape<typeof MatchSchema>;
type StringMatchInit = MessageInitShape<typeof StringMatchSchema>;

const L7_SOURCE = [
  'requestPrincipals',
  'notRequestPrincipals',
  'remoteIpBlocks',
  'notRemoteIpBlocks',
] as const;
const L7_OPERATION = ['hosts', 'notHosts', 'methods', 'notMethods', 'paths', 'notPaths'] as const;

/** Compiles one rule: `from` and `to` and `when` are AND-ed, the entries of `from` and of `to` are OR-ed. */
export function compileRule(rule: PolicyRule, action: PolicyAction, namespace: string): CompiledRule {
  const l7Fields: string[] = [];
  const note = (field: string): void => void l7Fields.push(field);
  const groups: Alternative[][] = [];
  if (rule.from !== undefined) {
    groups.push(
      rule.from.map(({ source }, i) =>
        compileSource(source, action, namespace, (f) => note(`from[${i}].source.${f}`)),
      ),
    );
  }
  if (rule.to !== undefined) {
    groups.push(
      rule.to.map(({ operation }, i) =>
        compileOperation(operation, action, (f) => note(`to[${i}].operation.${f}`)),
      ),
    );
  }
  for (const [i, condition] of (rule.when ?? []).entries()) {
    groups.push([
      compileCondition(condition, action, namespace, () => note(`when[${i}].key ${condition.key}`)),
    ]);
  }
  const clauses: Clause[] = [];
  for (const group of groups) {
    if (group.some(({ kind }) => kind === 'any')) continue;
    const matches = group.flatMap((alternative) => (alternative.kind === 'match' ? [alternative.match] : []));
    if (matches.length === 0) return { l7Fields };
    clauses.push(create(ClauseSchema, { matches }));
  }
  return { rule: create(RuleSchema, { clauses }), l7Fields };
}

function alternative(init: MatchInit, sawL7: boolean, action: PolicyAction): Alternative {
  if (sawL7 && action === 'ALLOW') return { kind: 'none' };
  if (Object.keys(init).length === 0) return sawL7 ? { kind: 'any' } : { kind: 'none' };
  return { kind: 'match', match: create(MatchSchema, init) };
}

function compileSource(
  source: PolicySource,
  action: PolicyAction,
  namespace: string,
  note: (field: string) => void,
): Alternative {
  const l7 = L7_SOURCE.filter((field) => source[field] !== undefined);
  l7.forEach(note);
  const init: MatchInit = {
    ...when(source.principals, (v) => ({ principals: v.map(stringMatch) })),
    ...when(source.notPrincipals, (v) => ({ notPrincipals: v.map(stringMatch) })),
    ...when(source.namespaces, (v) => ({ namespaces: v.map(stringMatch) })),
    ...when(source.notNamespaces, (v) => ({ notNamespaces: v.map(stringMatch) })),
    ...when(source.serviceAccounts, (v) => ({ serviceAccounts: v.map((a) => accountMatch(a, namespace)) })),
    ...when(source.notServiceAccounts, (v) => ({
      notServiceAccounts: v.map((a) => accountMatch(a, namespace)),
    })),
    ...when(source.ipBlocks, (v) => ({ sourceIps: v.map(blockOf) })),
    ...when(source.notIpBlocks, (v) => ({ notSourceIps: v.map(blockOf) })),
  };
  return alternative(init, l7.length > 0, action);
}

function compileOperation(
  operation: PolicyOperation,
  action: PolicyAction,
  note: (field: string) => void,
): Alternative {
  const l7 = L7_OPERATION.filter((field) => operation[field] !== undefined);
  l7.forEach(note);
  const init: MatchInit = {
    ...when(operation.ports, (v) => ({ destinationPorts: v.map(Number) })),
    ...when(operation.notPorts, (v) => ({ notDestinationPorts: v.map(Number) })),
  };
  return alternative(init, l7.length > 0, action);
}

function compileCondition(
  condition: PolicyCondition,
  action: PolicyAction,
  namespace: string,
  note: () => void,
): Alternative {
  if (isL7Key(condition.key)) {
    note();
    return alternative({}, true, action);
  }
  const { values, notValues } = condition;
  const strings = (
    positive: 'principals' | 'namespaces',
    negative: 'notPrincipals' | 'notNamespaces',
  ): MatchInit => ({
    ...when(values, (v) => ({ [positive]: v.map(stringMatch) })),
    ...when(notValues, (v) => ({ [negative]: v.map(stringMatch) })),
  });
  switch (condition.key) {
    case 'source.principal':
      return alternative(strings('principals', 'notPrincipals'), false, action);
    case 'source.namespace':
      return alternative(strings('namespaces', 'notNamespaces'), false, action);
    case 'source.serviceAccount':
      return compileSource(
        {
          ...when(values, (serviceAccounts) => ({ serviceAccounts })),
          ...when(notValues, (notServiceAccounts) => ({ notServiceAccounts })),
        },
        action,
        namespace,
        note,
      );
    case 'source.ip':
      return alternative(
        {
          ...when(values, (v) => ({ sourceIps: v.map(blockOf) })),
          ...when(notValues, (v) => ({ notSourceIps: v.map(blockOf) })),
        },
        false,
        action,
      );
    case 'destination.ip':
      return alternative(
        {
          ...when(values, (v) => ({ destinationIps: v.map(blockOf) })),
          ...when(notValues, (v) => ({ notDestinationIps: v.map(blockOf) })),
        },
        false,
        action,
      );
    case 'destination.port':
      return compileOperation(
        { ...when(values, (ports) => ({ ports })), ...when(notValues, (notPorts) => ({ notPorts })) },
        action,
        note,
      );
    default:
      // Validation lets no other key pass; one that did is treated like an attribute that cannot be seen.
      note();
      return alternative({}, true, action);
  }
}

function when<T, R extends object>(values: T | undefined, make: (values: T) => R): R | Record<string, never> {
  return values === undefined ? {} : make(values);
}

/** Istio's value grammar: `*`, `prefix*`, `*suffix`, or exact. */
export function stringMatch(value: string): StringMatchInit {
  if (value === '*') return { matchType: { case: 'presence', value: {} } };
  if (value.startsWith('*')) return { matchType: { case: 'suffix', value: value.slice(1) } };
  if (value.endsWith('*')) return { matchType: { case: 'prefix', value: value.slice(0, -1) } };
  return { matchType: { case: 'exact', value } };
}

/** `account` of the policy's own namespace, or `namespace/account`. */
export function accountMatch(
  value: string,
  namespace: string,
): { namespace: string; serviceAccount: string } {
  const slash = value.indexOf('/');
  return slash < 0
    ? { namespace, serviceAccount: value }
    : { namespace: value.slice(0, slash), serviceAccount: value.slice(slash + 1) };
}
