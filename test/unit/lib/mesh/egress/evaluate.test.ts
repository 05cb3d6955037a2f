import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'mocha';
import { EgressStore } from '../../../../../lib/mesh/egress/egress-store.ts';
import { evaluateEgress, type EgressFacts } from '../../../../../lib/mesh/egress/evaluate.ts';
import type { EgressPolicy, EgressRule, EgressWorkload } from '../../../../../lib/mesh/egress/model.ts';

const RULE: EgressRule = {
  services: [],
  serviceAccounts: [],
  principals: [],
  namespaces: [],
  blocks: [],
  ports: [],
};
const FACTS: EgressFacts = {
  ip: [198, 19, 0, 5],
  port: 80,
  services: ['shop/pay'],
  namespace: 'shop',
  identity: undefined,
  known: true,
  text: 'Service shop/pay port 80',
};
const OUTSIDE: EgressFacts = {
  ...FACTS,
  ip: [192, 0, 2, 1],
  services: [],
  namespace: undefined,
  known: false,
  text: '192.0.2.1:80',
};

const workload = (policies: string[], changes: Partial<EgressWorkload> = {}): EgressWorkload => ({
  kind: 'workload',
  uid: 'u',
  policies,
  unknownDestinations: 'allow',
  ...changes,
});
const policy = (key: string, ...rules: Partial<EgressRule>[]): EgressPolicy => ({
  kind: 'policy',
  key,
  rules: rules.map((rule) => ({ ...RULE, ...rule })),
});

describe('ztunnel/egress/evaluate', () => {
  let store: EgressStore;
  const tell = (...upserts: (EgressWorkload | EgressPolicy)[]) => store.apply({ upserts, removed: [] });
  const ask = (facts = FACTS, mayWait = false) => evaluateEgress(store, 'u', facts, mayWait);
  beforeEach(() => (store = new EgressStore()));

  it('waits for a pod of which nothing was told, and then refuses', () => {
    tell(workload([]), { ...workload([]), uid: 'other' });
    store.apply({ upserts: [], removed: ['workload/u'] });
    assert.equal(ask(FACTS, true).verdict, 'wait');
    assert.deepEqual(ask(), {
      verdict: 'deny',
      why: 'not-told',
      reason: 'what the pod may call is not known',
    });
  });

  it('restricts nothing where no policy selects the pod, but for what the mesh does not know where it says so', () => {
    tell(workload([]));
    assert.equal(ask().verdict, 'allow');
    assert.equal(ask(OUTSIDE).verdict, 'allow');
    tell(workload([], { unknownDestinations: 'refuse' }));
    assert.equal(ask().verdict, 'allow');
    const denied = ask(OUTSIDE);
    assert(denied.verdict === 'deny');
    assert.equal(denied.why, 'registry-only');
    assert.equal(denied.policy, undefined);
    assert.match(denied.reason, /does not know 192\.0\.2\.1:80/);
  });

  it('allows what any policy allows, and names all of them where none does', () => {
    tell(workload(['shop/a', 'shop/b']), policy('shop/a'), policy('shop/b', { services: ['shop/pay'] }));
    assert.deepEqual(ask(), { verdict: 'allow', policy: 'shop/b' });
    assert.deepEqual(ask({ ...FACTS, services: ['shop/db'], text: 'Service shop/db port 80' }), {
      verdict: 'deny',
      why: 'policy',
      policy: 'shop/a, shop/b',
      reason: 'no rule allows Service shop/db port 80',
    });
  });

  it('does not wait for a policy where another one allows, and refuses where none came', () => {
    tell(workload(['shop/a', 'shop/b']), policy('shop/a', { services: ['shop/pay'] }));
    assert.equal(ask(FACTS, true).verdict, 'allow');
    const other = { ...FACTS, services: [] };
    assert.equal(ask(other, true).verdict, 'wait');
    const denied = ask(other);
    assert(denied.verdict === 'deny');
    assert.match(denied.reason, /policy shop\/b is not known/);
  });

  it('allows nothing by what it does not understand', () => {
    tell(workload(['shop/a']), policy('shop/a', { services: ['shop/pay'], unsupported: 'newer' }));
    assert.equal(ask().verdict, 'deny');
    tell({ ...policy('shop/a', { services: ['shop/pay'] }), unsupported: 'newer' });
    assert.equal(ask().verdict, 'deny');
    tell(policy('shop/a', { services: ['shop/pay'] }));
    assert.equal(ask().verdict, 'allow');
    tell(workload(['shop/a'], { unsupported: 'newer' }));
    assert.equal(ask().verdict, 'deny');
  });

  it('reaches what the mesh does not know by an address that a rule names, and not by a port alone', () => {
    const refuse = { unknownDestinations: 'refuse' } as const;
    tell(workload(['shop/a'], refuse), policy('shop/a', { ports: [{ first: 80, last: 80 }] }));
    const denied = ask(OUTSIDE);
    assert(denied.verdict === 'deny');
    assert.equal(denied.why, 'registry-only');
    const blocks = [{ cidr: { bytes: [192, 0, 2, 0], length: 24 }, except: [] }];
    tell(policy('shop/a', { ports: [{ first: 80, last: 80 }] }, { blocks }));
    assert.equal(ask(OUTSIDE).verdict, 'allow');
    assert.equal(ask({ ...OUTSIDE, ip: [192, 0, 3, 1] }).verdict, 'deny');
  });

  it('tells of each change, and forgets what is removed', () => {
    let told = 0;
    const stop = store.onChange(() => (told += 1));
    tell(workload(['shop/a']), policy('shop/a'));
    store.apply({ upserts: [], removed: ['policy/shop/a', 'workload/u', 'nobody'] });
    stop();
    tell(workload([]));
    assert.equal(told, 2);
    assert.deepEqual([...store.policies()], []);
    assert.equal([...store.workloads()].length, 1);
  });
});
