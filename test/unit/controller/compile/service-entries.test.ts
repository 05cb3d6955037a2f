import assert from 'node:assert/strict';
import { fromBinary } from '@bufbuild/protobuf';
import { describe, it } from 'mocha';
import { compileMesh, type CompiledMesh } from '../../../../controller/compile/mesh.ts';
import type { KubeObject } from '../../../../controller/model/objects.ts';
import type { ResolvedNames } from '../../../../controller/names/resolver.ts';
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

function compile(yaml: string, names: ResolvedNames = new Map()): CompiledMesh {
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
    names,
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

  const DNS: ResolvedNames = new Map([
    ['api.example', { now: ['192.0.2.7'], lately: ['192.0.2.6', '192.0.2.7'] }],
    ['bad.example', { now: ['198.19.0.5', '198.18.0.3'], lately: ['198.19.0.5', '198.18.0.3'] }],
    ['none.example', { now: [], lately: [] }],
  ]);

  it('leads to where DNS says that its endpoints are, at their ports, or its hosts', () => {
    const at = 'addresses: [192.0.2.50], resolution: DNS';
    const mesh = compile(
      entry('db', `hosts: [db.example], ${at}, endpoints: [{address: api.example, ports: {tls: 9443}}]`),
      DNS,
    );
    assert.equal(whereTo(mesh, '192.0.2.50'), 'direct 192.0.2.7:9443');
    assert.equal(accepted(mesh, 'db'), 'True Accepted ');
    assert.deepEqual([...mesh.names], ['api.example']);
    const own = compile(entry('api', `hosts: [api.example], ${at}`), DNS);
    assert.equal(whereTo(own, '192.0.2.50'), 'direct 192.0.2.7:8443');
    const fixed = compile(
      entry('api', `hosts: [api.example], ${at}, endpoints: [{address: 192.0.2.9}]`),
      DNS,
    );
    assert.equal(whereTo(fixed, '192.0.2.50'), 'direct 192.0.2.9:8443');
    assert.deepEqual([...fixed.names], []);
  });

  it('is known by what DNS says, and said lately, where it has no address of its own', () => {
    const mesh = compile(
      entry('api', 'hosts: [api.example, other.example], resolution: DNS_ROUND_ROBIN'),
      DNS,
    );
    const store = storeOf(mesh);
    for (const ip of ['192.0.2.6', '192.0.2.7']) {
      assert.equal(store.byAddress('', ip)?.kind, 'workload', ip);
      const workload = [...mesh.addresses.values()]
        .map(({ name, bytes }) => decodeAddress(name, bytes))
        .find(({ name }) => name === 'api');
      assert.ok(workload);
    }
    assert.equal(store.byAddress('', '192.0.2.8'), undefined);
    const { conditions = [] } = mesh.outcomes.get('ServiceEntry/shop/api') ?? {};
    assert.match(JSON.stringify(conditions), /NotResolved.*other\.example/);
  });

  it('leads nowhere where DNS knows no address, or one of the cluster: closed, and said', () => {
    const mesh = compile(
      entry('none', 'hosts: [none.example], addresses: [192.0.2.50], resolution: DNS') +
        entry('unknown', 'hosts: [unknown.example], addresses: [192.0.2.51], resolution: DNS') +
        entry('bad', 'hosts: [bad.example], addresses: [192.0.2.52], resolution: DNS'),
      DNS,
    );
    for (const ip of ['192.0.2.50', '192.0.2.51', '192.0.2.52'])
      assert.match(whereTo(mesh, ip), /^refused /, ip);
    assert.match(JSON.stringify(mesh.outcomes.get('ServiceEntry/shop/none')), /NotResolved/);
    assert.match(JSON.stringify(mesh.outcomes.get('ServiceEntry/shop/unknown')), /NotResolved/);
  });

  it('looks names up for each namespace in turn, so that one of them does not take all places', () => {
    const of = (name: string, hosts: string, namespace: string): string =>
      entry(name, `hosts: [${hosts}], resolution: DNS`).replace('namespace: shop', `namespace: ${namespace}`);
    const mesh = compile(
      `---
apiVersion: v1
kind: Namespace
metadata: {name: other}
` +
        of('flood', 'a1.example, a2.example, a3.example', 'shop') +
        of('b', 'b.example', 'other'),
    );
    assert.deepEqual([...mesh.names].indexOf('b.example') < 2, true);
    assert.equal(mesh.names.size, 4);
  });

  it('shows an entry to its own namespace alone where it says so', () => {
    const store = storeOf(
      compile(entry('own', 'hosts: [a.example], addresses: [192.0.2.50], exportTo: ["."]')),
    );
    assert.equal(store.byAddress('', '192.0.2.50', 'shop')?.kind, 'service');
    assert.equal(store.byAddress('', '192.0.2.50', 'other'), undefined);
  });

  it('says what cannot be in force: a waypoint before it, an address of somebody else', () => {
    const mesh = compile(
      entry('way', 'hosts: [b.example], addresses: [192.0.2.50]', 'loam.dev/use-waypoint: way') +
        entry('taken', 'hosts: [c.example], addresses: [198.19.0.5]'),
    );
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
      ['hosts: ["*.example"], resolution: DNS', 'spec.hosts[0]'],
      [
        'hosts: [a.example], resolution: DNS, endpoints: [{address: web.shop.svc.cluster.local}]',
        'spec.endpoints[0].address',
      ],
      [
        'hosts: [a.example], resolution: DNS, endpoints: [{address: "unix:///run/x"}]',
        'spec.endpoints[0].address',
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
