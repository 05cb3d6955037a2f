import assert from 'node:assert/strict';
import { fromBinary } from '@bufbuild/protobuf';
import { describe, it } from 'mocha';
import type { CompiledMesh } from '../../../../controller/compile/mesh.ts';
import { parseAssignments } from '../../../../controller/sources/assignments.ts';
import { ipFromBytes } from '../../../../lib/mesh/state/ip.ts';
import { AuthorizationSchema } from '../../../../proto/gen/istio/security/authorization_pb.js';
import { AddressSchema, IPFamilies } from '../../../../proto/gen/istio/workload/workload_pb.js';
import { compileObjects, objectsOf } from './waypoints/world.ts';

const MANIFESTS = `
apiVersion: v1
kind: Namespace
metadata: {name: n, labels: {loam.dev/dataplane-mode: ambient}}
---
apiVersion: v1
kind: Pod
metadata: {name: both, namespace: n, labels: {app: both}}
spec: {containers: [{name: c}]}
---
apiVersion: v1
kind: Pod
metadata: {name: six, namespace: n, labels: {app: six}}
spec: {nodeName: node-a, containers: [{name: c}]}
status: {podIP: "FD00:0::6", podIPs: [{ip: "FD00:0::6"}, {ip: "::ffff:10.0.0.6"}]}
---
apiVersion: v1
kind: Service
metadata: {name: both, namespace: n}
spec: {selector: {app: both}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: headless, namespace: n}
spec: {clusterIP: None, ipFamilyPolicy: RequireDualStack, selector: {app: both}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: given, namespace: n}
spec: {clusterIP: "fd99::5", selector: {app: both}, ports: [{port: 80}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: way, namespace: n}
spec: {gatewayClassName: loam-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny, namespace: n}
spec:
  action: DENY
  rules:
  - from: [{source: {ipBlocks: ["fd00::/16", "::ffff:10.0.0.0/104", "2001:DB8::7"]}}]
    when: [{key: destination.ip, values: ["::ffff:10.0.0.6"]}]
`;
const ASSIGNMENTS = parseAssignments(
  JSON.stringify({
    pods: { 'n/both': { ips: ['198.18.1.2', 'fd4c::2'], node: 'node-a', ready: true } },
    services: { 'n/both': { clusterIPs: ['198.18.24.1', 'fd4c:24::1'] } },
    gateways: {
      'n/way': {
        clusterIPs: ['198.18.24.2', 'fd4c:24::2'],
        instances: [{ name: 'way-0', ips: ['198.18.1.9', 'fd4c::9'], node: 'node-a', ready: true }],
      },
    },
  }),
);
const mesh: CompiledMesh = compileObjects(objectsOf(MANIFESTS), ASSIGNMENTS);

function addressOf(name: string) {
  const resource = mesh.addresses.get(name);
  assert(resource !== undefined, [...mesh.addresses.keys()].join(', '));
  const { type } = fromBinary(AddressSchema, resource.bytes);
  assert(type.case !== undefined);
  const ips =
    type.case === 'workload'
      ? type.value.addresses.map(ipFromBytes)
      : type.value.addresses.map(({ address }) => ipFromBytes(address));
  return {
    ips,
    aliases: resource.aliases,
    families: type.case === 'service' ? type.value.ipFamilies : undefined,
  };
}
const serviceAt = (name: string) => addressOf(`n/${name}.n.svc.cluster.local`);

describe('compile: both families', () => {
  it('a workload has all addresses of its pod, in one form, and is found by each', () => {
    assert.deepEqual(addressOf('Kubernetes//Pod/n/both'), {
      ips: ['198.18.1.2', 'fd4c::2'],
      aliases: ['/198.18.1.2', '/fd4c::2'],
      families: undefined,
    });
    assert.deepEqual(addressOf('Kubernetes//Pod/n/six').aliases, ['/fd00::6', '/10.0.0.6']);
  });

  it('a service has all its virtual addresses and says its families, headless or not', () => {
    assert.deepEqual(serviceAt('both'), {
      ips: ['198.18.24.1', 'fd4c:24::1'],
      aliases: ['/198.18.24.1', '/fd4c:24::1'],
      families: IPFamilies.DUAL,
    });
    assert.deepEqual(serviceAt('headless'), { ips: [], aliases: [], families: IPFamilies.DUAL });
    assert.deepEqual(serviceAt('given'), {
      ips: ['fd99::5'],
      aliases: ['/fd99::5'],
      families: IPFamilies.IPV6_ONLY,
    });
  });

  it('a waypoint is found at both families', () => {
    assert.deepEqual(serviceAt('way'), {
      ips: ['198.18.24.2', 'fd4c:24::2'],
      aliases: ['/198.18.24.2', '/fd4c:24::2'],
      families: IPFamilies.DUAL,
    });
    assert.deepEqual(addressOf('Kubernetes//Pod/n/way-0').ips, ['198.18.1.9', 'fd4c::9']);
  });

  it('a policy has blocks of both, and IPv4-mapped ones as IPv4', () => {
    const policy = fromBinary(
      AuthorizationSchema,
      mesh.authorizations.get('n/deny')?.bytes ?? new Uint8Array(),
    );
    const matches = policy.rules[0]?.clauses.flatMap((clause) => clause.matches) ?? [];
    const text = ({ address, length }: { address: Uint8Array; length: number }) =>
      `${ipFromBytes(address)}/${length}`;
    assert.deepEqual(
      matches.flatMap((match) => match.sourceIps.map(text)),
      ['fd00::/16', '10.0.0.0/8', '2001:db8::7/128'],
    );
    assert.deepEqual(
      matches.flatMap((match) => match.destinationIps.map(text)),
      ['10.0.0.6/32'],
    );
  });

  it('one address has one owner, however it is written', () => {
    const twice = `${MANIFESTS}---
apiVersion: v1
kind: Service
metadata: {name: thief, namespace: n}
spec: {clusterIP: "::ffff:198.18.1.2", ports: [{port: 80}]}
`;
    const { outcomes } = compileObjects(objectsOf(twice), ASSIGNMENTS);
    const messages = ['Service/n/thief', 'Pod/n/both'].map((key) => outcomes.get(key)?.message ?? '');
    assert.match(messages.join(), /198\.18\.1\.2 belongs to/);
  });

  it('refuses assignments without addresses, or with none that is one', () => {
    for (const ips of [[], ['x'], ['fe80::1%eth0']])
      assert.throws(() =>
        parseAssignments(JSON.stringify({ pods: { 'n/p': { ips, node: 'a' } }, services: {} })),
      );
  });
});
