import assert from 'node:assert/strict';
import { fromBinary } from '@bufbuild/protobuf';
import { describe, it } from 'mocha';
import { compileMesh, type CompiledMesh } from '../../../../controller/compile/mesh.ts';
import type { KubeObject } from '../../../../controller/model/objects.ts';
import { NO_ASSIGNMENTS } from '../../../../controller/sources/assignments.ts';
import { readManifest } from '../../../../controller/sources/read-object.ts';
import { decodeAddress } from '../../../../lib/mesh/state/decode-address.ts';
import type { Service, Workload } from '../../../../lib/mesh/state/model.ts';
import { WorkloadStore } from '../../../../lib/mesh/state/workload-store.ts';
import { AddressSchema } from '../../../../proto/gen/istio/workload/workload_pb.js';
import { resolveUpstream } from '../../../../lib/mesh/outbound/upstream.ts';

const BASE = `
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {loam.dev/dataplane-mode: ambient}}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {nodeName: node-a, containers: [{name: main, image: any}]}
status: {podIP: 198.18.0.3, podIPs: [{ip: 198.18.0.3}]}
---
apiVersion: v1
kind: Service
metadata: {name: own, namespace: shop}
spec: {clusterIP: 198.19.0.5, ports: [{port: 80}]}
`;

function entry(name: string, spec: string, labels = ''): string {
  return `---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ${name}, namespace: shop, labels: {${labels}}}
spec: {ports: [{number: 443, name: tls, protocol: TLS, targetPort: 8443}], ${spec}}
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

/** What a node makes of it. */
function storeOf(mesh: CompiledMesh): WorkloadStore {
  const store = new WorkloadStore();
  const upserts = [...mesh.addresses.values()].map(({ name, bytes }): Workload | Service => {
    assert.ok(fromBinary(AddressSchema, bytes).type.case);
    return decodeAddress(name, bytes);
  });
  store.apply({ upserts, removed: [] });
  return store;
}

function whereTo(mesh: CompiledMesh, ip: string, port = 443): string {
  const store = storeOf(mesh);
  const upstream = resolveUpstream(store, store.byUid('Kubernetes//Pod/shop/web'), { ip, port }, () => 0);
  switch (upstream.kind) {
    case 'refused':
      return `refused ${upstream.code}`;
    case 'waypoint':
      return 'waypoint';
    default:
      return `${upstream.kind} ${upstream.address}:${upstream.targetPort}`;
  }
}

function accepted(mesh: CompiledMesh, name: string): string {
  const { conditions = [] } = mesh.outcomes.get(`ServiceEntry/shop/${name}`) ?? {};
  const found = conditions.find(({ type }) => type === 'Accepted');
  return `${found?.status} ${found?.reason} ${found?.message}`;
}

describe('compile/service-entries', () => {
  it('leads from the address of an entry to its endpoints, at their ports', () => {
    const mesh = compile(
      entry(
        'db',
        'hosts: [db.example], addresses: [192.0.2.50], resolution: STATIC, endpoints: [{address: 192.0.2.7, ports: {tls: 9443}}]',
      ),
    );
    assert.equal(whereTo(mesh, '192.0.2.50'), 'direct 192.0.2.7:9443');
    assert.equal(whereTo(mesh, '192.0.2.50', 80), 'refused service-port-unknown');
    // By its own address it is nobody's: other entries may have it, too.
    assert.equal(whereTo(mesh, '192.0.2.7', 9443), 'passthrough 192.0.2.7:9443');
    assert.equal(accepted(mesh, 'db'), 'True Accepted ');
  });

  it('makes an address or a block known, and leads to what was dialled', () => {
    const mesh = compile(entry('block', 'hosts: ["*.example"], addresses: [192.0.2.0/25, 203.0.113.9]'));
    assert.equal(whereTo(mesh, '192.0.2.99'), 'passthrough 192.0.2.99:443');
    const store = storeOf(mesh);
    assert.equal(store.byAddress('', '192.0.2.99')?.kind, 'service');
    assert.equal(store.byAddress('', '203.0.113.9')?.kind, 'service');
    assert.equal(store.byAddress('', '192.0.2.200'), undefined);
  });

  it('leads to pods by label or by address, with mutual TLS', () => {
    for (const spec of ['workloadSelector: {labels: {app: web}}', 'endpoints: [{address: 198.18.0.3}]'])
      assert.equal(
        whereTo(
          compile(
            entry(
              'pods',
              `hosts: [in.example], addresses: [192.0.2.50], location: MESH_INTERNAL, resolution: STATIC, ${spec}`,
            ),
          ),
          '192.0.2.50',
        ),
        'hbone 198.18.0.3:8443',
      );
  });

  it('shows an entry to its own namespace alone where it says so', () => {
    const store = storeOf(
      compile(entry('own', 'hosts: [a.example], addresses: [192.0.2.50], exportTo: ["."]')),
    );
    assert.equal(store.byAddress('', '192.0.2.50', 'shop')?.kind, 'service');
    assert.equal(store.byAddress('', '192.0.2.50', 'other'), undefined);
  });

  it('says what cannot be in force: DNS, a waypoint before it, an address of somebody else', () => {
    const mesh = compile(
      entry('dns', 'hosts: [a.example], resolution: DNS') +
        entry('way', 'hosts: [b.example], addresses: [192.0.2.50]', 'loam.dev/use-waypoint: way') +
        entry('taken', 'hosts: [c.example], addresses: [198.19.0.5]'),
    );
    assert.match(accepted(mesh, 'dns'), /^False UnsupportedValue resolution DNS needs a resolver/);
    assert.match(accepted(mesh, 'way'), /^False UnsupportedValue no waypoint/);
    assert.match(
      accepted(mesh, 'taken'),
      /^False Conflicted its address 198\.19\.0\.5 belongs to Service shop\/own/,
    );
    assert.equal(storeOf(mesh).byAddress('', '192.0.2.50'), undefined);
  });

  it('refuses what makes no sense, by field', () => {
    const wrong: [string, string][] = [
      ['hosts: ["*.example"], resolution: STATIC', 'spec.hosts[0]'],
      ['hosts: [web.shop.svc.cluster.local]', 'spec.hosts[0]'],
      ['hosts: [a.example, b.example], addresses: [192.0.2.1]', 'spec.addresses'],
      [
        'hosts: [a.example], resolution: STATIC, endpoints: [{address: b.example}]',
        'spec.endpoints[0].address',
      ],
      ['hosts: [a.example], endpoints: [{address: 192.0.2.1}]', 'spec.endpoints'],
      [
        'hosts: [a.example], resolution: STATIC, endpoints: [{address: 192.0.2.1, ports: {no: 1}}]',
        'spec.endpoints[0].ports.no',
      ],
      ['hosts: [a.example], exportTo: [other]', 'spec.exportTo[0]'],
      [
        'hosts: [a.example], resolution: STATIC, workloadSelector: {labels: {a: b}}, endpoints: [{address: 192.0.2.1}]',
        'spec.endpoints',
      ],
    ];
    for (const [spec, field] of wrong) {
      const [document] = readManifest('test.yaml', entry('wrong', spec));
      assert.equal(document?.type, 'bad', spec);
      assert.ok(
        document.problems.some((problem) => problem.field === field),
        `${spec}: ${JSON.stringify(document.problems)}`,
      );
    }
  });
});
