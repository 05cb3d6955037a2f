import assert from 'node:assert/strict';
import { fromBinary } from '@bufbuild/protobuf';
import { describe, it } from 'mocha';
import { compileMesh, type CompiledMesh } from '../../../../controller/compile/mesh.ts';
import type { KubeObject } from '../../../../controller/model/objects.ts';
import { NO_ASSIGNMENTS } from '../../../../controller/sources/assignments.ts';
import { readManifest } from '../../../../controller/sources/read-object.ts';
import {
  AddressSchema,
  NetworkMode,
  TunnelProtocol,
  type Workload,
  WorkloadStatus,
} from '../../../../proto/gen/istio/workload/workload_pb.js';
import { decodeAddress } from '../../../../lib/mesh/state/decode-address.ts';
import { ipFromBytes } from '../../../../lib/mesh/state/ip.ts';

const BASE = `
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {loam.dev/dataplane-mode: ambient}}
---
apiVersion: v1
kind: Namespace
metadata: {name: other}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {nodeName: node-a, containers: [{name: main, image: any}]}
status: {podIP: 198.18.0.3, podIPs: [{ip: 198.18.0.3}]}
---
apiVersion: v1
kind: Pod
metadata: {name: on-host, namespace: shop}
spec: {nodeName: node-a, hostNetwork: true, containers: [{name: main, image: any}]}
status: {podIP: 192.0.2.1, podIPs: [{ip: 192.0.2.1}]}
---
apiVersion: v1
kind: Node
metadata: {name: node-a, labels: {topology.kubernetes.io/region: north, topology.kubernetes.io/zone: north-1}}
status: {addresses: [{type: InternalIP, address: 192.0.2.1}, {type: Hostname, address: node-a}]}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {clusterIP: 198.19.0.5, ports: [{name: sql, port: 5432}, {name: admin, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: bare, namespace: shop}
spec: {clusterIP: None, ports: [{port: 5432}]}
`;

function sliceOf(service: string, endpoints: string, more = '', ports = '{name: sql, port: 6000}'): string {
  return `---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: ${service}-1, namespace: shop, labels: {kubernetes.io/service-name: ${service}${more}}}
addressType: IPv4
endpoints: [${endpoints}]
ports: [${ports}]
`;
}

function compile(yaml: string): CompiledMesh {
  const objects = readManifest('test.yaml', BASE + yaml).map((document): KubeObject => {
    assert(document.type === 'object', JSON.stringify(document));
    return document.object;
  });
  return compileMesh({
    objects,
    assignments: NO_ASSIGNMENTS,
    clusterId: 'Kubernetes',
    trustDomain: 'cluster.local',
    rootNamespace: 'loam-system',
  });
}

function workloads(mesh: CompiledMesh): Workload[] {
  return [...mesh.addresses.values()].flatMap(({ name, bytes }) => {
    // What a node would refuse is wrong.
    decodeAddress(name, bytes);
    const { type } = fromBinary(AddressSchema, bytes);
    return type.case === 'workload' ? [type.value] : [];
  });
}

function endpoint(mesh: CompiledMesh, address: string): Workload | undefined {
  return workloads(mesh).find(({ uid }) => uid.endsWith(`/${address}`));
}

function servicesOf(workload: Workload | undefined): Record<string, string[]> {
  return Object.fromEntries(
    Object.entries(workload?.services ?? {}).map(([key, { ports }]) => [
      key,
      ports.map(({ servicePort, targetPort }) => `${servicePort}>${targetPort}`),
    ]),
  );
}

const DB = 'shop/db.shop.svc.cluster.local';

describe('compile/slices', () => {
  it('makes plaintext endpoints of addresses that are no pods, at the ports that the slice names', () => {
    const mesh = compile(
      sliceOf(
        'db',
        '{addresses: [192.0.2.7], zone: north-2}, {addresses: [192.0.2.8], conditions: {ready: false, serving: true, terminating: true}}',
      ),
    );
    const ready = endpoint(mesh, '192.0.2.7');
    assert.equal(ready?.uid, 'Kubernetes/discovery.k8s.io/EndpointSlice/shop/db-1/192.0.2.7');
    assert.deepEqual(servicesOf(ready), { [DB]: ['5432>6000'] });
    assert.deepEqual(ready.addresses.map(ipFromBytes), ['192.0.2.7']);
    assert.equal(ready.tunnelProtocol, TunnelProtocol.NONE);
    assert.equal(ready.locality?.zone, 'north-2');
    assert.equal(ready.status, WorkloadStatus.HEALTHY);
    assert.equal(endpoint(mesh, '192.0.2.8')?.status, WorkloadStatus.UNHEALTHY);
    assert.deepEqual(mesh.outcomes.get('EndpointSlice/shop/db-1')?.compiledTo.length, 2);
  });

  it("takes a pod's address for that pod, with its identity and tunnel", () => {
    const mesh = compile(sliceOf('db', '{addresses: [198.18.0.3]}'));
    const web = workloads(mesh).find(({ name }) => name === 'web');
    assert.equal(web?.tunnelProtocol, TunnelProtocol.HBONE);
    assert.deepEqual(servicesOf(web), { [DB]: ['5432>6000'] });
    assert.equal(endpoint(mesh, '198.18.0.3'), undefined);
  });

  it('takes nothing for a pod that is meant to be another one, or not ready', () => {
    const other = compile(
      sliceOf('db', '{addresses: [198.18.0.3], targetRef: {kind: Pod, namespace: shop, name: former}}'),
    );
    assert.deepEqual(servicesOf(workloads(other).find(({ name }) => name === 'web')), {});
    assert.equal(endpoint(other, '198.18.0.3'), undefined);
    const unready = compile(sliceOf('db', '{addresses: [198.18.0.3], conditions: {ready: false}}'));
    assert.deepEqual(servicesOf(workloads(unready).find(({ name }) => name === 'web')), {});
  });

  it("knows a pod on its node's network by its name alone", () => {
    const named = compile(
      sliceOf('db', '{addresses: [192.0.2.1], targetRef: {kind: Pod, namespace: shop, name: on-host}}'),
    );
    assert.deepEqual(Object.keys(servicesOf(workloads(named).find(({ name }) => name === 'on-host'))), [DB]);
    const bare = compile(sliceOf('db', '{addresses: [192.0.2.1]}'));
    assert.deepEqual(servicesOf(workloads(bare).find(({ name }) => name === 'on-host')), {});
    assert.equal(endpoint(bare, '192.0.2.1')?.networkMode, NetworkMode.HOST_NETWORK);
  });

  it('lets the endpoints of a headless Service be found by their address, and never those of a node', () => {
    const mesh = compile(
      sliceOf('bare', '{addresses: [192.0.2.7]}, {addresses: [192.0.2.1]}', '', '{port: 5432}'),
    );
    assert.deepEqual(mesh.addresses.get(endpoint(mesh, '192.0.2.7')?.uid ?? '')?.aliases, ['/192.0.2.7']);
    assert.equal(endpoint(mesh, '192.0.2.7')?.networkMode, NetworkMode.STANDARD);
    assert.deepEqual(mesh.addresses.get(endpoint(mesh, '192.0.2.1')?.uid ?? '')?.aliases, []);
  });

  it('leaves alone the slices that Kubernetes makes of selectors, and those of no Service', () => {
    const managed = ', endpointslice.kubernetes.io/managed-by: endpointslice-controller.k8s.io';
    for (const yaml of [
      sliceOf('db', '{addresses: [192.0.2.7]}', managed),
      sliceOf('no', '{addresses: [192.0.2.7]}'),
    ])
      assert.equal(endpoint(compile(yaml), '192.0.2.7'), undefined);
  });

  it('leads to a pod of another namespace, whose policies by Service it does not become', () => {
    const policy = `---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: closed, namespace: other}
spec: {targetRefs: [{kind: Service, group: '', name: db}], action: DENY, rules: [{}]}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: other}
spec: {clusterIP: 198.19.0.6, ports: [{name: sql, port: 5432}]}
`;
    const mesh = compile(
      policy + sliceOf('db', '{addresses: [198.18.0.3]}').replace('namespace: shop', 'namespace: other'),
    );
    const web = workloads(mesh).find(({ name }) => name === 'web');
    assert.deepEqual(Object.keys(servicesOf(web)), ['other/db.other.svc.cluster.local']);
    assert.deepEqual(web?.authorizationPolicies, []);
  });

  it('enforces the policies of a Service at the pods behind its slice, and keeps their ports to its waypoint', () => {
    const own = `---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: closed, namespace: shop}
spec: {targetRefs: [{kind: Service, group: '', name: db}], action: DENY, rules: [{}]}
`;
    const slice = sliceOf('db', '{addresses: [198.18.0.3]}');
    const web = workloads(compile(own + slice)).find(({ name }) => name === 'web');
    assert.deepEqual(web?.authorizationPolicies, ['shop/closed']);
    const waypointed = BASE_WAYPOINT + sliceOf('db2', '{addresses: [198.18.0.3]}');
    const guarded = workloads(compile(waypointed)).find(({ name }) => name === 'web');
    assert.equal(guarded?.authorizationPolicies.length, 1);
    assert.match(guarded.authorizationPolicies[0] ?? '', /6000/);
  });

  it("tells each pod's region and zone by its node", () => {
    const web = workloads(compile('')).find(({ name }) => name === 'web');
    assert.deepEqual([web?.locality?.region, web?.locality?.zone], ['north', 'north-1']);
  });
});

const BASE_WAYPOINT = `---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: way, namespace: shop}
spec: {gatewayClassName: loam-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
---
apiVersion: v1
kind: Service
metadata: {name: db2, namespace: shop, labels: {loam.dev/use-waypoint: way}}
spec: {clusterIP: 198.19.0.7, ports: [{name: sql, port: 5432}]}
`;
