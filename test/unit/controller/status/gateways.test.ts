import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { compileMesh } from '../../../../controller/compile/mesh.ts';
import { readManifest } from '../../../../controller/sources/read-object.ts';
import { reportGateways } from '../../../../controller/status/clients.ts';
import type { ClientStream } from '../../../../controller/xds/service.ts';

const MESH = `
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {loam.dev/dataplane-mode: ambient}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: way, namespace: shop}
spec: {gatewayClassName: loam-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
---
apiVersion: v1
kind: Service
metadata: {name: pay, namespace: shop, labels: {loam.dev/use-waypoint: way}}
spec: {selector: {app: pay}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: auth, namespace: shop, labels: {loam.dev/use-waypoint: way}}
spec: {selector: {app: auth}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {selector: {app: db}, ports: [{port: 6379}]}
`;

describe('status/gateways', () => {
  const mesh = compileMesh({
    objects: readManifest('m.yaml', MESH).map((document) => {
      assert.ok(document.type === 'object', JSON.stringify(document));
      return document.object;
    }),
    assignments: {
      pods: {},
      services: {
        'shop/pay': { clusterIPs: ['198.18.24.1'] },
        'shop/auth': { clusterIPs: ['198.18.24.2'] },
        'shop/db': { clusterIPs: ['198.18.24.3'] },
      },
      gateways: {
        'shop/way': {
          clusterIPs: ['198.18.24.9'],
          instances: [{ name: 'way-0', ips: ['198.18.1.9'], node: 'node-a', ready: true }],
        },
      },
    },
    clusterId: 'Kubernetes',
    trustDomain: 'cluster.local',
    rootNamespace: 'loam-system',
  });

  it('tells what a waypoint stands before, also while it is not connected', () => {
    assert.deepEqual(
      reportGateways(mesh, [], () => undefined),
      [
        {
          ...{ gateway: 'shop/way', serves: ['Service shop/auth', 'Service shop/pay'], connected: false },
          ...{ ackedGeneration: 0, streams: [], nacks: [] },
        },
      ],
    );
  });

  it('tells of a Gateway that is connected and gone', () => {
    const stream: ClientStream = {
      principal: { kind: 'gateway', gateway: 'shop/old' },
      since: 1,
      types: [],
    } as unknown as ClientStream;
    const [old] = reportGateways(mesh, [stream], () => undefined);
    assert.deepEqual([old?.gateway, old?.serves, old?.connected], ['shop/old', [], true]);
  });
});
