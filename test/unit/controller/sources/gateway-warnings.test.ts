import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { accept } from '../../../../controller/sources/accept.ts';
import { readManifest } from '../../../../controller/sources/read-object.ts';

function warningsOf(...yaml: string[]): string[] {
  const files = [{ file: 'a.yaml', documents: readManifest('a.yaml', yaml.join('---')) }];
  const { problems } = accept(files, new Map(), {
    rootNamespace: 'loam-system',
    trustDomain: 'cluster.local',
  });
  assert.deepEqual(
    problems.filter(({ severity }) => severity === 'error'),
    [],
  );
  return problems.map(({ field = '', message, allowed = '' }) => `${field}: ${message}; ${allowed}`);
}

const namespace = (labels: string): string => `
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: ${labels}}
`;
const SERVICE = `
apiVersion: v1
kind: Service
metadata: {name: payments, namespace: shop}
spec: {ports: [{port: 80}]}
`;
const gateway = (className: string): string => `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: shop}
spec: {gatewayClassName: ${className}, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
`;
const route = (spec: string): string => `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, namespace: shop}
spec: ${spec}
`;

describe('warnings about waypoints and routes', () => {
  it("name a class that is nearly Loam's, or Istio's waypoint, and no other", () => {
    for (const wrong of ['loam-waypont', 'istio-waypoint'])
      assert.deepEqual(warningsOf(namespace('{}'), gateway(wrong)), [
        'spec.gatewayClassName: no waypoint runs for a Gateway of this class; did you mean "loam-waypoint"?; ',
      ]);
    for (const right of ['loam-waypoint', 'nginx'])
      assert.deepEqual(warningsOf(namespace('{}'), gateway(right)), []);
  });

  it('name a waypoint that does not exist, with the one that is meant', () => {
    const found = warningsOf(namespace('{loam.dev/use-waypoint: waypiont}'), gateway('loam-waypoint'));
    assert.equal(found.length, 1);
    assert.match(
      found[0] ?? '',
      /^metadata\.labels\["loam\.dev\/use-waypoint"\]: there is no Gateway "waypiont".*did you mean "waypoint"\?; waypoint$/,
    );
  });

  it('name a Gateway of another class', () => {
    const found = warningsOf(namespace('{loam.dev/use-waypoint: waypoint}'), gateway('nginx'));
    assert.match(found.join(), /Gateway shop\/waypoint is of class nginx/);
  });

  it('say nothing of one that exists, of opting out, and of routes that lead somewhere', () => {
    assert.deepEqual(
      warningsOf(namespace('{loam.dev/use-waypoint: waypoint}'), gateway('loam-waypoint')),
      [],
    );
    const spec =
      '{parentRefs: [{group: "", kind: Service, name: payments}], rules: [{backendRefs: [{name: payments, port: 80}]}]}';
    assert.deepEqual(warningsOf(namespace('{loam.dev/use-waypoint: none}'), SERVICE, route(spec)), []);
  });

  it('name parents, backends and mirrors that do not exist', () => {
    const mirror = '{type: RequestMirror, requestMirror: {backendRef: {name: b, port: 80}}}';
    const spec = `{parentRefs: [{group: "", kind: Service, name: paymnets}],
      rules: [{filters: [${mirror}], backendRefs: [{name: payments, port: 81}, {name: a, namespace: other, port: 1}]}]}`;
    assert.deepEqual(warningsOf(namespace('{}'), SERVICE, route(spec)), [
      'spec.parentRefs[0].name: there is no Service "paymnets" in namespace shop; did you mean "payments"?; payments',
      'spec.rules[0].backendRefs[0].port: Service shop/payments has no TCP port 81; 80',
      'spec.rules[0].backendRefs[1].name: there is no Service "a" in namespace other; ',
      'spec.rules[0].filters[0].requestMirror.backendRef.name: there is no Service "b" in namespace shop; payments',
    ]);
  });
});
