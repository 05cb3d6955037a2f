import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { compileAuthorization } from '../../../../controller/compile/authorization.ts';
import type { AuthorizationPolicy, PolicyRule } from '../../../../controller/model/objects.ts';
import { validateSchema } from '../../../../controller/schema/validate.ts';
import { Scope } from '../../../../proto/gen/istio/security/authorization_pb.js';
import { admits, compiledMatches, type Connection, sourceMatches } from './evaluators.ts';

const ROOT = 'loam-system';

function policy(spec: AuthorizationPolicy['spec'], namespace = 'shop'): AuthorizationPolicy {
  return {
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: 'p', namespace },
    ...(spec === undefined ? {} : { spec }),
  };
}

function compiled(spec: AuthorizationPolicy['spec'], namespace?: string) {
  const result = compileAuthorization(policy(spec, namespace), ROOT, () => false);
  assert(result.authorization !== undefined);
  return { ...result, authorization: result.authorization };
}

const NAMESPACES = ['shop', 'shop-b', 'db'];
const ACCOUNTS = ['web', 'web-2', 'api'];
const IPS = ['198.18.0.1', '198.18.1.1', '10.0.0.7'];
const PORTS = [80, 81, 5432];

const connection: fc.Arbitrary<Connection> = fc
  .record({
    source: fc.option(
      fc.record({ namespace: fc.constantFrom(...NAMESPACES), account: fc.constantFrom(...ACCOUNTS) }),
      { nil: undefined },
    ),
    sourceIp: fc.constantFrom(...IPS),
    destIp: fc.constantFrom(...IPS),
    port: fc.constantFrom(...PORTS),
  })
  .map(({ source, ...rest }) => (source === undefined ? rest : { ...rest, source }));

const some = (...values: string[]): fc.Arbitrary<string[]> =>
  fc.uniqueArray(fc.constantFrom(...values), { minLength: 1, maxLength: 3 });
const PRINCIPALS = some(
  'cluster.local/ns/shop/sa/web',
  '*',
  'cluster.local/ns/shop*',
  '*/sa/api',
  'other/ns/shop/sa/web',
);
const NAMESPACE_VALUES = some('shop', 'shop*', '*b', '*', 'nowhere');
const BLOCKS = some('198.18.0.0/16', '198.18.1.1', '0.0.0.0/0', '10.9.9.9/8', '203.0.113.0/24');
const PORT_VALUES = some('80', '81', '443');
const ACCOUNT_VALUES = some('web', 'shop/web', 'db/api');

/** Records with at least one field, as validation demands. */
function nonEmpty<T extends object>(fields: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<
  Partial<T>
> {
  return fc
    .record(fields, { requiredKeys: [] })
    .filter((value) => Object.keys(value).length > 0) as fc.Arbitrary<Partial<T>>;
}

const source = fc.oneof(
  nonEmpty({
    principals: PRINCIPALS,
    notPrincipals: PRINCIPALS,
    namespaces: NAMESPACE_VALUES,
    notNamespaces: NAMESPACE_VALUES,
    ipBlocks: BLOCKS,
    notIpBlocks: BLOCKS,
  }),
  nonEmpty({ serviceAccounts: ACCOUNT_VALUES, notServiceAccounts: ACCOUNT_VALUES, ipBlocks: BLOCKS }),
);
const operation = nonEmpty({ ports: PORT_VALUES, notPorts: PORT_VALUES });
const condition = fc
  .constantFrom(
    ['source.principal', PRINCIPALS] as const,
    ['source.namespace', NAMESPACE_VALUES] as const,
    ['source.serviceAccount', ACCOUNT_VALUES] as const,
    ['source.ip', BLOCKS] as const,
    ['destination.ip', BLOCKS] as const,
    ['destination.port', PORT_VALUES] as const,
  )
  .chain(([key, values]) => nonEmpty({ values, notValues: values }).map((lists) => ({ key, ...lists })));

const rule: fc.Arbitrary<PolicyRule> = fc.record(
  {
    from: fc.array(fc.record({ source }), { minLength: 1, maxLength: 2 }),
    to: fc.array(fc.record({ operation }), { minLength: 1, maxLength: 2 }),
    when: fc.array(condition, { minLength: 1, maxLength: 2 }),
  },
  { requiredKeys: [] },
);

const spec = fc.record({
  action: fc.constantFrom('ALLOW' as const, 'DENY' as const),
  rules: fc.array(rule, { maxLength: 3 }),
});

const L7_SOURCES = [
  { requestPrincipals: ['*'] },
  { notRequestPrincipals: ['*'] },
  { remoteIpBlocks: ['10.0.0.0/8'] },
];
const L7_OPERATIONS = [{ methods: ['GET'] }, { notPaths: ['/a'] }, { hosts: ['x'] }];

describe('compile/authorization', () => {
  it('means at L4 exactly what the manifest says', () => {
    fc.assert(
      fc.property(spec, fc.array(connection, { minLength: 1, maxLength: 8 }), (s, connections) => {
        assert.deepEqual(validateSchema('AuthorizationPolicy', policy(s)), []);
        for (const c of connections)
          assert.equal(compiledMatches(compiled(s).authorization, c), sourceMatches(policy(s), c));
      }),
      { numRuns: 1000 },
    );
  });

  it('fails closed whatever L7 attributes are added: no ALLOW grows, no DENY shrinks', () => {
    const l7Rule = fc
      .tuple(rule, fc.constantFrom(...L7_SOURCES), fc.constantFrom(...L7_OPERATIONS), fc.nat(3))
      .map(([base, l7Source, l7Operation, where]): PolicyRule => ({
        ...base,
        ...(where === 0
          ? { from: (base.from ?? [{ source: {} }]).map((f) => ({ source: { ...f.source, ...l7Source } })) }
          : {}),
        ...(where === 1
          ? {
              to: (base.to ?? [{ operation: {} }]).map((t) => ({
                operation: { ...t.operation, ...l7Operation },
              })),
            }
          : {}),
        ...(where === 2
          ? { when: [...(base.when ?? []), { key: 'request.headers[x]', values: ['y'] }] }
          : {}),
        ...(where === 3 ? { from: [...(base.from ?? []), { source: l7Source }] } : {}),
      }));
    /** The rule with its L7 parts deciding for themselves as `seen` says: the two readings that L7 could come to. */
    const without = (r: PolicyRule, seen: boolean): PolicyRule | undefined => {
      const l7Keys = new Set([...L7_SOURCES, ...L7_OPERATIONS].flatMap((o) => Object.keys(o)));
      const strip = (o: object): { l4: object; hadL7: boolean } => {
        const entries = Object.entries(o);
        const l4 = entries.filter(([key]) => !l7Keys.has(key));
        return { l4: Object.fromEntries(l4), hadL7: l4.length < entries.length };
      };
      const next: Record<string, unknown> = {};
      for (const [list, inner] of [
        ['from', 'source'],
        ['to', 'operation'],
      ] as const) {
        const alternatives = (r[list] as readonly Record<string, object>[] | undefined)?.map((each) =>
          strip(each[inner] ?? {}),
        );
        const kept = alternatives?.filter(({ hadL7 }) => seen || !hadL7);
        if (kept === undefined) continue;
        if (kept.length === 0) return undefined;
        if (!kept.some(({ l4 }) => Object.keys(l4).length === 0))
          next[list] = kept.map(({ l4 }) => ({ [inner]: l4 }));
      }
      const conditions = r.when ?? [];
      const l4Conditions = conditions.filter(({ key }) => !key.startsWith('request.'));
      if (!seen && l4Conditions.length < conditions.length) return undefined;
      if (l4Conditions.length > 0) next['when'] = l4Conditions;
      return next;
    };
    fc.assert(
      fc.property(
        fc.constantFrom('ALLOW' as const, 'DENY' as const),
        fc.array(l7Rule, { minLength: 1, maxLength: 2 }),
        connection,
        (action, rules, c) => {
          const actual = compiledMatches(compiled({ action, rules }).authorization, c);
          const closed = rules.flatMap((r) => without(r, action === 'DENY') ?? []);
          assert.equal(actual, sourceMatches(policy({ action, rules: closed }), c));
        },
      ),
      { numRuns: 1000 },
    );
  });

  it('tells the empty forms apart', () => {
    const anyone: Connection = { sourceIp: '10.0.0.7', destIp: '10.0.0.7', port: 80 };
    assert.equal(
      admits([compiled(undefined).authorization], anyone),
      false,
      'no spec: ALLOW that allows nothing',
    );
    assert.equal(admits([compiled(null).authorization], anyone), false);
    assert.equal(admits([compiled({ rules: [] }).authorization], anyone), false);
    assert.equal(admits([compiled({ rules: [{}] }).authorization], anyone), true);
    assert.equal(
      admits([compiled({ action: 'DENY' }).authorization], anyone),
      true,
      'DENY without rules denies nothing',
    );
    assert.equal(admits([compiled({ action: 'DENY', rules: [{}] }).authorization], anyone), false);
  });

  it('says in the status what the compiled policy does', () => {
    const deny = compiled({ action: 'DENY', rules: [{ to: [{ operation: { methods: ['GET'] } }] }] });
    assert.match(deny.message, /^denies every connection; .*rules\[0\]\.to\[0\]\.operation\.methods/);
    const denyPort = compiled({
      action: 'DENY',
      rules: [{ to: [{ operation: { methods: ['GET'], ports: ['80'] } }] }],
    });
    assert.deepEqual(denyPort.authorization.rules[0]?.clauses[0]?.matches[0]?.destinationPorts, [80]);
    const allow = compiled({ rules: [{ to: [{ operation: { paths: ['/a'] } }] }] });
    assert.equal(allow.authorization.rules.length, 0);
    assert.match(allow.message, /^allows nothing/);
  });

  it('derives scope and attachment', () => {
    const selector = { matchLabels: { app: 'a' } };
    assert.equal(compiled({}, 'shop').authorization.scope, Scope.NAMESPACE);
    assert.equal(compiled({}, ROOT).authorization.scope, Scope.GLOBAL);
    assert.deepEqual(compiled({ selector }).attachment, {
      by: 'labels',
      labels: { app: 'a' },
      namespace: 'shop',
    });
    assert.deepEqual(compiled({ selector }, ROOT).attachment, {
      by: 'labels',
      labels: { app: 'a' },
      namespace: undefined,
    });
    assert.equal(compiled({ selector: { matchLabels: {} } }).authorization.scope, Scope.NAMESPACE);
  });

  it('leaves what has a waypoint to it, and keeps at the pods what has none', () => {
    const ref = (kind: string, name: string) => ({ kind, group: '', name });
    const at = (targets: readonly { kind: string; group: string; name: string }[]) =>
      compileAuthorization(policy({ targetRefs: targets }), ROOT, (key) => key === 'shop/web');
    for (const target of [ref('Gateway', 'way'), ref('Service', 'web')]) {
      const { authorization, message, pending } = at([target]);
      assert.deepEqual([authorization, message, pending], [undefined, '', undefined], target.kind);
    }
    const both = at([ref('Service', 'web'), ref('Service', 'db')]);
    assert.deepEqual(both.attachment, { by: 'services', namespace: 'shop', names: ['db'] });
    assert.equal(both.pending, 'waypoint');
    assert.match(both.message, /Service db.*until then enforced at the pods/);
  });

  it('does not turn AUDIT into something that L4 enforces', () => {
    const audit = compileAuthorization(policy({ action: 'AUDIT', rules: [{}] }), ROOT, () => false);
    assert.equal(audit.authorization, undefined);
    assert.match(audit.message, /by waypoints only/);
  });
});
