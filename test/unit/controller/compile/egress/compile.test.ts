import assert from 'node:assert/strict';
import { fromBinary } from '@bufbuild/protobuf';
import { describe, it } from 'mocha';
import { compileMesh, type CompiledMesh } from '../../../../../controller/compile/mesh.ts';
import { readManifest } from '../../../../../controller/sources/read-object.ts';
import { ResourceSchema, UnknownDestinations } from '../../../../../proto/gen/loam/egress/v1/egress_pb.js';
import { ASSIGNMENTS, MANIFESTS } from '../../harness.ts';

const UID = { frontend: 'Kubernetes//Pod/shop/frontend-0', payments: 'Kubernetes//Pod/shop/payments-0' };

function compile(yaml: string, manifests = MANIFESTS): CompiledMesh {
  const objects = readManifest('test.yaml', `${manifests}\n---\n${yaml}`).map((document) => {
    assert(document.type === 'object', JSON.stringify(document));
    return document.object;
  });
  return compileMesh({
    objects,
    assignments: ASSIGNMENTS,
    clusterId: 'Kubernetes',
    trustDomain: 'cluster.local',
    rootNamespace: 'istio-system',
  });
}

function egress(name: string, spec: string, namespace = 'shop'): string {
  return `{apiVersion: loam.dev/v1, kind: EgressPolicy, metadata: {name: ${name}, namespace: ${namespace}}, spec: ${spec}}\n---\n`;
}

function resource(mesh: CompiledMesh, node: string, name: string) {
  const found = mesh.egress.byNode.get(node)?.get(name);
  assert(found !== undefined, `${node} has no ${name}`);
  return fromBinary(ResourceSchema, found.bytes).kind;
}

function policiesOf(mesh: CompiledMesh, node: string, uid: string): readonly string[] {
  const { case: kind, value } = resource(mesh, node, `workload/${uid}`);
  assert(kind === 'workload');
  return value.policies;
}

function refuses(mesh: CompiledMesh, node: string, uid: string): boolean {
  const { case: kind, value } = resource(mesh, node, `workload/${uid}`);
  assert(kind === 'workload');
  return value.unknownDestinations === UnknownDestinations.REFUSE;
}

describe('compile/egress', () => {
  it('tells each node of its own pods, and of all policies', () => {
    const mesh = compile(
      egress('front', '{selector: {matchLabels: {app: frontend}}, allow: [{services: [{name: payments}]}]}') +
        egress('all', '{allow: [{ports: [{port: 443}]}]}'),
    );
    const names = (node: string) => [...(mesh.egress.byNode.get(node)?.keys() ?? [])].sort();
    assert.deepEqual(names('node-a'), ['policy/shop/all', 'policy/shop/front', `workload/${UID.frontend}`]);
    assert.deepEqual(names('node-b'), ['policy/shop/all', 'policy/shop/front', `workload/${UID.payments}`]);
    assert.deepEqual(policiesOf(mesh, 'node-b', UID.payments), ['shop/all']);
    assert.deepEqual(policiesOf(mesh, 'node-a', UID.frontend), ['shop/all', 'shop/front']);
    const { case: kind, value } = resource(mesh, 'node-a', 'policy/shop/front');
    assert(kind === 'policy');
    assert.deepEqual(
      value.rules[0]?.services.map(({ key }) => key),
      ['shop/payments.shop.svc.cluster.local'],
    );
  });

  it('has a resource for every pod, also where nothing is restricted, and for those outside the mesh', () => {
    const mesh = compile('', MANIFESTS.replace('ambient', 'none'));
    assert.deepEqual(policiesOf(mesh, 'node-a', UID.frontend), []);
    assert.equal(refuses(mesh, 'node-a', UID.frontend), false);
  });

  it('selects in every namespace from the root namespace, and in its own from any other', () => {
    const inRoot = compile(egress('all', '{}', 'istio-system'));
    assert.deepEqual(policiesOf(inRoot, 'node-b', UID.payments), ['istio-system/all']);
    const labelled = compile(egress('front', '{selector: {matchLabels: {app: frontend}}}', 'istio-system'));
    assert.deepEqual(policiesOf(labelled, 'node-a', UID.frontend), ['istio-system/front']);
    assert.deepEqual(policiesOf(labelled, 'node-b', UID.payments), []);
    const elsewhere = compile(egress('all', '{}', 'default'));
    assert.deepEqual(policiesOf(elsewhere, 'node-a', UID.frontend), []);
    assert.match(elsewhere.outcomes.get('EgressPolicy/default/all')?.message ?? '', /selects no pod/);
  });

  it('takes a selector without labels for none', () => {
    const mesh = compile(egress('all', '{selector: {matchLabels: {}}}'));
    assert.deepEqual(policiesOf(mesh, 'node-b', UID.payments), ['shop/all']);
  });

  it('says in the status which pods are selected, what that allows, and what is selected in vain', () => {
    const mesh = compile(
      egress('all', '{}'),
      MANIFESTS.replace(
        '{app: payments}, annotations',
        '{app: payments, loam.dev/dataplane-mode: none}, annotations',
      ),
    );
    const outcome = mesh.outcomes.get('EgressPolicy/shop/all');
    assert.match(outcome?.message ?? '', /selects shop\/frontend-0; allows nothing/);
    assert.deepEqual(outcome?.warnings, ['not enforced for what is not in the mesh: shop/payments-0']);
    assert.deepEqual(outcome?.compiledTo, ['Egress policy/shop/all']);
    assert.deepEqual([...(mesh.egress.enforcers.get('EgressPolicy/shop/all') ?? [])], ['node-a']);
  });

  it('refuses unknown destinations as the mesh says, and as the namespace says in its place', () => {
    const settings = (policy: string) =>
      `{apiVersion: loam.dev/v1, kind: MeshSettings, metadata: {name: mesh}, spec: {outboundTrafficPolicy: ${policy}}}`;
    const labelled = (value: string) =>
      MANIFESTS.replace(
        '{loam.dev/dataplane-mode: ambient}',
        `{loam.dev/dataplane-mode: ambient, loam.dev/outbound-traffic-policy: ${value}}`,
      );
    assert.equal(refuses(compile(settings('REGISTRY_ONLY')), 'node-a', UID.frontend), true);
    assert.equal(refuses(compile(settings('ALLOW_ANY')), 'node-a', UID.frontend), false);
    assert.equal(
      refuses(compile(settings('REGISTRY_ONLY'), labelled('allow-any')), 'node-a', UID.frontend),
      false,
    );
    const byNamespace = compile('', labelled('registry-only'));
    assert.equal(refuses(byNamespace, 'node-b', UID.payments), true);
    assert.deepEqual([...(byNamespace.egress.enforcers.get('Namespace//shop') ?? [])].sort(), [
      'node-a',
      'node-b',
    ]);
    const byMesh = compile(settings('REGISTRY_ONLY'));
    assert.deepEqual([...(byMesh.egress.enforcers.get('MeshSettings//mesh') ?? [])].sort(), [
      'node-a',
      'node-b',
    ]);
    assert.match(byMesh.outcomes.get('MeshSettings//mesh')?.message ?? '', /are refused/);
  });

  it('gives equal bytes for equal input', () => {
    const yaml = egress('front', '{allow: [{cidrs: [{cidr: 10.0.0.0/8, except: [10.1.0.0/16]}]}]}');
    const bytes = (mesh: CompiledMesh) => [...(mesh.egress.byNode.get('node-a')?.values() ?? [])];
    assert.deepEqual(bytes(compile(yaml)), bytes(compile(yaml)));
  });
});
