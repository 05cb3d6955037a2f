import assert from 'node:assert/strict';
import { fromBinary } from '@bufbuild/protobuf';
import { describe, it } from 'mocha';
import { compileMesh, type CompiledMesh } from '../../../../controller/compile/mesh.ts';
import type { KubeObject } from '../../../../controller/model/objects.ts';
import type { Assignments } from '../../../../controller/sources/assignments.ts';
import { readManifest } from '../../../../controller/sources/read-object.ts';
import { AuthorizationSchema } from '../../../../proto/gen/istio/security/authorization_pb.js';
import {
  AddressSchema,
  IPFamilies,
  type Service,
  TunnelProtocol,
  type Workload,
  WorkloadStatus,
} from '../../../../proto/gen/istio/workload/workload_pb.js';
import { ASSIGNMENTS, MANIFESTS, policyManifest } from '../harness.ts';

function objects(yaml: string): KubeObject[] {
  return readManifest('test.yaml', yaml).map((document) => {
    assert(document.type === 'object', JSON.stringify(document));
    return document.object;
  });
}

function compile(
  yaml: string,
  assignments: Assignments = ASSIGNMENTS,
  options: { trustDomain?: string } = {},
): CompiledMesh {
  return compileMesh({
    objects: objects(yaml),
    assignments,
    clusterId: 'Kubernetes',
    trustDomain: options.trustDomain ?? 'cluster.local',
    rootNamespace: 'istio-system',
  });
}

function workload(mesh: CompiledMesh, name: string): Workload {
  const resource = mesh.addresses.get(`Kubernetes//Pod/${name}`);
  assert(resource !== undefined, `no workload ${name}`);
  const { type } = fromBinary(AddressSchema, resource.bytes);
  assert(type.case === 'workload');
  return type.value;
}

function service(mesh: CompiledMesh, name: string): Service {
  const { type } = fromBinary(AddressSchema, mesh.addresses.get(name)?.bytes ?? new Uint8Array());
  assert(type.case === 'service', name);
  return type.value;
}

/** The objects from which a real istiod made its recorded resources, with pods in place of Deployments. */
const RECORDED = `
apiVersion: v1
kind: Namespace
metadata: {name: fix, labels: {loam.dev/dataplane-mode: ambient}}
---
apiVersion: v1
kind: Pod
metadata: {name: alpha-1, namespace: fix, labels: {app: alpha, version: v1, pod-template-hash: abc}, ownerReferences: [{kind: ReplicaSet, name: alpha-abc, controller: true}]}
spec: {serviceAccountName: alpha, containers: [{name: c, ports: [{name: probe, containerPort: 7000}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: beta-1, namespace: fix, labels: {app: beta, version: v1}}
spec: {serviceAccountName: beta, containers: [{name: c, ports: [{name: probe, containerPort: 7000}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: alpha, namespace: fix}
spec: {selector: {app: alpha}, ports: [{name: tcp-probe, port: 80, targetPort: 7000}]}
---
apiVersion: v1
kind: Service
metadata: {name: beta, namespace: fix}
spec: {selector: {app: beta}, ports: [{name: tcp-probe, port: 80, targetPort: probe}]}
---
apiVersion: v1
kind: Service
metadata: {name: alpha-headless, namespace: fix}
spec: {clusterIP: None, selector: {app: alpha}, ports: [{name: tcp-probe, port: 7000}]}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: fix}
spec: {mtls: {mode: STRICT}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: beta-port, namespace: fix}
spec: {selector: {matchLabels: {app: beta}}, mtls: {mode: STRICT}, portLevelMtls: {7001: {mode: PERMISSIVE}}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: alpha-from-beta, namespace: fix}
spec:
  selector: {matchLabels: {app: alpha}}
  rules: [{from: [{source: {principals: [cluster.local/ns/fix/sa/beta]}}], to: [{operation: {ports: ["7000"]}}]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny-plain, namespace: fix}
spec:
  action: DENY
  rules: [{from: [{source: {notNamespaces: [fix, bench], notIpBlocks: [198.18.0.0/24]}}], to: [{operation: {notPorts: ["7000", "80"]}}]}]
`;
const RECORDED_ASSIGNMENTS: Assignments = {
  pods: {
    'fix/alpha-1': { ips: ['198.18.129.32'], node: 'node1', ready: true },
    'fix/beta-1': { ips: ['198.18.128.51'], node: 'node2', ready: true },
  },
  services: {
    'fix/alpha': { clusterIPs: ['198.19.228.243'] },
    'fix/beta': { clusterIPs: ['198.19.122.50'] },
  },
};

describe('compile/mesh', () => {
  it('makes the resources that a real istiod makes of the same objects', () => {
    const mesh = compile(RECORDED, RECORDED_ASSIGNMENTS);
    assert.deepEqual([...mesh.authorizations.keys()].sort(), [
      'fix/alpha-from-beta',
      'fix/converted_peer_authentication_beta-port',
      'fix/deny-plain',
      'istio-system/istio_converted_static_strict',
    ]);
    const alpha = workload(mesh, 'fix/alpha-1');
    assert.deepEqual(alpha.authorizationPolicies, [
      'fix/alpha-from-beta',
      'istio-system/istio_converted_static_strict',
    ]);
    assert.deepEqual(workload(mesh, 'fix/beta-1').authorizationPolicies, [
      'fix/converted_peer_authentication_beta-port',
    ]);
    assert.deepEqual(
      [
        alpha.canonicalName,
        alpha.canonicalRevision,
        alpha.workloadName,
        alpha.trustDomain,
        alpha.clusterId,
        alpha.node,
        alpha.serviceAccount,
      ],
      ['alpha', 'v1', 'alpha', '', 'Kubernetes', 'node1', 'alpha'],
    );
    assert.equal(Buffer.from(alpha.addresses[0] ?? []).toString('base64'), 'xhKBIA==');
    assert.deepEqual(Object.keys(alpha.services).sort(), [
      'fix/alpha-headless.fix.svc.cluster.local',
      'fix/alpha.fix.svc.cluster.local',
    ]);
    assert.equal(
      workload(mesh, 'fix/beta-1').services['fix/beta.fix.svc.cluster.local']?.ports[0]?.targetPort,
      7000,
      'named port',
    );
    const beta = service(mesh, 'fix/beta.fix.svc.cluster.local');
    assert.deepEqual(
      [beta.ports[0]?.targetPort, beta.ports[0]?.appProtocol, beta.canonical, beta.ipFamilies],
      [0, 4, true, IPFamilies.IPV4_ONLY],
    );
    assert.equal(service(mesh, 'fix/alpha-headless.fix.svc.cluster.local').addresses.length, 0);
    const deny = fromBinary(
      AuthorizationSchema,
      mesh.authorizations.get('fix/deny-plain')?.bytes ?? new Uint8Array(),
    );
    const match = deny.rules[0]?.clauses[0]?.matches[0];
    assert.deepEqual(
      [
        match?.notNamespaces.length,
        Buffer.from(match?.notSourceIps[0]?.address ?? []).toString('base64'),
        match?.notSourceIps[0]?.length,
      ],
      [2, 'xhIAAA==', 24],
    );
  });

  it('changes only the resources that an edit concerns', () => {
    const before = compile(MANIFESTS);
    const after = compile(`${MANIFESTS}---${policyManifest('cluster.local/ns/shop/sa/frontend')}`);
    const changed = [...after.addresses.values()].filter(
      ({ name, bytes }) => !Buffer.from(bytes).equals(before.addresses.get(name)?.bytes ?? Buffer.of()),
    );
    assert.deepEqual(
      changed.map(({ name }) => name),
      ['Kubernetes//Pod/shop/payments-0'],
    );
    const ready = structuredClone(ASSIGNMENTS);
    ready.pods['shop/payments-0'].ready = false;
    const unready = compile(MANIFESTS, ready);
    assert.equal(workload(unready, 'shop/payments-0').status, WorkloadStatus.UNHEALTHY);
    assert(
      Buffer.from(unready.addresses.get('Kubernetes//Pod/shop/frontend-0')?.bytes ?? []).equals(
        before.addresses.get('Kubernetes//Pod/shop/frontend-0')?.bytes ?? Buffer.of(),
      ),
    );
  });

  it('gives identities only to nodes that run the mesh pods', () => {
    const mesh = compile(MANIFESTS, ASSIGNMENTS, { trustDomain: 'mesh.example' });
    assert.deepEqual(
      mesh.identities,
      new Map([
        ['node-a', new Set(['spiffe://mesh.example/ns/shop/sa/frontend'])],
        ['node-b', new Set(['spiffe://mesh.example/ns/shop/sa/payments'])],
      ]),
    );
    assert.equal(workload(mesh, 'shop/payments-0').trustDomain, 'mesh.example');
    const outside = compile(MANIFESTS.replace('dataplane-mode: ambient', 'dataplane-mode: none'));
    assert.equal(outside.identities.size, 0);
    assert.equal(workload(outside, 'shop/payments-0').tunnelProtocol, TunnelProtocol.NONE);
  });

  it('compiles nothing of what has no address, and never two owners of one', () => {
    const none = compile(MANIFESTS, { pods: {}, services: {} });
    assert.equal(none.addresses.size, 0);
    assert.deepEqual(none.outcomes.get('Pod/shop/payments-0'), {
      state: 'pending',
      message: 'no address yet',
      compiledTo: [],
    });
    const twice = structuredClone(ASSIGNMENTS);
    twice.pods['shop/payments-0'].ips = twice.pods['shop/frontend-0'].ips;
    const mesh = compile(MANIFESTS, twice);
    assert.match(mesh.outcomes.get('Pod/shop/payments-0')?.message ?? '', /belongs to Pod shop\/frontend-0/);
    assert.equal(mesh.identities.has('node-b'), false);
  });

  it('marks what opts in to a waypoint, so that nodes do not go past it', () => {
    const mesh = compile(
      MANIFESTS.replace(
        'metadata: {name: payments, namespace: shop}\nspec: {selector',
        'metadata: {name: payments, namespace: shop, labels: {loam.dev/use-waypoint: way}}\nspec: {selector',
      ),
    );
    assert.deepEqual(service(mesh, 'shop/payments.shop.svc.cluster.local').waypoint?.destination.value, {
      $typeName: 'istio.workload.NamespacedHostname',
      namespace: 'shop',
      hostname: 'way.shop.svc.cluster.local',
    });
  });
});
