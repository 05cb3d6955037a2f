import assert from 'node:assert/strict';
import { fromBinary } from '@bufbuild/protobuf';
import { describe, it } from 'mocha';
import type { CompiledMesh } from '../../../../../controller/compile/mesh.ts';
import type { Assignments } from '../../../../../controller/sources/assignments.ts';
import {
  type Address,
  AddressSchema,
  TunnelProtocol,
  WorkloadStatus,
} from '../../../../../proto/gen/istio/workload/workload_pb.js';
import { Protocol } from '../../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import {
  compileObjects,
  conditionsOf,
  GATEWAY,
  jsonOf,
  namesOf,
  objectsOf,
  outcomeOf,
  resourceOf,
  serviceYaml,
  SHOP,
} from './world.ts';

const ASSIGNED: Assignments = {
  pods: { 'shop/web': { ips: ['198.18.1.9'], node: 'node-a', ready: true } },
  services: {
    'shop/payments': { clusterIPs: ['198.19.0.5'] },
    'shop/payments-v2': { clusterIPs: ['198.19.0.6'] },
  },
  gateways: {
    'shop/waypoint': {
      clusterIPs: ['198.19.0.9'],
      instances: [
        { name: 'waypoint-0', ips: ['198.18.1.2'], node: 'node-a', ready: true },
        { name: 'b', ips: ['198.18.2.2'], node: 'node-b', ready: false },
      ],
    },
  },
};
const HOST = 'shop/waypoint.shop.svc.cluster.local';
const NAMESPACE = (labels: string, name = 'shop'): string => `
apiVersion: v1
kind: Namespace
metadata: {name: ${name}, labels: ${labels}}
`;
const POD = (account: string, labels = '{}'): string => `
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: ${labels}}
spec: {nodeName: node-a, serviceAccountName: ${account}, containers: [{name: main}]}
`;

function compile(yaml: readonly string[], assignments = ASSIGNED): CompiledMesh {
  return compileObjects(objectsOf(yaml.join('---')), assignments);
}

function addressOf(mesh: CompiledMesh, name: string): Address['type'] {
  const resource = mesh.addresses.get(name);
  assert(resource !== undefined, `${name} is not among ${[...mesh.addresses.keys()].join(', ')}`);
  return fromBinary(AddressSchema, resource.bytes).type;
}

function waypointOf(mesh: CompiledMesh, name: string): string | undefined {
  const { value } = addressOf(mesh, name);
  const destination = value?.waypoint?.destination;
  return destination?.case === 'hostname' ? destination.value.hostname : undefined;
}

describe('a Gateway of class loam-waypoint', () => {
  it('is a Service and its workloads', () => {
    const mesh = compile([SHOP]);
    const service = addressOf(mesh, HOST);
    assert(service.case === 'service');
    assert.deepEqual(
      [
        service.value.name,
        service.value.hostname,
        service.value.waypoint,
        service.value.ports[0]?.servicePort,
      ],
      ['waypoint', 'waypoint.shop.svc.cluster.local', undefined, 15008],
    );
    assert.deepEqual([...(service.value.addresses[0]?.address ?? [])], [198, 19, 0, 9]);
    const first = addressOf(mesh, 'Kubernetes//Pod/shop/waypoint-0');
    assert(first.case === 'workload');
    const { value } = first;
    assert.deepEqual(
      [
        value.tunnelProtocol,
        value.nativeTunnel,
        value.serviceAccount,
        value.canonicalName,
        value.status,
        value.node,
      ],
      [TunnelProtocol.HBONE, true, 'waypoint', 'waypoint', WorkloadStatus.HEALTHY, 'node-a'],
    );
    assert.deepEqual(Object.keys(value.services), [HOST]);
    const second = addressOf(mesh, 'Kubernetes//Pod/shop/waypoint-b');
    assert(second.case === 'workload' && second.value.status === WorkloadStatus.UNHEALTHY);
    assert.deepEqual(conditionsOf(mesh, 'Gateway/shop/waypoint'), [
      'Accepted True Accepted',
      'Programmed True Programmed',
    ]);
    assert.equal(mesh.waypointIdentities.get('shop/waypoint'), 'spiffe://cluster.local/ns/shop/sa/waypoint');
  });

  it('waits for its address, with its configuration ready', () => {
    const mesh = compile([SHOP], { ...ASSIGNED, gateways: {} });
    const { state, message } = outcomeOf(mesh, 'Gateway/shop/waypoint');
    assert.deepEqual([state, message], ['pending', 'no address yet']);
    assert.deepEqual(conditionsOf(mesh, 'Gateway/shop/waypoint'), [
      'Accepted True Accepted',
      'Programmed False AddressNotAssigned',
    ]);
    assert.equal(mesh.addresses.has(HOST), false);
    assert.equal(waypointOf(mesh, 'shop/payments.shop.svc.cluster.local'), 'waypoint.shop.svc.cluster.local');
    assert(namesOf(mesh).includes('service/shop/payments.shop.svc.cluster.local'));
  });

  it('takes no name and no address that is taken', () => {
    const sameName = compile([
      SHOP,
      serviceYaml('waypoint', { spec: '{clusterIP: 198.19.0.77, ports: [{port: 80}]}' }),
    ]);
    assert.match(outcomeOf(sameName, 'Gateway/shop/waypoint').message, /Service shop\/waypoint has the name/);
    const service = addressOf(sameName, HOST);
    assert(service.case === 'service' && service.value.ports[0]?.servicePort === 80);
    // An assigned address is known to be true, that of a manifest is only claimed.
    const sameAddress = compile([
      SHOP,
      serviceYaml('thief', { spec: '{clusterIP: 198.19.0.9, ports: [{port: 80}]}' }),
    ]);
    assert.match(outcomeOf(sameAddress, 'Service/shop/thief').message, /belongs to Gateway shop\/waypoint/);
  });

  it('lends its identity to no pod', () => {
    const ambient = NAMESPACE('{loam.dev/dataplane-mode: ambient}');
    const identity = 'spiffe://cluster.local/ns/shop/sa/waypoint';
    const thief = compile([ambient, GATEWAY, POD('waypoint')]);
    assert.deepEqual([...(thief.identities.get('node-a') ?? [])], []);
    assert.match(outcomeOf(thief, 'Pod/shop/web').message, /identity of Gateway shop\/waypoint/);
    const before = compile([ambient, POD('waypoint')]);
    assert.deepEqual([...(before.identities.get('node-a') ?? [])], [identity]);
  });

  it('of another class is passed over', () => {
    const mesh = compile([GATEWAY.replace('loam-waypoint', 'nginx')]);
    assert.deepEqual([mesh.waypoints.size, mesh.waypointIdentities.size, mesh.addresses.size], [0, 0, 0]);
    assert.match(outcomeOf(mesh, 'Gateway/shop/waypoint').message, /its class is nginx/);
  });

  it('sets up tracing and trusted hops by annotations', () => {
    const annotations =
      '{loam.dev/otlp-endpoint: "http://10.0.0.1:4318/", loam.dev/trace-sampling: "0.5", loam.dev/trusted-hops: "2"}';
    const mesh = compile([
      GATEWAY.replace('namespace: shop', `namespace: shop, annotations: ${annotations}`),
    ]);
    assert.deepEqual(jsonOf(mesh, 'settings'), {
      settings: { tracing: { otlpEndpoint: 'http://10.0.0.1:4318', sampling: 0.5 }, trustedHops: 2 },
    });
  });
});

describe('whose traffic a waypoint takes', () => {
  const KEY = 'shop/payments.shop.svc.cluster.local';
  const forWhom: [string, boolean, boolean][] = [
    ['service', true, false],
    ['workload', false, true],
    ['all', true, true],
    ['none', false, false],
  ];
  for (const [value, services, pods] of forWhom) {
    it(`${value}: to Services ${services}, to pods ${pods}`, () => {
      const gateway = GATEWAY.replace(
        'namespace: shop',
        `namespace: shop, labels: {loam.dev/waypoint-for: ${value}}`,
      );
      const mesh = compile([
        NAMESPACE('{loam.dev/use-waypoint: waypoint, loam.dev/dataplane-mode: ambient}'),
        gateway,
        serviceYaml('payments'),
        POD('web'),
      ]);
      assert.equal(waypointOf(mesh, KEY) !== undefined, services);
      assert.equal(waypointOf(mesh, 'Kubernetes//Pod/shop/web') !== undefined, pods);
      assert.equal(namesOf(mesh).includes(`service/${KEY}`), services);
    });
  }

  it('one that does not exist is named all the same, so that nobody goes past it', () => {
    const mesh = compile([NAMESPACE('{loam.dev/use-waypoint: ghost}'), serviceYaml('payments'), POD('web')]);
    assert.equal(waypointOf(mesh, KEY), 'ghost.shop.svc.cluster.local');
    assert.equal(waypointOf(mesh, 'Kubernetes//Pod/shop/web'), 'ghost.shop.svc.cluster.local');
    assert.match(
      outcomeOf(mesh, 'Service/shop/payments').message,
      /refused: there is no Gateway shop\/ghost/,
    );
  });

  it('a Service opts out or in by its own label', () => {
    const mesh = compile([
      SHOP,
      serviceYaml('out', { labels: '{loam.dev/use-waypoint: none}' }),
      serviceYaml('other', { labels: '{loam.dev/use-waypoint: second}' }),
    ]);
    assert.deepEqual(
      namesOf(mesh).filter((name) => name.startsWith('service/')),
      ['service/shop/payments-v2.shop.svc.cluster.local', 'service/shop/payments.shop.svc.cluster.local'],
    );
  });

  for (const from of ['Same', 'All', 'None'] as const) {
    it(`allowedRoutes from ${from} decides about other namespaces`, () => {
      const gateway = GATEWAY.replace('HBONE}', `HBONE, allowedRoutes: {namespaces: {from: ${from}}}}`);
      const labels = '{loam.dev/use-waypoint: waypoint, loam.dev/use-waypoint-namespace: shop}';
      const mesh = compile([gateway, serviceYaml('far', { namespace: 'other', labels })], {
        ...ASSIGNED,
        services: { 'other/far': { clusterIPs: ['198.19.0.8'] } },
      });
      assert.equal(namesOf(mesh).includes('service/other/far.other.svc.cluster.local'), from === 'All');
      assert.equal(
        waypointOf(mesh, 'other/far.other.svc.cluster.local'),
        'waypoint.shop.svc.cluster.local',
        'opting in holds whether or not the waypoint admits it',
      );
      assert.equal(outcomeOf(mesh, 'Service/other/far').message.includes('does not admit'), from !== 'All');
    });
  }
});

describe('the protocol of a port', () => {
  const ports: [string, Protocol][] = [
    ['{appProtocol: http, port: 1}', Protocol.HTTP1],
    ['{appProtocol: kubernetes.io/ws, port: 1}', Protocol.HTTP1],
    ['{appProtocol: kubernetes.io/h2c, port: 1}', Protocol.HTTP2],
    ['{appProtocol: http2, port: 1}', Protocol.HTTP2],
    ['{appProtocol: grpc, port: 1}', Protocol.GRPC],
    ['{appProtocol: tcp, port: 1}', Protocol.TCP],
    ['{appProtocol: tls, port: 1}', Protocol.TCP],
    ['{appProtocol: https, port: 1}', Protocol.TCP],
    ['{name: http-web, port: 1}', Protocol.HTTP1],
    ['{name: grpc-api, port: 1}', Protocol.GRPC],
    ['{name: http2, port: 1}', Protocol.HTTP2],
    ['{name: tcp-db, port: 1}', Protocol.TCP],
    ['{name: redis, port: 1}', Protocol.TCP],
    ['{name: tcp-x, appProtocol: http, port: 1}', Protocol.HTTP1],
    ['{name: web, port: 1}', Protocol.DETECT],
    ['{port: 1}', Protocol.DETECT],
  ];
  for (const [port, protocol] of ports) {
    it(`${port} is ${Protocol[protocol]}`, () => {
      for (const clusterIP of ['198.19.0.5', 'None']) {
        const mesh = compile([
          SHOP,
          serviceYaml('p', { spec: `{clusterIP: ${clusterIP}, ports: [${port}]}` }),
        ]);
        const kind = resourceOf(mesh, 'service/shop/p.shop.svc.cluster.local');
        assert(kind.case === 'service');
        assert.deepEqual(
          kind.value.ports.map((each) => each.protocol),
          [protocol],
        );
      }
    });
  }
});
