import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { accept } from '../../../../controller/sources/accept.ts';
import { readManifest } from '../../../../controller/sources/read-object.ts';
import type { Problem } from '../../../../controller/sources/source.ts';
import { MANIFESTS, policyManifest } from '../harness.ts';

const CONTEXT = { rootNamespace: 'loam-system', trustDomain: 'cluster.local' };
const FRONTEND = 'cluster.local/ns/shop/sa/frontend';

function warningsOf(...texts: readonly string[]): readonly Problem[] {
  const files = texts.map((text, i) => ({ file: `${i}.yaml`, documents: readManifest(`${i}.yaml`, text) }));
  const { problems } = accept(files, new Map(), CONTEXT);
  for (const { severity, message } of problems) assert.equal(severity, 'warning', message);
  return problems;
}

function policy(spec: string, namespace = 'shop'): string {
  return `apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: ${namespace}}\nspec: ${spec}\n`;
}

function peerAuthentication(spec: string, namespace = 'shop'): string {
  return `apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: p, namespace: ${namespace}}\nspec: ${spec}\n`;
}

function service(spec: string): string {
  return `apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: shop}\nspec: ${spec}\n`;
}

function allow(source: string): string {
  return policy(`{rules: [{from: [{source: ${source}}]}]}`);
}

describe('sources/warnings', () => {
  it('has nothing to say of an ordinary set', () => {
    assert.deepEqual(warningsOf(MANIFESTS, policyManifest(FRONTEND)), []);
  });

  const changed: readonly [what: string, from: string, to: string, field: string, message: RegExp][] = [
    ['a pod without a node', 'nodeName: node-a, ', '', 'spec.nodeName', /runs nowhere/],
    [
      'a Service that selects nothing',
      'selector: {app: payments}',
      'selector: {app: payment}',
      'spec.selector',
      /selects no Pod: none of namespace shop has the labels app=payment$/,
    ],
    [
      'a port name that no container has',
      'targetPort: web',
      'targetPort: wep',
      'spec.ports[0].targetPort',
      /no container port of Pod payments-0 has the name "wep"/,
    ],
    [
      'a label of Istio',
      'loam.dev/dataplane-mode',
      'istio.io/dataplane-mode',
      'metadata.labels["istio.io/dataplane-mode"]',
      /no effect here; did you mean loam\.dev\/dataplane-mode\?/,
    ],
  ];
  for (const [what, from, to, field, message] of changed) {
    it(`warns of ${what}`, () => {
      const [warning, ...more] = warningsOf(MANIFESTS.replace(from, to));
      assert.deepEqual(more, []);
      assert.equal(warning?.field, field);
      assert.match(warning.message, message);
      assert(warning.file === '0.yaml' && warning.line !== undefined && warning.object !== undefined);
    });
  }

  it('warns of a command for a container that does not exist, and of the one without', () => {
    const [stray, idle] = warningsOf(MANIFESTS.replace('command.main', 'command.mian'));
    assert.match(stray?.message ?? '', /no container "mian"; did you mean "main"\?/);
    assert.equal(stray?.allowed, 'local.loam.dev/command.main');
    assert.match(idle?.message ?? '', /container main has no command/);
  });

  const added: readonly [what: string, yaml: string, field: string, message: RegExp][] = [
    [
      'a Service of UDP alone',
      service('{selector: {app: payments}, ports: [{port: 53, protocol: UDP}]}'),
      'spec.ports',
      /TCP alone, not 53\/UDP; the Service has no other port/,
    ],
    [
      'a policy that selects nothing',
      policy('{selector: {matchLabels: {app: paymentz}}}'),
      'spec.selector',
      /app=paymentz/,
    ],
    [
      'a PeerAuthentication that selects nothing',
      peerAuthentication('{selector: {matchLabels: {app: b}}}'),
      'spec.selector',
      /selects no Pod/,
    ],
    [
      'a policy in a namespace without pods',
      policy('{}', 'default'),
      'metadata.namespace',
      /there is none in namespace default/,
    ],
    [
      'a principal whose account does not exist',
      allow('{principals: [cluster.local/ns/shop/sa/frontent]}'),
      'spec.rules[0].from[0].source.principals[0]',
      /no ServiceAccount "frontent" in namespace shop; did you mean "frontend"\?/,
    ],
    [
      'a principal of another trust domain',
      allow('{notPrincipals: [other/ns/shop/sa/frontend]}'),
      'spec.rules[0].from[0].source.notPrincipals[0]',
      /"other" is not the trust domain/,
    ],
    [
      'a principal that is none',
      allow('{principals: ["*", shop/frontend]}'),
      'spec.rules[0].from[0].source.principals[1]',
      /nobody has the identity "shop\/frontend"/,
    ],
    [
      'an account that does not exist',
      allow('{serviceAccounts: [frontend, shop/payments, shop/default, none]}'),
      'spec.rules[0].from[0].source.serviceAccounts[3]',
      /no ServiceAccount "none"/,
    ],
    [
      'a namespace that does not exist',
      allow('{namespaces: [shop, kube-system, shopp]}'),
      'spec.rules[0].from[0].source.namespaces[2]',
      /no Namespace "shopp"; did you mean "shop"\?/,
    ],
    [
      'a condition on a principal whose account does not exist',
      policy(
        '{rules: [{when: [{key: source.principal, values: [cluster.local/ns/shopp/sa/frontend, "*/sa/x"]}]}]}',
      ),
      'spec.rules[0].when[0].values[0]',
      /no Namespace "shopp"/,
    ],
    [
      'a kind that is not read',
      'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: w, namespace: shop}\n',
      'kind',
      /does not read the kind "Deployment"/,
    ],
  ];
  for (const [what, yaml, field, message] of added) {
    it(`warns of ${what}`, () => {
      const [warning, ...more] = warningsOf(MANIFESTS, yaml);
      assert.deepEqual(more, []);
      assert.equal(warning?.field, field);
      assert.match(warning.message, message);
      assert.deepEqual([warning.file, warning.line], ['1.yaml', 1]);
    });
  }

  it('lets policies of the root namespace be about pods of all others', () => {
    assert.deepEqual(
      warningsOf(MANIFESTS, policy('{selector: {matchLabels: {app: payments}}}', 'loam-system')),
      [],
    );
    assert.deepEqual(warningsOf(MANIFESTS, peerAuthentication('{mtls: {mode: STRICT}}', 'loam-system')), []);
    const [own] = warningsOf(
      MANIFESTS,
      peerAuthentication('{selector: {matchLabels: {app: payments}}}', 'loam-system'),
    );
    assert.match(own?.message ?? '', /none of namespace loam-system/);
  });
});
