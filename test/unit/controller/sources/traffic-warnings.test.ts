import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { accept } from '../../../../controller/sources/accept.ts';
import { readManifest } from '../../../../controller/sources/read-object.ts';
import type { Problem } from '../../../../controller/sources/source.ts';

const SHOP = `
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Namespace
metadata: {name: other}
---
apiVersion: v1
kind: Service
metadata: {name: payments, namespace: shop}
spec: {clusterIP: 10.0.0.1, selector: {app: payments}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: elsewhere, namespace: shop}
spec: {type: ExternalName, externalName: example.org}
---
apiVersion: v1
kind: Service
metadata: {name: spare, namespace: other}
spec: {clusterIP: 10.0.0.2, selector: {app: spare}, ports: [{port: 80}]}
`;

function warningsOf(spec: string, more = ''): Problem[] {
  const policy = `
---
apiVersion: loam.dev/v1
kind: TrafficPolicy
metadata: {name: p, namespace: shop}
spec: {${spec}}
`;
  const documents = readManifest('m.yaml', SHOP + policy + more);
  const { problems, objects } = accept([{ file: 'm.yaml', documents }], new Map(), {
    rootNamespace: 'istio-system',
    trustDomain: 'cluster.local',
  });
  assert(objects.has('TrafficPolicy/shop/p'), JSON.stringify(problems));
  return problems.filter(({ object }) => object?.kind === 'TrafficPolicy');
}

const TARGET = 'targetRefs: [{kind: Service, name: payments}]';

describe('warnings about a TrafficPolicy', () => {
  it('are none where all that it names is there', () => {
    assert.deepEqual(warningsOf(`${TARGET}, timeouts: {}`), []);
  });

  it('name a target that is not there, with a guess', () => {
    const [found, ...rest] = warningsOf('targetRefs: [{kind: Service, name: paymens}], timeouts: {}');
    assert.deepEqual(rest, []);
    assert.equal(found?.severity, 'warning');
    assert.equal(found.field, 'spec.targetRefs[0].name');
    assert.equal(found.value, '"paymens"');
    assert.equal(found.message, 'there is no Service "paymens" in namespace shop; did you mean "payments"?');
    assert.match(found.allowed ?? '', /payments/);
  });

  const cases: readonly (readonly [fallback: string, field: string, message: RegExp, allowed?: RegExp])[] = [
    ['service: standby, port: 80', 'spec.fallback.service', /there is no Service shop\/standby/, /payments/],
    ['service: spar, namespace: shop, port: 80', 'spec.fallback.service', /no Service shop\/spar/],
    // The mesh does not carry it.
    ['service: elsewhere, port: 80', 'spec.fallback.service', /there is no Service shop\/elsewhere/],
  ];
  for (const [fallback, field, message, allowed] of cases) {
    it(`name a fallback that cannot be used: ${fallback}`, () => {
      const [found, ...rest] = warningsOf(`${TARGET}, fallback: {${fallback}}`);
      assert.deepEqual(rest, []);
      assert.equal(found?.field, field);
      assert.match(found.message, message);
      if (allowed !== undefined) assert.match(found.allowed ?? '', allowed);
    });
  }

  const GRANT = `
---
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: g, namespace: other}
spec: {from: [{group: loam.dev, kind: TrafficPolicy, namespace: shop}], to: [{group: "", kind: Service}]}
`;

  it('tell nothing of another namespace without its permission', () => {
    const [found] = warningsOf(`${TARGET}, fallback: {service: spar, namespace: other, port: 80}`);
    assert.equal(found?.field, 'spec.fallback.namespace');
    assert.match(found.message, /no ReferenceGrant in namespace other/);
    assert(!JSON.stringify(found).includes('spare'));
  });

  it('tell the names and ports of another namespace with its permission', () => {
    const [name] = warningsOf(`${TARGET}, fallback: {service: spar, namespace: other, port: 80}`, GRANT);
    assert.match(name?.message ?? '', /did you mean "spare"/);
    const [port] = warningsOf(`${TARGET}, fallback: {service: spare, namespace: other, port: 81}`, GRANT);
    assert.equal(port?.field, 'spec.fallback.port');
    assert.equal(port.allowed, '80');
    assert.deepEqual(
      warningsOf(`${TARGET}, fallback: {service: spare, namespace: other, port: 80}`, GRANT),
      [],
    );
  });
});
