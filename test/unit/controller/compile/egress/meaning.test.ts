import assert from 'node:assert/strict';
import { toBinary, create } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { compileEgressPolicy } from '../../../../../controller/compile/egress/policy.ts';
import type { EgressPolicy, EgressRuleSpec } from '../../../../../controller/model/egress-policy.ts';
import { validateSchema } from '../../../../../controller/schema/validate.ts';
import { checkEgressPolicy } from '../../../../../controller/sources/check-egress-policy.ts';
import { ipToBytes } from '../../../../../lib/mesh/state/ip.ts';
import { ResourceSchema } from '../../../../../proto/gen/loam/egress/v1/egress_pb.js';
import { decodeEgress } from '../../../../../lib/mesh/egress/decode.ts';
import { EgressStore } from '../../../../../lib/mesh/egress/egress-store.ts';
import { evaluateEgress } from '../../../../../lib/mesh/egress/evaluate.ts';
import { type Call, mayCall } from './reference.ts';

const NAMESPACES = ['shop', 'data'];
const NAMES = ['payments', 'db'];
const IPS = ['198.18.0.1', '198.18.1.200', '10.0.0.7', '2001:db8::1', '2001:db8:1::ffff', 'fd00::7'];
const PORTS = [80, 443, 8080];

const some = <T>(values: fc.Arbitrary<T>): fc.Arbitrary<T[]> =>
  fc.array(values, { minLength: 1, maxLength: 3 });
const CIDRS = [
  { cidr: '198.18.0.0/15' },
  { cidr: '198.18.0.0/16', except: ['198.18.1.128/25', '198.18.0.1'] },
  { cidr: '0.0.0.0/0', except: ['10.0.0.0/8'] },
  { cidr: '10.0.0.7' },
  { cidr: '::/0', except: ['fd00::/8'] },
  { cidr: '2001:db8::/33', except: ['2001:db8::1'] },
  { cidr: '2001:db8:1::ffff/128' },
  { cidr: '10.9.9.9/8' },
];
const rule: fc.Arbitrary<EgressRuleSpec> = fc
  .record(
    {
      services: some(
        fc.record(
          { name: fc.constantFrom(...NAMES), namespace: fc.constantFrom(...NAMESPACES) },
          {
            requiredKeys: ['name'],
          },
        ),
      ),
      serviceAccounts: some(fc.constantFrom('payments', 'data/db', 'shop/db')),
      principals: some(
        fc.constantFrom(
          'cluster.local/ns/data/sa/db',
          'cluster.local/ns/shop/*',
          '*/sa/db',
          '*',
          'other/ns/data/sa/db',
        ),
      ),
      namespaces: some(fc.constantFrom(...NAMESPACES, 'nowhere')),
      cidrs: some(fc.constantFrom(...CIDRS)),
      ports: some(fc.constantFrom({ port: 80 }, { port: 443, endPort: 8080 }, { port: 8080, endPort: 8080 })),
    },
    { requiredKeys: [] },
  )
  .filter((fields) => Object.keys(fields).length > 0);
const policies: fc.Arbitrary<EgressPolicy[]> = fc
  .array(
    fc.record({
      namespace: fc.constantFrom(...NAMESPACES),
      allow: fc.option(fc.array(rule, { maxLength: 3 }), { nil: undefined }),
    }),
    { maxLength: 3 },
  )
  .map((all) =>
    all.map(({ namespace, allow }, i): EgressPolicy => ({
      apiVersion: 'loam.dev/v1',
      kind: 'EgressPolicy',
      metadata: { name: `p${i}`, namespace },
      spec: allow === undefined ? {} : { allow },
    })),
  );
const call: fc.Arbitrary<Call> = fc
  .record({
    ip: fc.constantFrom(...IPS),
    port: fc.constantFrom(...PORTS),
    services: fc.subarray(NAMESPACES.flatMap((namespace) => NAMES.map((name) => `${namespace}/${name}`))),
    namespace: fc.constantFrom(...NAMESPACES),
    identity: fc.option(
      fc.record({ namespace: fc.constantFrom(...NAMESPACES), account: fc.constantFrom(...NAMES) }),
      { nil: undefined },
    ),
    known: fc.boolean(),
  })
  .map((each) => (each.known ? each : { ...each, services: [], namespace: undefined, identity: undefined }));

/** As it comes to be on a node: over the wire. */
function told(all: readonly EgressPolicy[], registryOnly: boolean): EgressStore {
  const store = new EgressStore();
  const upserts = all.map((object) => {
    const policy = compileEgressPolicy(object);
    const wire = create(ResourceSchema, { kind: { case: 'policy', value: policy } });
    return decodeEgress(`policy/${policy.namespace}/${policy.name}`, toBinary(ResourceSchema, wire));
  });
  const keys = upserts.flatMap((each) => (each.kind === 'policy' ? [each.key] : []));
  store.apply({
    upserts: [
      ...upserts,
      { kind: 'workload', uid: 'u', policies: keys, unknownDestinations: registryOnly ? 'refuse' : 'allow' },
    ],
    removed: [],
  });
  return store;
}

function allowed(store: EgressStore, { ip, services, identity, ...rest }: Call): boolean {
  const facts = {
    ...rest,
    ip: ipToBytes(ip) ?? [],
    services: services.map((key) => key.replace(/^(.+)\/(.+)$/, '$1/$2.$1.svc.cluster.local')),
    identity: identity && {
      trustDomain: 'cluster.local',
      namespace: identity.namespace,
      serviceAccount: identity.account,
    },
    text: 'it',
  };
  return evaluateEgress(store, 'u', facts, false).verdict === 'allow';
}

describe('EgressPolicy: from manifest to verdict', function () {
  this.timeout(60_000);

  it('allows exactly what the page says, for any policies, settings and calls, of both families', () => {
    let yes = 0;
    let no = 0;
    fc.assert(
      fc.property(
        policies,
        fc.boolean(),
        fc.array(call, { minLength: 5, maxLength: 5 }),
        (all, only, calls) => {
          for (const each of all) {
            assert.deepEqual(validateSchema('EgressPolicy', each), []);
            assert.deepEqual(checkEgressPolicy(each), []);
          }
          const store = told(all, only);
          for (const each of calls) {
            const expected = mayCall(all, only, each);
            if (expected) yes += 1;
            else no += 1;
            assert.equal(allowed(store, each), expected);
          }
        },
      ),
      { numRuns: 3_000 },
    );
    assert(yes > 1_000 && no > 1_000, `too lopsided to show anything: ${yes} allowed, ${no} refused`);
  });

  it('allows no more when a policy is not there yet, and the same when it is there twice', () => {
    fc.assert(
      fc.property(policies, fc.boolean(), call, fc.nat(), (all, only, each, nth) => {
        const whole = told(all, only);
        const less = told(all, only);
        const [gone] = all.slice(nth % Math.max(1, all.length));
        if (gone !== undefined)
          less.apply({ upserts: [], removed: [`policy/${gone.metadata.namespace}/${gone.metadata.name}`] });
        assert(!allowed(less, each) || allowed(whole, each));
        assert.equal(allowed(told([...all, ...all], only), each), allowed(whole, each));
      }),
      { numRuns: 1_000 },
    );
  });
});
