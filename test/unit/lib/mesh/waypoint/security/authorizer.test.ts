import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import {
  AuthorizationPolicy_Action as Action,
  AuthorizationOperationSchema,
  type AuthorizationConditionSchema,
  AuthorizationPolicySchema,
  type AuthorizationSourceSchema,
} from '../../../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import type { JwtFacts, RequestHead } from '../../../../../../lib/mesh/waypoint/request.ts';
import { Authorizer } from '../../../../../../lib/mesh/waypoint/security/authorizer.ts';
import { compilePolicy } from '../../../../../../lib/mesh/waypoint/security/compile-policy.ts';
import { decide, head, policy } from './heads.ts';

type Source = MessageInitShape<typeof AuthorizationSourceSchema>;
type Operation = MessageInitShape<typeof AuthorizationOperationSchema>;
type Condition = MessageInitShape<typeof AuthorizationConditionSchema>;

const everything = [{}];

/** Checks that an ALLOW admits and a DENY refuses the first request, and that both leave the second alone. */
function matchesOnly(rule: object, yes: Partial<RequestHead>, no: Partial<RequestHead>): void {
  const rules = [rule];
  assert.equal(decide({ action: Action.ALLOW, rules }, head(yes)), 'allow', 'ALLOW admits');
  assert.equal(decide({ action: Action.ALLOW, rules }, head(no)), 'deny', 'ALLOW admits nothing else');
  assert.equal(decide({ action: Action.DENY, rules }, head(yes)), 'deny', 'DENY refuses');
  assert.equal(decide({ action: Action.DENY, rules }, head(no)), 'allow', 'DENY refuses nothing else');
}
const from = (source: Source) => ({ from: [{ ...source }] });
const to = (operation: Operation) => ({ to: [{ ...operation }] });
const when = (condition: Condition) => ({ when: [{ ...condition }] });

function source(namespace: string, serviceAccount: string, ip = '10.0.0.5'): Partial<RequestHead> {
  const identity = { trustDomain: 'cluster.local', namespace, serviceAccount };
  return { source: { ip, port: 1, identity, workload: undefined } };
}
const anonymous: Partial<RequestHead> = {
  source: { ip: '10.9.9.9', port: 1, identity: undefined, workload: undefined },
};

function jwt(claims: Record<string, unknown>): Partial<RequestHead> {
  const facts: JwtFacts = {
    principal: `${String(claims['iss'])}/${String(claims['sub'])}`,
    audiences: [claims['aud'] ?? []].flat() as string[],
    presenter: claims['azp'] as string | undefined,
    claims,
  };
  return { jwt: facts };
}

describe('Authorizer', () => {
  describe('order', () => {
    const allowAll = policy({ name: 'open', rules: everything });
    const denyAll = policy({ name: 'shut', action: Action.DENY, rules: everything });
    const allowNone = policy({ name: 'none' });

    it('allows where no policy applies', () => {
      assert.deepEqual(new Authorizer([]).evaluate(head()), {
        verdict: 'allow',
        policy: undefined,
        dryRun: [],
        audit: [],
      });
    });

    it('denies by a DENY before any ALLOW', () => {
      const decision = new Authorizer([allowAll, denyAll]).evaluate(head());
      assert.ok(decision.verdict === 'deny');
      assert.deepEqual([decision.policy, decision.reason], ['shop/shut', 'denied by policy shop/shut']);
    });

    it('denies where ALLOW policies exist and none matches, and names them', () => {
      const decision = new Authorizer([allowNone, policy({ name: 'other' })]).evaluate(head());
      assert.ok(decision.verdict === 'deny');
      assert.equal(decision.policy, 'shop/none, shop/other');
      assert.equal(decision.reason, 'allow policies exist, but none allowed');
    });

    it('names the ALLOW that matched', () => {
      const decision = new Authorizer([allowNone, allowAll]).evaluate(head());
      assert.deepEqual([decision.verdict, decision.policy], ['allow', 'shop/open']);
    });

    it('denies where a listed policy is not known, also beside one that allows', () => {
      const decision = new Authorizer([allowAll], ['shop/lost']).evaluate(head());
      assert.ok(decision.verdict === 'deny');
      assert.equal(decision.reason, 'policy shop/lost is not known');
    });

    it('reports what policies on trial would do, and does not do it', () => {
      const trial = policy({ name: 'trial', action: Action.DENY, dryRun: true, rules: everything });
      const narrow = policy({ name: 'narrow', dryRun: true });
      const decision = new Authorizer([trial, narrow]).evaluate(head());
      assert.equal(decision.verdict, 'allow');
      assert.deepEqual(decision.dryRun, [
        { policy: 'shop/trial', action: 'deny', matched: true },
        { policy: 'shop/narrow', action: 'allow', matched: false },
      ]);
    });

    it('reports AUDIT policies that match, also for a request that is denied', () => {
      const audit = policy({ name: 'watch', action: Action.AUDIT, rules: [to({ methods: ['GET'] })] });
      assert.deepEqual(new Authorizer([audit, denyAll]).evaluate(head()).audit, ['shop/watch']);
      const other = new Authorizer([audit]).evaluate(head({ method: 'PUT' }));
      assert.deepEqual([other.verdict, other.audit], ['allow', []]);
    });
  });

  describe('what cannot be enforced', () => {
    const cases: Record<string, Parameters<typeof policy>[0]> = {
      'the controller said so': { unsupported: 'no reason', rules: [to({ paths: ['/never'] })] },
      'an experimental key': { rules: [when({ key: 'experimental.envoy.filters.a', values: ['b'] })] },
      'a bad template': { rules: [to({ paths: ['/{**}/a/{*}'] })] },
      'a bad block': { rules: [from({ ipBlocks: ['10.0.0.0/33'] })] },
      'a bad port': { rules: [to({ ports: ['http'] })] },
      'an empty source': { rules: [from({})] },
      'a condition without values': { rules: [when({ key: 'source.ip' })] },
      'a pseudo header that is not known': { rules: [when({ key: 'request.headers[:x]', values: ['*'] })] },
    };
    for (const [name, init] of Object.entries(cases)) {
      it(`denies by DENY and never allows by ALLOW: ${name}`, () => {
        assert.equal(decide({ ...init, action: Action.DENY }, head()), 'deny');
        assert.equal(decide({ ...init, action: Action.ALLOW }, head()), 'deny');
        assert.notEqual(policy(init).unsupported, undefined);
      });
    }

    it('takes an action that it does not know for a DENY of everything', () => {
      assert.equal(decide({ action: 9 as Action }, head()), 'deny');
    });

    it('does not pass over a field that is newer than it', () => {
      const operation = toBinary(
        AuthorizationOperationSchema,
        create(AuthorizationOperationSchema, { methods: ['GET'] }),
      );
      // Field 15, a text "x".
      const newer = fromBinary(
        AuthorizationOperationSchema,
        Uint8Array.from([...operation, 0x7a, 0x01, 0x78]),
      );
      const compiled = compilePolicy(
        create(AuthorizationPolicySchema, { namespace: 'a', name: 'b', rules: [{ to: [newer] }] }),
      );
      assert.match(compiled.unsupported ?? '', /field 15/);
      assert.equal(new Authorizer([compiled]).evaluate(head()).verdict, 'deny');
    });
  });

  describe('sources', () => {
    it('principals', () => {
      const principals = ['cluster.local/ns/shop/sa/frontend'];
      matchesOnly(from({ principals }), {}, source('shop', 'other'));
      matchesOnly(from({ principals: ['*/sa/frontend'] }), {}, source('shop', 'other'));
      matchesOnly(from({ principals: ['cluster.local/ns/shop/*'] }), {}, source('shopping', 'x'));
      matchesOnly(from({ principals: ['*'] }), {}, anonymous);
      matchesOnly(from({ notPrincipals: principals }), anonymous, {});
    });
    it('namespaces', () => {
      matchesOnly(from({ namespaces: ['sh*'] }), {}, source('other', 'x'));
      matchesOnly(from({ notNamespaces: ['shop'] }), source('other', 'x'), {});
    });
    it('service accounts', () => {
      matchesOnly(from({ serviceAccounts: ['shop/frontend'] }), {}, source('other', 'frontend'));
      matchesOnly(from({ notServiceAccounts: ['shop/frontend'] }), source('other', 'frontend'), {});
    });
    it('addresses of the peer', () => {
      matchesOnly(from({ ipBlocks: ['10.0.0.0/24'] }), {}, source('shop', 'x', '10.0.1.5'));
      matchesOnly(from({ ipBlocks: ['10.0.0.5'] }), source('a', 'b', '::ffff:10.0.0.5'), anonymous);
      matchesOnly(from({ notIpBlocks: ['fd00::/8'] }), {}, source('a', 'b', 'fd00::1'));
    });
    it('addresses that trusted hops told', () => {
      matchesOnly(from({ remoteIpBlocks: ['198.51.100.0/24'] }), {}, { remoteIp: '203.0.113.1' });
      matchesOnly(from({ notRemoteIpBlocks: ['198.51.100.9'] }), { remoteIp: '203.0.113.1' }, {});
    });
    it('holds an address that cannot be read against the request', () => {
      const broken = head({ remoteIp: 'unknown' });
      for (const source of [{ remoteIpBlocks: ['10.0.0.0/8'] }, { notRemoteIpBlocks: ['10.0.0.0/8'] }]) {
        assert.equal(decide({ action: Action.DENY, rules: [from(source)] }, broken), 'deny');
        assert.equal(decide({ action: Action.ALLOW, rules: [from(source)] }, broken), 'deny');
      }
    });
    it('ORs entries and ANDs fields of one', () => {
      const rule = { from: [{ namespaces: ['a'] }, { namespaces: ['shop'], ipBlocks: ['10.0.0.5'] }] };
      matchesOnly(rule, source('a', 'x', '1.2.3.4'), source('shop', 'x', '1.2.3.4'));
    });
  });

  describe('operations', () => {
    it('methods', () => {
      matchesOnly(to({ methods: ['GET', 'HEAD'] }), {}, { method: 'POST' });
      matchesOnly(to({ methods: ['P*'] }), { method: 'PUT' }, {});
      matchesOnly(to({ notMethods: ['GET'] }), { method: 'POST' }, {});
    });
    it('is not passed by another case of a method', () => {
      assert.equal(
        decide({ action: Action.DENY, rules: [to({ methods: ['POST'] })] }, head({ method: 'post' })),
        'deny',
      );
      assert.equal(decide({ rules: [to({ methods: ['POST'] })] }, head({ method: 'post' })), 'deny');
      assert.equal(decide({ rules: [to({ notMethods: ['POST'] })] }, head({ method: 'post' })), 'deny');
    });
    it('ports', () => {
      matchesOnly(to({ ports: ['80', '443'] }), {}, { port: 8080 });
      matchesOnly(to({ notPorts: ['80'] }), { port: 8080 }, {});
    });
    it('hosts, without case, with and without port', () => {
      for (const authority of ['pay.shop', 'PAY.shop', 'pay.shop:80', 'pay.shop.', 'pay.shop.:80'])
        matchesOnly(to({ hosts: ['Pay.Shop'] }), { authority }, { authority: 'xpay.shop' });
      matchesOnly(
        to({ hosts: ['pay.shop:8080'] }),
        { authority: 'pay.shop:8080' },
        { authority: 'pay.shop' },
      );
      matchesOnly(to({ hosts: ['*.shop'] }), { authority: 'pay.shop:1' }, { authority: 'shop.evil' });
      matchesOnly(to({ hosts: ['[fd00::1]'] }), { authority: '[fd00::1]:80' }, { authority: '[fd00::2]:80' });
      matchesOnly(to({ notHosts: ['pay.shop'] }), { authority: 'other' }, { authority: 'pay.shop:80' });
    });
    it('paths', () => {
      matchesOnly(to({ paths: ['/charge'] }), { path: '/charge' }, { path: '/charge/1' });
      matchesOnly(to({ paths: ['/admin/*'] }), { path: '/admin/x' }, { path: '/admin' });
      matchesOnly(to({ paths: ['*.html'] }), { path: '/a.html' }, { path: '/a.htm' });
      matchesOnly(to({ notPaths: ['/health'] }), { path: '/x' }, { path: '/health' });
      matchesOnly(to({ paths: ['/pay.Pay/Charge'] }), { path: '/pay.Pay/Charge' }, { path: '/pay.Pay/Void' });
      matchesOnly(to({ paths: ['/a/{*}/c'] }), { path: '/a/b/c' }, { path: '/a/b/b/c' });
    });
    it('ANDs from, to and when', () => {
      const rule = {
        ...from({ namespaces: ['shop'] }),
        ...to({ methods: ['GET'] }),
        when: [
          { key: 'destination.port', values: ['80'] },
          { key: 'destination.ip', values: ['10.96.0.0/12'] },
        ],
      };
      for (const no of [source('x', 'y'), { method: 'PUT' }, { port: 81 }, { destinationIp: '10.0.0.1' }])
        matchesOnly(rule, {}, no);
    });
  });

  describe('headers', () => {
    const rule = when({ key: 'request.headers[X-Role]', values: ['admin', 'ops-*'] });
    const not = when({ key: 'request.headers[x-role]', notValues: ['guest'] });

    it('match by name without case, and by value', () => {
      matchesOnly(rule, { headers: { 'x-role': 'admin' } }, { headers: { 'x-role': 'guest' } });
      matchesOnly(rule, { headers: { 'x-role': 'ops-1' } }, {});
      matchesOnly(not, {}, { headers: { 'x-role': 'guest' } });
      const present = when({ key: 'request.headers[x-role]', values: ['*'] });
      matchesOnly(present, { headers: { 'x-role': '' } }, {});
    });
    for (const twice of ['guest, admin', 'admin,guest', 'admin ,x', 'x, admin, y'])
      it(`are not hidden, and admit nothing, in ${JSON.stringify(twice)}`, () => {
        const request = head({ headers: { 'x-role': twice } });
        assert.equal(decide({ action: Action.DENY, rules: [rule] }, request), 'deny');
        const exact = when({ key: 'request.headers[x-role]', values: ['admin'] });
        assert.equal(decide({ rules: [exact] }, request), 'deny');
        const notAdmin = when({ key: 'request.headers[x-role]', notValues: ['admin'] });
        assert.equal(decide({ rules: [notAdmin] }, request), 'deny');
      });
    it('are compared as a whole too', () => {
      const whole = when({ key: 'request.headers[x-role]', values: ['a,b'] });
      assert.equal(
        decide({ action: Action.DENY, rules: [whole] }, head({ headers: { 'x-role': 'a, b' } })),
        'deny',
      );
    });
    it('include pseudo headers', () => {
      matchesOnly(when({ key: 'request.headers[:method]', values: ['GET'] }), {}, { method: 'PUT' });
      matchesOnly(when({ key: 'request.headers[Host]', values: ['pay.shop'] }), {}, { authority: 'x' });
      matchesOnly(
        when({ key: 'request.headers[:path]', values: ['/a?b=1'] }),
        { path: '/a', query: 'b=1' },
        {},
      );
    });
    it('cannot be had from the prototype', () => {
      matchesOnly(
        when({ key: 'request.headers[constructor]', values: ['*'] }),
        { headers: { constructor: 'x' } },
        {},
      );
    });
  });

  describe('tokens', () => {
    const alice = jwt({ iss: 'https://id', sub: 'alice', aud: ['a', 'b'], azp: 'app' });

    it('request principals', () => {
      matchesOnly(
        from({ requestPrincipals: ['https://id/alice'] }),
        alice,
        jwt({ iss: 'https://id', sub: 'bob' }),
      );
      matchesOnly(from({ requestPrincipals: ['*'] }), alice, {});
      matchesOnly(from({ notRequestPrincipals: ['*'] }), {}, alice);
      matchesOnly(when({ key: 'request.auth.principal', values: ['https://id/*'] }), alice, {});
    });
    it('does not admit a subject that reads like one of another issuer, and denies it', () => {
      const confused = head(jwt({ iss: 'https://id', sub: 'corp/alice' }));
      const rules = [from({ requestPrincipals: ['https://id/corp/alice'] })];
      assert.equal(decide({ rules }, confused), 'deny');
      assert.equal(decide({ action: Action.DENY, rules }, confused), 'deny');
      assert.equal(decide({ rules: [from({ requestPrincipals: ['*'] })] }, confused), 'allow');
    });
    it('gives a token without a subject no principal', () => {
      const facts = { principal: '', audiences: [], presenter: undefined, claims: {} };
      matchesOnly(from({ requestPrincipals: ['*'] }), alice, { jwt: facts });
    });
    it('audiences and presenter', () => {
      matchesOnly(
        when({ key: 'request.auth.audiences', values: ['b'] }),
        alice,
        jwt({ iss: 'i', sub: 's', aud: 'c' }),
      );
      matchesOnly(when({ key: 'request.auth.presenter', values: ['app'] }), alice, jwt({ iss: 'i' }));
    });
    it('claims: texts, lists, nested ones, words of scope, numbers', () => {
      const claims = {
        group: ['dev', 'ops'],
        a: { b: { c: 'x' } },
        scope: 'read write',
        name: 'read write',
        level: 5,
        ok: true,
      };
      const claim = (path: string, value: string): object =>
        when({ key: `request.auth.claims${path}`, values: [value] });
      matchesOnly(claim('[group]', 'ops'), jwt(claims), jwt({ group: ['qa'] }));
      matchesOnly(claim('[a][b][c]', 'x'), jwt(claims), jwt({ a: { b: 'x' } }));
      matchesOnly(claim('[scope]', 'write'), jwt(claims), jwt({ scope: 'writer' }));
      matchesOnly(claim('[name]', 'read write'), jwt(claims), jwt({ name: 'read' }));
      matchesOnly(claim('[level]', '5'), jwt(claims), jwt({ level: 6 }));
      matchesOnly(claim('[ok]', 'true'), jwt(claims), jwt({ ok: { true: 'true' } }));
      matchesOnly(claim('[constructor]', '*'), jwt({ constructor: 'x' }), jwt({}));
      matchesOnly(when({ key: 'request.auth.claims[group]', notValues: ['ops'] }), {}, jwt(claims));
    });
  });

  describe('conditions on the connection', () => {
    it('source and remote', () => {
      matchesOnly(when({ key: 'source.ip', values: ['10.0.0.0/24'] }), {}, anonymous);
      matchesOnly(when({ key: 'remote.ip', values: ['198.51.100.9'] }), {}, { remoteIp: '10.0.0.1' });
      matchesOnly(when({ key: 'source.namespace', values: ['shop'] }), {}, anonymous);
      matchesOnly(when({ key: 'source.principal', values: ['*frontend'] }), {}, anonymous);
      matchesOnly(when({ key: 'source.serviceAccount', values: ['frontend'] }), {}, source('x', 'frontend'));
    });
    it('a server name, which no request has', () => {
      const rules = [when({ key: 'connection.sni', values: ['*'] })];
      assert.equal(decide({ action: Action.DENY, rules }, head()), 'allow');
      assert.equal(decide({ action: Action.ALLOW, rules }, head()), 'deny');
    });
  });

  describe('opaque connections', () => {
    const connection = { source: head().source, port: 5432, destinationIp: '10.96.0.7' };
    const verdict = (action: Action, rule: object): string =>
      new Authorizer([policy({ action, rules: [rule] })]).evaluateConnection(connection).verdict;

    it('are judged by what can be seen of them', () => {
      assert.equal(verdict(Action.ALLOW, to({ ports: ['5432'] })), 'allow');
      assert.equal(verdict(Action.DENY, from({ namespaces: ['shop'] })), 'deny');
      assert.equal(verdict(Action.DENY, from({ namespaces: ['other'] })), 'allow');
    });
    for (const rule of [
      to({ methods: ['GET'] }),
      to({ notPaths: ['/x'] }),
      to({ hosts: ['a'] }),
      from({ requestPrincipals: ['*'] }),
      from({ notRequestPrincipals: ['*'] }),
      when({ key: 'request.headers[x]', notValues: ['y'] }),
      when({ key: 'request.auth.claims[x]', values: ['y'] }),
      when({ key: 'connection.sni', values: ['a.example'] }),
    ])
      it(`are held to what cannot be seen: ${JSON.stringify(rule)}`, () => {
        assert.equal(verdict(Action.ALLOW, rule), 'deny');
        assert.equal(verdict(Action.DENY, rule), 'deny');
      });
    it('still have a DENY narrowed by what can be seen', () => {
      assert.equal(
        verdict(Action.DENY, { ...from({ namespaces: ['other'] }), ...to({ methods: ['GET'] }) }),
        'allow',
      );
    });
  });
});
