import assert from 'node:assert/strict';
import { toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { decodePolicy } from '../../../../../lib/mesh/state/decode-policy.ts';
import { PolicyStore } from '../../../../../lib/mesh/state/policy-store.ts';
import { AuthorizationSchema } from '../../../../../proto/gen/istio/security/authorization_pb.js';
import { evaluate } from '../../../../../lib/mesh/policy/evaluate.ts';
import { admits, type Connection } from '../evaluators.ts';
import {
  gateway,
  meshOf,
  namespace,
  outcome,
  pod,
  policiesOf,
  policy,
  service,
  workload,
} from './mesh-of.ts';

const SHOP = namespace('shop');
const WAYS = ['way', 'other', 'missing'] as const;
/** `closed` does not admit the namespace. */
const GATEWAYS = [gateway('way'), gateway('other'), gateway('closed', 'shop', 'None')];

const as = (account: string | undefined, port: number): Connection => ({
  ...(account === undefined ? {} : { source: { namespace: 'shop', account } }),
  sourceIp: '198.18.0.9',
  destIp: '198.18.0.1',
  port,
});

describe('no way round a waypoint', () => {
  it('holds for every port of every Service, whatever the policies: only its waypoints get through', () => {
    const services = fc.uniqueArray(
      fc.record({
        name: fc.constantFrom('a', 'b', 'c', 'd'),
        target: fc.constantFrom('8080', '9090', 'web'),
        use: fc.option(fc.constantFrom(...WAYS, 'closed', 'none'), { nil: undefined }),
      }),
      { selector: ({ name }) => name, maxLength: 4 },
    );
    const allows = fc.boolean();
    const homeWay = fc.option(fc.constantFrom('way', 'missing'), { nil: undefined });
    fc.assert(
      fc.property(services, allows, homeWay, (all, allowEverything, home) => {
        const mesh = meshOf([
          namespace('shop', home === undefined ? '' : `, loam.dev/use-waypoint: ${home}`),
          ...GATEWAYS,
          pod('p', 'p'),
          ...all.map(({ name, target, use }) => service(name, 'p', `{port: 80, targetPort: ${target}}`, use)),
          ...(allowEverything ? [policy('AuthorizationPolicy', 'open', '{rules: [{}]}')] : []),
        ]);
        const policies = policiesOf(mesh, 'p');
        for (const port of [8080, 9090, 7070]) {
          const ways = all
            .filter(({ target }) => (target === 'web' ? 8080 : Number(target)) === port)
            .map(({ use }) => use ?? home ?? 'none')
            .filter((use) => use !== 'none');
          for (const account of ['way', 'other', 'missing', 'closed', 'frontend', undefined]) {
            const isOpen = ways.length === 0;
            const isWay = account === 'way' || account === 'other' ? ways.includes(account) : false;
            assert.equal(
              admits(policies, as(account, port)),
              isOpen || isWay,
              `${account} at ${port} with ${ways.join()}`,
            );
          }
        }
      }),
      { numRuns: 60 },
    );
  });

  it('is told by a node with port and waypoint', () => {
    const mesh = meshOf([
      SHOP,
      ...GATEWAYS,
      pod('p', 'p'),
      service('s', 'p', '{port: 80, targetPort: web}', 'way'),
    ]);
    const store = new PolicyStore();
    const upserts = policiesOf(mesh, 'p').map((each) => {
      const decoded = decodePolicy(`${each.namespace}/${each.name}`, toBinary(AuthorizationSchema, each));
      assert.deepEqual(decoded.errors, []);
      return decoded.policy;
    });
    store.apply({ upserts, removed: [] });
    const destination = {
      namespace: 'shop',
      authorizationPolicies: workload(mesh, 'p').authorizationPolicies,
    };
    const facts = { sourceIp: '198.18.0.9', destIp: '198.18.0.1', destPort: 8080 };
    const verdict = evaluate(store, destination, facts);
    assert(verdict.verdict === 'deny');
    assert.equal(
      verdict.reason,
      'port 8080 is reached only through waypoint shop/way (shop/loam_waypoint_8080_shop_way)',
    );
    const identity = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'way' };
    assert.equal(evaluate(store, destination, { ...facts, sourceIdentity: identity }).verdict, 'allow');
    assert.equal(evaluate(store, destination, { ...facts, destPort: 81 }).verdict, 'allow');
  });

  it('guards neither pods outside of the mesh nor the waypoint itself', () => {
    const mesh = meshOf([
      SHOP,
      ...GATEWAYS,
      pod('p', 'p', ', loam.dev/dataplane-mode: none'),
      service('s', 'p', '{port: 80}', 'way'),
    ]);
    assert.deepEqual(workload(mesh, 'p').authorizationPolicies, []);
    assert.equal(mesh.authorizations.size, 0);
  });

  it('says where a Gateway does not exist, at the Namespace and at the Service', () => {
    const mesh = meshOf([
      namespace('shop', ', loam.dev/use-waypoint: lost'),
      pod('p', 'p'),
      service('s', 'p', '{port: 80}'),
    ]);
    assert.match(outcome(mesh, 'Namespace//shop').message, /waypoint shop\/lost does not exist/);
    assert.match(outcome(mesh, 'Service/shop/s').message, /refused: there is no Gateway shop\/lost/);
    assert.equal(admits(policiesOf(mesh, 'p'), as('lost', 80)), false);
  });

  it('says at a Service without a waypoint that its pods’ port is another’s', () => {
    const mesh = meshOf([
      SHOP,
      ...GATEWAYS,
      pod('p', 'p'),
      service('s', 'p', '{port: 80, targetPort: 8080}', 'way'),
      service('t', 'p', '{port: 81, targetPort: 8080}'),
    ]);
    assert.match(
      outcome(mesh, 'Service/shop/t').message,
      /port 8080 of its pod shop\/p .* waypoint shop\/way/,
    );
    assert.doesNotMatch(outcome(mesh, 'Service/shop/s').message, /port 8080/);
  });

  it('leads the clients of a headless Service through its waypoint, and leaves other pods', () => {
    const mesh = meshOf([
      SHOP,
      ...GATEWAYS,
      pod('p', 'p'),
      pod('q', 'q'),
      service('s', 'p', '{port: 8080}', 'way', ', clusterIP: None'),
      service('t', 'q', '{port: 8080}', 'way'),
    ]);
    const way = workload(mesh, 'p').waypoint?.destination.value;
    assert(way?.$typeName === 'istio.workload.NamespacedHostname');
    assert.equal(way.hostname, 'way.shop.svc.cluster.local');
    assert.equal(workload(mesh, 'q').waypoint, undefined);
  });

  it('takes the pod’s own waypoint too', () => {
    const mesh = meshOf([
      SHOP,
      ...GATEWAYS,
      gateway('pods', 'shop', 'All', 'loam.dev/waypoint-for: workload'),
      pod('p', 'p', ', loam.dev/use-waypoint: pods'),
      service('s', 'p', '{port: 8080}', 'way'),
    ]);
    for (const account of ['way', 'pods'])
      assert.equal(admits(policiesOf(mesh, 'p'), as(account, 8080)), true);
    assert.equal(admits(policiesOf(mesh, 'p'), as('frontend', 8080)), false);
  });
});

describe('selector policies behind a waypoint', () => {
  const mesh = (spec: string, kind = 'AuthorizationPolicy') =>
    meshOf([
      SHOP,
      ...GATEWAYS,
      pod('p', 'p'),
      service('s', 'p', '{port: 8080}', 'way'),
      policy(kind, 'x', spec),
    ]);
  const told = (spec: string): string => outcome(mesh(spec), 'AuthorizationPolicy/shop/x').message;

  it('warn where an ALLOW does not admit the waypoint', () => {
    const spec = '{rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/frontend]}}]}]}';
    assert.match(told(spec), /behind waypoint shop\/way, whose identity it does not allow.*targetRefs/);
    assert.match(told(spec.replace('{rules', '{selector: {matchLabels: {app: p}}, rules')), /targetRefs/);
    assert.doesNotMatch(told(spec.replace('frontend', 'way')), /targetRefs/);
    assert.doesNotMatch(told('{selector: {matchLabels: {app: q}}, rules: []}'), /targetRefs/);
  });
  it('say nothing of a DENY, which the waypoint asks on behalf of its clients', () => {
    const spec = '{action: DENY, rules: [{from: [{source: {namespaces: [evil]}}]}]}';
    assert.doesNotMatch(told(spec), /behind waypoint/);
    assert.doesNotMatch(told(spec.replace('[evil]', '[shop]')), /targetRefs/);
    assert.doesNotMatch(told('{action: DENY, rules: []}'), /targetRefs/);
    assert.doesNotMatch(
      told('{action: DENY, rules: [{to: [{operation: {ports: ["9090"]}}]}]}'),
      /targetRefs/,
    );
  });
  it('warn where requests would have to be seen', () => {
    assert.match(
      told('{action: DENY, rules: [{to: [{operation: {methods: [POST]}}]}]}'),
      /cannot be seen at the pods \(rules\[0\].to\[0\].operation.methods\).*targetRefs/,
    );
  });
});
