import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { parseSpiffeUri, type Identity } from '../../../../../lib/spiffe.ts';
import {
  denialOfClient,
  evaluate,
  type ConnectionFacts,
  type Verdict,
} from '../../../../../lib/mesh/policy/evaluate.ts';
import { cidrFromBytes } from '../../../../../lib/mesh/state/ip.ts';
import type { Match, Policy } from '../../../../../lib/mesh/state/model.ts';
import { PolicyStore } from '../../../../../lib/mesh/state/policy-store.ts';
import { policy } from '../state/mesh.ts';
import { policies, seen } from './arbitraries.ts';
import { expectedVerdict, policyTruth } from './reference-evaluator.ts';

const WEB: Identity = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'web' };
const CONNECTION: ConnectionFacts = {
  sourceIdentity: WEB,
  sourceIp: '10.0.0.1',
  destIp: '10.0.0.2',
  destPort: 80,
};
const TARGET = { namespace: 'shop', authorizationPolicies: [] };
const NONE: Match = {
  namespaces: [],
  notNamespaces: [],
  principals: [],
  notPrincipals: [],
  sourceIps: [],
  notSourceIps: [],
  destinationIps: [],
  notDestinationIps: [],
  destinationPorts: [],
  notDestinationPorts: [],
  serviceAccounts: [],
  notServiceAccounts: [],
};

function rules(...matches: Partial<Match>[]) {
  return [{ clauses: matches.map((m) => ({ matches: [{ ...NONE, ...m }] })) }];
}
function judge(all: Policy[], connection: Partial<ConnectionFacts> = {}): Verdict {
  const store = new PolicyStore();
  store.apply({ upserts: all, removed: [] });
  return evaluate(store, TARGET, { ...CONNECTION, ...connection });
}
/** Whether a match holds, seen through an ALLOW policy. */
function holds(match: Partial<Match>, connection: Partial<ConnectionFacts> = {}): boolean {
  return judge([policy('shop/p', { rules: rules(match) })], connection).verdict === 'allow';
}
const PLAINTEXT = { sourceIdentity: undefined };

describe('policy', () => {
  it('decides as the reference does, whatever the policies', () => {
    fc.assert(
      fc.property(policies, seen, (all, facts) => {
        const sourceIdentity =
          facts.principal === '' ? undefined : parseSpiffeUri(`spiffe://${facts.principal}`);
        const found = judge(all, { ...facts, sourceIdentity });
        assert.equal(found.verdict, expectedVerdict(all, facts));
        assert.deepEqual(
          found.applied,
          all.filter((p) => !p.dryRun).map((p) => p.key),
        );
        for (const trial of found.dryRun) {
          const tried = all.find((p) => p.key === trial.policy);
          assert.ok(tried?.dryRun);
          const truth = policyTruth(tried, facts);
          assert.equal(trial.matched, truth === 'yes' || (truth === 'unknown' && tried.action === 'deny'));
        }
        const named = 'policy' in found ? (found.policy ?? '').split(', ') : [];
        const deciders = all.filter((p) => named.includes(p.key));
        const allows = all.filter((p) => p.action === 'allow' && !p.dryRun);
        if (found.verdict === 'deny' && deciders[0]?.action === 'allow') assert.deepEqual(deciders, allows);
        else assert.ok(deciders.length <= 1 && deciders.every((p) => p.action === found.verdict));
        assert.equal(deciders.length > 0, found.verdict === 'deny' || allows.length > 0);
      }),
      { numRuns: 2000 },
    );
  });

  it('never lets in more by marking a part as unsupported', () => {
    const mark = <T extends object>(part: T): T => ({ ...part, unsupported: 'x' });
    fc.assert(
      fc.property(policies, seen, fc.nat(), (all, facts, n) => {
        const sourceIdentity =
          facts.principal === '' ? undefined : parseSpiffeUri(`spiffe://${facts.principal}`);
        const part = n % 4;
        const hidden = all.map((p) => {
          if (part === 0) return mark(p);
          const inRule = p.rules.map((r) =>
            part === 1
              ? mark(r)
              : {
                  ...r,
                  clauses: r.clauses.map((c) =>
                    part === 2 ? mark(c) : { ...c, matches: c.matches.map(mark) },
                  ),
                },
          );
          return { ...p, rules: inRule };
        });
        if (judge(all, { ...facts, sourceIdentity }).verdict === 'deny') {
          assert.equal(judge(hidden, { ...facts, sourceIdentity }).verdict, 'deny');
        }
      }),
      { numRuns: 2000 },
    );
  });

  it('denies before it allows, and allows all where no ALLOW policy applies', () => {
    assert.equal(judge([]).verdict, 'allow');
    const allow = policy('shop/allow', { rules: rules({ destinationPorts: [80] }) });
    const deny = policy('shop/deny', { action: 'deny', rules: rules({ destinationPorts: [80] }) });
    const both = judge([allow, deny]);
    assert.deepEqual(both.verdict === 'deny' && [both.policy, both.reason], [
      'shop/deny',
      'denied by policy shop/deny',
    ]);
    assert.deepEqual(both.applied, ['shop/allow', 'shop/deny']);
    const allowed = judge([allow]);
    assert.equal(allowed.verdict === 'allow' && allowed.policy, 'shop/allow');
    const none = judge([allow], { destPort: 81 });
    const why = ['shop/allow', 'allow policies exist, but none allowed'];
    assert.deepEqual(none.verdict === 'deny' && [none.policy, none.reason], why);
    assert.equal(judge([{ ...deny, rules: rules({ destinationPorts: [1] }) }]).verdict, 'allow');
  });

  it('names the PeerAuthentication or the waypoint that a policy was made for', () => {
    const reasonOf = (key: string): string => {
      const store = new PolicyStore();
      const deny = policy(key, { action: 'deny', scope: 'workload', rules: [{ clauses: [] }] });
      store.apply({ upserts: [deny], removed: [] });
      const verdict = evaluate(store, { ...TARGET, authorizationPolicies: [key] }, CONNECTION);
      assert(verdict.verdict === 'deny');
      return verdict.reason;
    };
    assert.equal(
      reasonOf('loam-system/istio_converted_static_strict'),
      'plaintext is denied by a PeerAuthentication of mode STRICT (loam-system/istio_converted_static_strict)',
    );
    assert.match(
      reasonOf('shop/converted_peer_authentication_db-only'),
      /denied by PeerAuthentication shop\/db-only \(/,
    );
    assert.equal(
      reasonOf('shop/loam_waypoint_80-443_shop_way_infra_other'),
      'port 80 is reached only through waypoint shop/way or infra/other ' +
        '(shop/loam_waypoint_80-443_shop_way_infra_other)',
    );
  });

  it('takes no rules for nothing, and a rule without clauses for everything', () => {
    assert.equal(judge([policy('shop/p')]).verdict, 'deny');
    assert.equal(judge([policy('shop/p', { action: 'deny' })]).verdict, 'allow');
    assert.equal(judge([policy('shop/p', { rules: [{ clauses: [] }] })]).verdict, 'allow');
    assert.equal(judge([policy('shop/p', { action: 'deny', rules: [{ clauses: [] }] })]).verdict, 'deny');
  });

  it('lets an emptied match deny in a DENY, together with what is left, and never allow in an ALLOW', () => {
    const deny = (...matches: Partial<Match>[]) =>
      judge([policy('shop/p', { action: 'deny', rules: rules(...matches) })]);
    assert.equal(deny({}).verdict, 'deny');
    assert.equal(deny({ destinationPorts: [80] }, {}).verdict, 'deny');
    assert.equal(deny({ destinationPorts: [81] }, {}).verdict, 'allow', 'the port still limits it');
    assert.equal(judge([policy('shop/p', { rules: rules({}) })]).verdict, 'deny');
    assert.equal(judge([policy('shop/p', { rules: rules({ destinationPorts: [80] }, {}) })]).verdict, 'deny');
  });

  it('waits for policies that are listed and not known, and denies when the wait is over', () => {
    const store = new PolicyStore();
    store.upsert(policy('shop/deny', { action: 'deny', rules: rules({ destinationPorts: [81] }) }));
    const target = { namespace: 'shop', authorizationPolicies: ['shop/late', 'shop/later'] };
    const waiting = evaluate(store, target, CONNECTION);
    assert.deepEqual(waiting.verdict === 'wait' && waiting.missing, ['shop/late', 'shop/later']);
    const over = evaluate(store, target, CONNECTION, { mayWait: false });
    assert.deepEqual(over.verdict === 'deny' && [over.policy, over.reason], [
      'shop/late',
      'policy shop/late is not known',
    ]);
    assert.equal(
      evaluate(store, target, { ...CONNECTION, destPort: 81 }).verdict,
      'deny',
      'no need to wait for a denial',
    );
  });

  it('only reports policies on trial', () => {
    const trials = [
      policy('shop/d', { action: 'deny', dryRun: true, rules: rules({ destinationPorts: [80] }) }),
      policy('shop/a', { dryRun: true, rules: rules({ destinationPorts: [81] }) }),
    ];
    const found = judge(trials);
    assert.equal(found.verdict, 'allow');
    assert.deepEqual(found.applied, []);
    assert.deepEqual(found.dryRun, [
      { policy: 'shop/d', action: 'deny', matched: true },
      { policy: 'shop/a', action: 'allow', matched: false },
    ]);
  });

  it('compares principals without the scheme', () => {
    const exact = (text: string) => holds({ principals: [{ how: 'exact', text }] });
    assert.ok(exact('cluster.local/ns/shop/sa/web'));
    assert.ok(!exact('spiffe://cluster.local/ns/shop/sa/web'));
    assert.ok(!exact('cluster.local/ns/shop/sa/we'));
    assert.ok(holds({ principals: [{ how: 'prefix', text: 'cluster.local/ns/shop/' }] }));
    assert.ok(!holds({ principals: [{ how: 'prefix', text: 'cluster.local/ns/bank/' }] }));
    assert.ok(holds({ principals: [{ how: 'suffix', text: '/sa/web' }] }));
    assert.ok(!holds({ principals: [{ how: 'suffix', text: '/sa/db' }] }));
    assert.ok(holds({ serviceAccounts: [{ namespace: 'shop', serviceAccount: 'web' }] }));
    assert.ok(!holds({ serviceAccounts: [{ namespace: 'bank', serviceAccount: 'web' }] }));
    assert.ok(holds({ namespaces: [{ how: 'exact', text: 'shop' }] }));
  });

  it('finds no identity in plaintext: nothing of it matches, and every not_ does', () => {
    for (const how of ['prefix', 'suffix'] as const) {
      assert.ok(!holds({ principals: [{ how, text: '' }] }, PLAINTEXT));
      assert.ok(!holds({ namespaces: [{ how, text: '' }] }, PLAINTEXT));
    }
    assert.ok(!holds({ principals: [{ how: 'presence' }] }, PLAINTEXT));
    assert.ok(holds({ principals: [{ how: 'presence' }] }));
    assert.ok(!holds({ serviceAccounts: [{ namespace: 'shop', serviceAccount: 'web' }] }, PLAINTEXT));
    // What a strict PeerAuthentication arrives as.
    const strict = [
      policy('root/strict', {
        scope: 'global',
        action: 'deny',
        rules: rules({ notPrincipals: [{ how: 'presence' }] }),
      }),
    ];
    assert.equal(judge(strict).verdict, 'allow');
    assert.equal(judge(strict, PLAINTEXT).verdict, 'deny');
  });

  it('compares addresses in ranges, IPv4-mapped ones as IPv4', () => {
    const range = (text: string, length: number) => {
      const cidr = cidrFromBytes(Uint8Array.from(text.split('.').map(Number)), length);
      assert.ok(cidr);
      return cidr;
    };
    assert.ok(holds({ sourceIps: [range('10.0.0.0', 8)] }));
    assert.ok(holds({ sourceIps: [range('10.0.0.0', 8)] }, { sourceIp: '::ffff:10.9.9.9' }));
    assert.ok(!holds({ sourceIps: [range('10.0.0.0', 8)] }, { sourceIp: '2001:db8::1' }));
    assert.ok(!holds({ notSourceIps: [range('0.0.0.0', 0)] }));
    assert.ok(holds({ destinationIps: [range('10.0.0.2', 32)], notDestinationPorts: [81] }));
  });

  it('denies a connection whose addresses cannot be read', () => {
    assert.equal(judge([], { sourceIp: 'nonsense' }).verdict, 'deny');
    assert.equal(judge([], { destIp: '' }).verdict, 'deny');
  });
});

describe('a DENY for clients that come through a waypoint', () => {
  function denied(all: Policy[], listed: string[] = []) {
    const store = new PolicyStore();
    store.apply({ upserts: all, removed: [] });
    return denialOfClient(store, { namespace: 'shop', authorizationPolicies: listed }, CONNECTION);
  }
  const ofWeb = rules({ principals: [{ how: 'exact', text: 'cluster.local/ns/shop/sa/web' }] });

  it('meets the client that it was written against', () => {
    assert.deepEqual(denied([policy('shop/no-web', { action: 'deny', rules: ofWeb })]), {
      policy: 'shop/no-web',
      reason: 'denied by policy shop/no-web',
    });
    const other = rules({ principals: [{ how: 'exact', text: 'cluster.local/ns/shop/sa/db' }] });
    assert.equal(denied([policy('shop/no-db', { action: 'deny', rules: other })]), undefined);
  });

  it('is none of those that keep a port to waypoints, nor on trial, nor an ALLOW', () => {
    const everyone = [{ clauses: [] }];
    assert.equal(
      denied([policy('shop/loam_waypoint_80_shop_wp', { action: 'deny', rules: everyone })]),
      undefined,
    );
    assert.equal(
      denied([policy('shop/trial', { action: 'deny', dryRun: true, rules: everyone })]),
      undefined,
    );
    assert.equal(denied([policy('shop/allow-nobody', { rules: [] })]), undefined);
  });

  it('holds while a policy that is listed is not known', () => {
    assert.equal(denied([], ['shop/late'])?.policy, 'shop/late');
    assert.equal(denied([], ['shop/loam_waypoint_80_shop_wp']), undefined);
  });
});
