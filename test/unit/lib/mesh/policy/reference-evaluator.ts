import type { Cidr } from '../../../../../lib/mesh/state/ip.ts';
import type { Clause, Match, Policy, Rule, TextMatch } from '../../../../../lib/mesh/state/model.ts';

/**
 * The meaning of policies said a second time, in three-valued logic: what cannot be seen is `unknown`, and only at the
 * very end an unknown DENY denies and an unknown ALLOW does not allow. Slow and plain on purpose.
 */
export type Truth = 'yes' | 'no' | 'unknown';

export interface Seen {
  /** `trust domain/ns/namespace/sa/account`; empty for none. */
  readonly principal: string;
  readonly sourceIp: string;
  readonly destIp: string;
  readonly destPort: number;
}

function all(values: readonly Truth[]): Truth {
  if (values.includes('no')) return 'no';
  return values.includes('unknown') ? 'unknown' : 'yes';
}
function any(values: readonly Truth[]): Truth {
  if (values.includes('yes')) return 'yes';
  return values.includes('unknown') ? 'unknown' : 'no';
}
function not(value: Truth): Truth {
  return value === 'unknown' ? value : value === 'yes' ? 'no' : 'yes';
}
function truth(value: boolean): Truth {
  return value ? 'yes' : 'no';
}

function text(match: TextMatch, value: string): Truth {
  if (value === '') return 'no';
  const escaped = match.how === 'presence' ? '' : match.text.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&');
  const patterns = { exact: `^${escaped}$`, prefix: `^${escaped}`, suffix: `${escaped}$`, presence: '.' };
  return truth(new RegExp(patterns[match.how]).test(value));
}

function inRange(range: Cidr, ip: string): Truth {
  const number = (bytes: readonly number[]) => bytes.reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);
  const shift = BigInt(32 - range.length);
  return truth(
    range.bytes.length === 4 && number(range.bytes) >> shift === number(ip.split('.').map(Number)) >> shift,
  );
}

function field<T>(wanted: readonly T[], unwanted: readonly T[], test: (value: T) => Truth): Truth[] {
  const positive = wanted.length === 0 ? [] : [any(wanted.map(test))];
  return [...positive, not(any(unwanted.map(test)))];
}

function match(m: Match, seen: Seen): Truth {
  const [, , namespace = '', , account = ''] = seen.principal.split('/');
  const nothing = Object.entries(m).every(
    ([key, value]) => key === 'unsupported' || (value as unknown[]).length === 0,
  );
  return all([
    nothing || m.unsupported !== undefined ? 'unknown' : 'yes',
    ...field(m.namespaces, m.notNamespaces, (t) => text(t, namespace)),
    ...field(m.principals, m.notPrincipals, (t) => text(t, seen.principal)),
    ...field(m.sourceIps, m.notSourceIps, (r) => inRange(r, seen.sourceIp)),
    ...field(m.destinationIps, m.notDestinationIps, (r) => inRange(r, seen.destIp)),
    ...field(m.destinationPorts, m.notDestinationPorts, (p) => truth(p === seen.destPort)),
    ...field(m.serviceAccounts, m.notServiceAccounts, (s) =>
      truth(seen.principal !== '' && `${s.namespace}/${s.serviceAccount}` === `${namespace}/${account}`),
    ),
  ]);
}

function clause(c: Clause, seen: Seen): Truth {
  if (c.unsupported !== undefined || c.matches.length === 0) return 'unknown';
  return any(c.matches.map((m) => match(m, seen)));
}

function rule(r: Rule, seen: Seen): Truth {
  return r.unsupported !== undefined ? 'unknown' : all(r.clauses.map((c) => clause(c, seen)));
}

export function policyTruth(p: Policy, seen: Seen): Truth {
  return p.unsupported !== undefined ? 'unknown' : any(p.rules.map((r) => rule(r, seen)));
}

/** The answer for a set of policies that all apply and are all known. */
export function expectedVerdict(policies: readonly Policy[], seen: Seen): 'allow' | 'deny' {
  const enforced = policies.filter((p) => !p.dryRun);
  if (enforced.some((p) => p.action === 'deny' && policyTruth(p, seen) !== 'no')) return 'deny';
  const allows = enforced.filter((p) => p.action === 'allow');
  return allows.length === 0 || allows.some((p) => policyTruth(p, seen) === 'yes') ? 'allow' : 'deny';
}
