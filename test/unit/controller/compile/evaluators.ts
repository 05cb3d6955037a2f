import { isIPv4 } from 'node:net';
import {
  Action,
  type Authorization,
  type Match,
  type StringMatch,
} from '../../../../proto/gen/istio/security/authorization_pb.js';
import type { AuthorizationPolicy, PolicyRule } from '../../../../controller/model/objects.ts';

/** A connection as a policy sees it. */
export interface Connection {
  readonly source?: { readonly namespace: string; readonly account: string };
  readonly sourceIp: string;
  readonly destIp: string;
  readonly port: number;
}

const TRUST_DOMAIN = 'cluster.local';

function principalOf({ source }: Connection): string | undefined {
  return source === undefined ? undefined : `${TRUST_DOMAIN}/ns/${source.namespace}/sa/${source.account}`;
}

function bitsOf(ip: string): bigint {
  return ip.split('.').reduce((sum, part) => sum * 256n + BigInt(part), 0n);
}

function inBlock(ip: string, block: string): boolean {
  const [address = '', length = '32'] = block.split('/');
  if (!isIPv4(address)) return false;
  const shift = 32n - BigInt(length);
  return bitsOf(ip) >> shift === bitsOf(address) >> shift;
}

/** Istio's documented semantics of the source, read off the manifest directly: the reference. */
export function sourceMatches(policy: AuthorizationPolicy, c: Connection): boolean {
  return (policy.spec?.rules ?? []).some((rule) =>
    ruleMatches(rule, c, policy.metadata.namespace ?? 'default'),
  );
}

function glob(pattern: string, value: string | undefined): boolean {
  if (value === undefined) return false;
  if (pattern === '*') return value !== '';
  if (pattern.startsWith('*')) return value.endsWith(pattern.slice(1));
  if (pattern.endsWith('*')) return value.startsWith(pattern.slice(0, -1));
  return value === pattern;
}

/** A positive list matches when one value does, a negative one when none does; an absent one always matches. */
function listed(
  values: readonly string[] | undefined,
  not: readonly string[] | undefined,
  test: (value: string) => boolean,
): boolean {
  return (values === undefined || values.some(test)) && !(not ?? []).some(test);
}

function ruleMatches(rule: PolicyRule, c: Connection, home: string): boolean {
  const account = (value: string): boolean => {
    const full = value.includes('/') ? value : `${home}/${value}`;
    return c.source !== undefined && full === `${c.source.namespace}/${c.source.account}`;
  };
  const from = (rule.from ?? []).some(
    ({ source: s }) =>
      listed(s.principals, s.notPrincipals, (v) => glob(v, principalOf(c))) &&
      listed(s.namespaces, s.notNamespaces, (v) => glob(v, c.source?.namespace)) &&
      listed(s.serviceAccounts, s.notServiceAccounts, account) &&
      listed(s.ipBlocks, s.notIpBlocks, (v) => inBlock(c.sourceIp, v)),
  );
  const to = (rule.to ?? []).some(({ operation: o }) =>
    listed(o.ports, o.notPorts, (v) => Number(v) === c.port),
  );
  const when = (rule.when ?? []).every(({ key, values, notValues }) => {
    const tests: Record<string, (value: string) => boolean> = {
      'source.principal': (v) => glob(v, principalOf(c)),
      'source.namespace': (v) => glob(v, c.source?.namespace),
      'source.serviceAccount': account,
      'source.ip': (v) => inBlock(c.sourceIp, v),
      'destination.ip': (v) => inBlock(c.destIp, v),
      'destination.port': (v) => Number(v) === c.port,
    };
    const test = tests[key];
    if (test === undefined) throw new Error(`no such key: ${key}`);
    return listed(values, notValues, test);
  });
  return (rule.from === undefined || from) && (rule.to === undefined || to) && when;
}

/** A ztunnel's semantics of the compiled policy (ambient-facts C7), with the trap that an empty Match is skipped. */
export function compiledMatches(policy: Authorization, c: Connection): boolean {
  return policy.rules.some(({ clauses }) =>
    clauses.every(({ matches }) => {
      const real = matches.filter((match) => !isEmptyMatch(match));
      if (real.length !== matches.length) throw new Error('the compiler let an empty Match out');
      return real.length === 0 || real.some((match) => matchMatches(match, c));
    }),
  );
}

export function isEmptyMatch(match: Match): boolean {
  return Object.entries(match).every(
    ([key, value]) => key === '$typeName' || (Array.isArray(value) && value.length === 0),
  );
}

function wireString({ matchType }: StringMatch, value: string | undefined): boolean {
  if (value === undefined) return false;
  switch (matchType.case) {
    case 'exact':
      return value === matchType.value;
    case 'prefix':
      return value.startsWith(matchType.value);
    case 'suffix':
      return value.endsWith(matchType.value);
    case 'presence':
      return value !== '';
    case undefined:
      return false;
  }
}

function wireBlock({ address, length }: { address: Uint8Array; length: number }, ip: string): boolean {
  return inBlock(ip, `${[...address].join('.')}/${length}`);
}

function both<T>(values: readonly T[], not: readonly T[], test: (value: T) => boolean): boolean {
  return (values.length === 0 || values.some(test)) && !not.some(test);
}

function matchMatches(m: Match, c: Connection): boolean {
  const principal = principalOf(c);
  return (
    both(m.namespaces, m.notNamespaces, (v) => wireString(v, c.source?.namespace)) &&
    both(m.principals, m.notPrincipals, (v) => wireString(v, principal)) &&
    both(m.sourceIps, m.notSourceIps, (v) => wireBlock(v, c.sourceIp)) &&
    both(m.destinationIps, m.notDestinationIps, (v) => wireBlock(v, c.destIp)) &&
    both(m.destinationPorts, m.notDestinationPorts, (v) => v === c.port) &&
    both(
      m.serviceAccounts,
      m.notServiceAccounts,
      (v) =>
        c.source !== undefined && v.namespace === c.source.namespace && v.serviceAccount === c.source.account,
    )
  );
}

/** What a node does with the policies of a workload (ambient-facts C7). */
export function admits(policies: readonly Authorization[], c: Connection): boolean {
  const of = (action: Action): Authorization[] => policies.filter((policy) => policy.action === action);
  if (of(Action.DENY).some((policy) => compiledMatches(policy, c))) return false;
  const allows = of(Action.ALLOW);
  return allows.length === 0 || allows.some((policy) => compiledMatches(policy, c));
}
