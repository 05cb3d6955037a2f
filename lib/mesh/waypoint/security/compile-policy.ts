import {
  type AuthorizationCondition,
  type AuthorizationOperation,
  type AuthorizationPolicy,
  AuthorizationPolicy_Action as Action,
  type AuthorizationRule,
  type AuthorizationSource,
} from '../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import * as attributes from './attributes.ts';
import { listed, type MakeTest, type Predicate, type Reading, UnsupportedError } from './predicate.ts';

export type PolicyAction = 'allow' | 'deny' | 'audit';

/** A policy as predicates; made once for a version of the policy, and shared by all Services that list it. */
export interface CompiledPolicy {
  /** `namespace/name`. */
  readonly key: string;
  readonly action: PolicyAction;
  readonly dryRun: boolean;
  readonly matches: Predicate;
  /** Why it is not enforced as written: a DENY or AUDIT then matches everything, an ALLOW nothing. */
  readonly unsupported: string | undefined;
}

const REQUEST_HEADER = /^request\.headers\[([^[\]]+)\]$/;
const CLAIMS = /^request\.auth\.claims((?:\[[^[\]]+\])+)$/;

/**
 * Compiles a policy. It never throws: what this waypoint does not understand (an action, a key, a field that is newer
 * than it, a value) makes the policy `unsupported`, which fails closed.
 */
export function compilePolicy(policy: AuthorizationPolicy): CompiledPolicy {
  const { namespace, name, dryRun } = policy;
  const base = { key: `${namespace}/${name}`, dryRun };
  const action = actionOf(policy.action);
  try {
    if (policy.unsupported !== '') throw new UnsupportedError(policy.unsupported);
    if (action === undefined) throw new UnsupportedError(`action ${policy.action} is not known`);
    refuseUnknown(policy, 'the policy');
    const reading: Reading = action === 'allow' ? 'narrow' : 'wide';
    const rules = policy.rules.map((rule) => compileRule(rule, namespace, reading));
    return { ...base, action, matches: anyOf(rules), unsupported: undefined };
  } catch (error) {
    if (!(error instanceof UnsupportedError)) throw error;
    const closed = action ?? 'deny';
    return { ...base, action: closed, matches: () => closed !== 'allow', unsupported: error.message };
  }
}

function actionOf(action: Action): PolicyAction | undefined {
  switch (action) {
    case Action.ALLOW:
      return 'allow';
    case Action.DENY:
      return 'deny';
    case Action.AUDIT:
      return 'audit';
    default:
      return undefined;
  }
}

/** `from`, `to` and `when` are AND-ed; the entries of `from` and of `to` are OR-ed, those of `when` AND-ed. */
function compileRule(rule: AuthorizationRule, home: string, reading: Reading): Predicate {
  refuseUnknown(rule, 'a rule');
  const tests: Predicate[] = [];
  if (rule.from.length > 0)
    tests.push(anyOf(rule.from.map((source) => compileSource(source, home, reading))));
  if (rule.to.length > 0) tests.push(anyOf(rule.to.map((operation) => compileOperation(operation, reading))));
  for (const condition of rule.when) tests.push(compileCondition(condition, home, reading));
  return allOf(tests);
}

function compileSource(source: AuthorizationSource, home: string, reading: Reading): Predicate {
  refuseUnknown(source, 'a source');
  const s = source;
  return someTests('source', [
    ...listed(s.principals, s.notPrincipals, reading, attributes.principals),
    ...listed(s.requestPrincipals, s.notRequestPrincipals, reading, attributes.requestPrincipals),
    ...listed(s.namespaces, s.notNamespaces, reading, attributes.namespaces),
    ...listed(s.serviceAccounts, s.notServiceAccounts, reading, attributes.serviceAccounts(home)),
    ...listed(s.ipBlocks, s.notIpBlocks, reading, attributes.sourceIp),
    ...listed(s.remoteIpBlocks, s.notRemoteIpBlocks, reading, attributes.remoteIp),
  ]);
}

function compileOperation(operation: AuthorizationOperation, reading: Reading): Predicate {
  refuseUnknown(operation, 'an operation');
  const o = operation;
  return someTests('operation', [
    ...listed(o.ports, o.notPorts, reading, attributes.ports),
    ...listed(o.methods, o.notMethods, reading, attributes.methods),
    ...listed(o.hosts, o.notHosts, reading, attributes.hosts),
    ...listed(o.paths, o.notPaths, reading, attributes.paths),
  ]);
}

function compileCondition(condition: AuthorizationCondition, home: string, reading: Reading): Predicate {
  refuseUnknown(condition, 'a condition');
  const { key, values, notValues } = condition;
  const make = attributeOf(key, home);
  if (make === undefined)
    throw new UnsupportedError(`the condition key ${JSON.stringify(key)} is not supported`);
  return someTests(`condition ${key}`, listed(values, notValues, reading, make));
}

/** The attribute of a `when` key; undefined for one that a waypoint does not know (`experimental.*` above all). */
function attributeOf(key: string, home: string): MakeTest | undefined {
  switch (key) {
    case 'source.ip':
      return attributes.sourceIp;
    case 'remote.ip':
      return attributes.remoteIp;
    case 'source.namespace':
      return attributes.namespaces;
    case 'source.principal':
      return attributes.principals;
    case 'source.serviceAccount':
      return attributes.serviceAccounts(home);
    case 'destination.ip':
      return attributes.destinationIp;
    case 'destination.port':
      return attributes.ports;
    case 'connection.sni':
      return attributes.serverName;
    case 'request.auth.principal':
      return attributes.requestPrincipals;
    case 'request.auth.audiences':
      return attributes.audiences;
    case 'request.auth.presenter':
      return attributes.presenter;
    default: {
      const [, header] = REQUEST_HEADER.exec(key) ?? [];
      if (header !== undefined) return attributes.header(header);
      const [, claims] = CLAIMS.exec(key) ?? [];
      return claims === undefined ? undefined : attributes.claim(claims.slice(1, -1).split(']['));
    }
  }
}

/** Whether an entry that asks nothing means everything or nothing must not be guessed; the controller refuses it. */
function someTests(what: string, tests: readonly Predicate[]): Predicate {
  if (tests.length === 0) throw new UnsupportedError(`a ${what} has no values`);
  return allOf(tests);
}

function allOf(tests: readonly Predicate[]): Predicate {
  const [only] = tests;
  if (only !== undefined && tests.length === 1) return only;
  return (subject) => tests.every((test) => test(subject));
}

function anyOf(tests: readonly Predicate[]): Predicate {
  const [only] = tests;
  if (only !== undefined && tests.length === 1) return only;
  return (subject) => tests.some((test) => test(subject));
}

/** A field of a newer controller may narrow what is written here: it cannot be passed over. */
function refuseUnknown(
  message: { readonly $unknown?: readonly { readonly no: number }[] | undefined },
  what: string,
): void {
  const [field] = message.$unknown ?? [];
  if (field !== undefined)
    throw new UnsupportedError(`${what} has field ${field.no}, which is not known here`);
}
