import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { CompiledMesh } from '../../../../../controller/compile/mesh.ts';
import {
  gateway,
  meshOf,
  namespace,
  outcome,
  pod,
  policiesOf,
  policy,
  service,
  waypointResource,
} from './mesh-of.ts';

const BASE = [
  namespace('shop'),
  gateway('way'),
  gateway('other'),
  pod('p', 'p'),
  service('web', 'p', '{port: 80}', 'way'),
  service('api', 'p', '{port: 81}', 'other'),
  service('plain', 'p', '{port: 82}'),
];
const to = (kind: string, name: string, group = ''): string =>
  `[{kind: ${kind}, name: ${name}, group: "${group}"}]`;
const K8S = 'gateway.networking.k8s.io';

function names(mesh: CompiledMesh, waypoint: string, name: string): [string[], string[]] {
  const kind = waypointResource(mesh, waypoint, `service/shop/${name}.shop.svc.cluster.local`);
  assert(kind.case === 'service');
  return [kind.value.authorization, kind.value.authentication];
}

describe('policies at waypoints', () => {
  it('compiles an AuthorizationPolicy as it is written, for the waypoint of its Service alone', () => {
    const mesh = meshOf([
      ...BASE,
      policy(
        'AuthorizationPolicy',
        'x',
        `{targetRefs: ${to('Service', 'web')}, action: DENY, rules: [{
          from: [{source: {serviceAccounts: [frontend, other/y], notIpBlocks: [10.0.0.0/8]}}],
          to: [{operation: {methods: [POST], paths: ["/a/{*}"]}}],
          when: [{key: "request.headers[x]", notValues: [y]}]}]}`,
      ),
    ]);
    const kind = waypointResource(mesh, 'shop/way', 'authorization/shop/x');
    assert(kind.case === 'authorization');
    const [rule] = kind.value.rules;
    assert.equal(kind.value.action, 1);
    assert.deepEqual(rule?.from[0]?.serviceAccounts, ['shop/frontend', 'other/y']);
    assert.deepEqual(rule?.from[0]?.notIpBlocks, ['10.0.0.0/8']);
    assert.deepEqual([rule?.to[0]?.methods, rule?.to[0]?.paths], [['POST'], ['/a/{*}']]);
    assert.deepEqual([rule?.when[0]?.key, rule?.when[0]?.notValues], ['request.headers[x]', ['y']]);
    assert.deepEqual(names(mesh, 'shop/way', 'web'), [['shop/x'], []]);
    assert.deepEqual(names(mesh, 'shop/other', 'api'), [[], []]);
    assert.equal(mesh.waypoints.get('shop/other')?.has('authorization/shop/x'), false);
    const { state, message, compiledTo } = outcome(mesh, 'AuthorizationPolicy/shop/x');
    assert.deepEqual([state, message], ['accepted', 'waypoint shop/way denies by 1 rule']);
    assert.deepEqual(compiledTo, ['Waypoint shop/way authorization/shop/x']);
    assert.deepEqual(
      policiesOf(mesh, 'p').filter(({ name }) => name === 'x'),
      [],
      'no more at L4',
    );
  });

  it('keeps at the pods what is for a Service without a waypoint', () => {
    const refs = '[{kind: Service, name: web, group: ""}, {kind: Service, name: plain, group: ""}]';
    const mesh = meshOf([...BASE, policy('AuthorizationPolicy', 'x', `{targetRefs: ${refs}}`)]);
    assert.equal(policiesOf(mesh, 'p').filter(({ name }) => name === 'x').length, 1);
    const { state, message } = outcome(mesh, 'AuthorizationPolicy/shop/x');
    assert.equal(state, 'pending');
    assert.match(message, /Service plain.*waypoint shop\/way allows nothing by it/);
  });

  it('attaches to a Gateway, and from the root namespace to the class', () => {
    const mesh = meshOf([
      ...BASE,
      policy('AuthorizationPolicy', 'one', `{targetRefs: ${to('Gateway', 'way', K8S)}}`),
      policy(
        'AuthorizationPolicy',
        'all',
        `{targetRefs: ${to('GatewayClass', 'loam-waypoint', K8S)}}`,
        'loam-system',
      ),
      policy('AuthorizationPolicy', 'wrong', `{targetRefs: ${to('GatewayClass', 'loam-waypoint', K8S)}}`),
      policy('AuthorizationPolicy', 'lost', `{targetRefs: ${to('Gateway', 'lost', K8S)}}`),
      policy(
        'AuthorizationPolicy',
        'entry',
        `{targetRefs: ${to('ServiceEntry', 'e', 'networking.istio.io')}}`,
      ),
    ]);
    assert.deepEqual(names(mesh, 'shop/way', 'web')[0], ['loam-system/all', 'shop/one']);
    assert.deepEqual(names(mesh, 'shop/other', 'api')[0], ['loam-system/all']);
    const pending: Record<string, RegExp> = {
      wrong: /root namespace \(loam-system\) only/,
      lost: /no Gateway shop\/lost/,
      entry: /ServiceEntry e has no waypoint/,
    };
    for (const [name, text] of Object.entries(pending)) {
      const { state, message } = outcome(mesh, `AuthorizationPolicy/shop/${name}`);
      assert.equal(state, 'pending');
      assert.match(message, text);
    }
  });

  it('compiles a RequestAuthentication in full', () => {
    const rule = `{issuer: "https://id", audiences: [a], jwksUri: "file:///etc/loam/jwks/keys.json", timeout: 2s,
      fromHeaders: [{name: X-Jwt, prefix: "Token "}], fromParams: [t], fromCookies: [c], forwardOriginalToken: true,
      outputPayloadToHeader: X-Payload, outputClaimToHeaders: [{header: X-User, claim: sub}]}`;
    const mesh = meshOf([
      ...BASE,
      policy('RequestAuthentication', 'ids', `{targetRefs: ${to('Service', 'web')}, jwtRules: [${rule}]}`),
    ]);
    const kind = waypointResource(mesh, 'shop/way', 'authentication/shop/ids');
    assert(kind.case === 'authentication');
    const [jwt] = kind.value.jwtRules;
    assert(jwt !== undefined);
    assert.deepEqual(
      [jwt.issuer, jwt.audiences, jwt.jwksUri],
      ['https://id', ['a'], 'file:///etc/loam/jwks/keys.json'],
    );
    assert.deepEqual([jwt.fromHeaders[0]?.name, jwt.fromHeaders[0]?.prefix], ['x-jwt', 'Token ']);
    assert.deepEqual([jwt.fromParams, jwt.fromCookies], [['t'], ['c']]);
    assert.deepEqual([jwt.outputPayloadToHeader, jwt.forwardOriginalToken], ['x-payload', true]);
    assert.deepEqual([jwt.outputClaimToHeaders[0]?.header, jwt.timeout], ['x-user', 2000]);
    assert.deepEqual(names(mesh, 'shop/way', 'web'), [[], ['shop/ids']]);
    assert.match(outcome(mesh, 'RequestAuthentication/shop/ids').message, /verifies tokens of https:\/\/id/);
  });

  it('leaves a RequestAuthentication pending where no waypoint verifies by it', () => {
    const state = (spec: string): string[] => {
      const mesh = meshOf([...BASE, policy('RequestAuthentication', 'ids', spec)]);
      const { state: found, message } = outcome(mesh, 'RequestAuthentication/shop/ids');
      return [found, message];
    };
    assert.match(state('{}').join(), /pending,only waypoints see requests/);
    assert.match(
      state(`{targetRefs: ${to('Service', 'plain')}}`).join(),
      /pending,Service shop\/plain has no waypoint/,
    );
  });
});
