import assert from 'node:assert/strict';
import { join } from 'node:path';
import * as grpc from '@grpc/grpc-js';
import { fromBinary } from '@bufbuild/protobuf';
import { describe, it } from 'mocha';
import { ADDRESS_TYPE, AUTHORIZATION_TYPE, WAYPOINT_TYPE } from '../../../controller/xds/snapshot.ts';
import type { DeltaDiscoveryResponse } from '../../../proto/gen/envoy/discovery_pb.js';
import { ResourceSchema } from '../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { makeCsr } from './ca/make-csr.ts';
import {
  ASSIGNMENTS,
  layOutShop,
  MANIFESTS,
  replaceFile,
  requestCertificate,
  type RunningController,
  runController,
  temporaryDir,
  TestXdsClient,
  TOKEN_A,
  until,
} from './harness.ts';

const TOKEN_W = 'w'.repeat(32);
const TOKEN_X = 'x'.repeat(32);

const gateway = (name: string): string => `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: ${name}, namespace: shop}
spec: {gatewayClassName: loam-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
`;
const service = (name: string, waypoint: string): string => `
apiVersion: v1
kind: Service
metadata: {name: ${name}, namespace: shop, labels: {loam.dev/use-waypoint: ${waypoint}}}
spec: {clusterIP: None, ports: [{name: http, port: 80}]}
`;
const route = (rule: string, parent = 'auth'): string => `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: to-${parent}, namespace: shop}
spec:
  parentRefs: [{group: "", kind: Service, name: ${parent}}]
  rules: [${rule}]
`;
const RULE = '{matches: [{path: {value: /a}}], backendRefs: [{name: auth, port: 80}]}';
const AUTH_ROUTE = 'route/HTTPRoute/shop/to-auth';
const key = (name: string): string => `service/shop/${name}.shop.svc.cluster.local`;

async function start(dir: string): Promise<RunningController> {
  await layOutShop(dir);
  await replaceFile(join(dir, 'manifests', 'shop.yaml'), MANIFESTS);
  const more = [gateway('one'), gateway('two'), service('auth', 'one'), service('cart', 'two')];
  await replaceFile(join(dir, 'manifests', 'waypoints.yaml'), more.join('---'));
  await replaceFile(join(dir, 'manifests', 'route.yaml'), route(RULE));
  const tokens = [
    { node: 'node-a', token: TOKEN_A },
    { gateway: 'shop/one', token: TOKEN_W },
    { gateway: 'shop/two', token: TOKEN_X },
  ];
  await replaceFile(join(dir, 'tokens.json'), JSON.stringify({ tokens }));
  return runController(dir);
}

const names = (response: DeltaDiscoveryResponse): string[] => response.resources.map(({ name }) => name);

async function resources(client: TestXdsClient): Promise<DeltaDiscoveryResponse> {
  client.send({ typeUrl: WAYPOINT_TYPE });
  return client.next();
}

interface RouteReport {
  readonly name: string;
  readonly kind: string;
  readonly state: string;
  readonly message?: string;
  readonly lastGood: boolean;
  readonly refusals: readonly string[];
  readonly conditions?: readonly { readonly type: string; readonly status: string }[];
}

async function routeReport(controller: RunningController): Promise<RouteReport | undefined> {
  const { objects } = (await controller.status('/v1/status')).body as { objects: RouteReport[] };
  return objects.find(({ kind }) => kind === 'HTTPRoute');
}

describe('a waypoint as a client of the controller', () => {
  it('gets what is of its own Gateway, policies and routes before Services', async () => {
    await using dir = await temporaryDir();
    await using controller = await start(dir.path);
    using one = await TestXdsClient.connect(controller, TOKEN_W);
    using two = await TestXdsClient.connect(controller, TOKEN_X);
    assert.deepEqual(names(await resources(one)), ['settings', AUTH_ROUTE, key('auth')]);
    assert.deepEqual(names(await resources(two)), ['settings', key('cart')]);
  });

  it('gets the addresses and authorizations of the mesh, too', async () => {
    await using dir = await temporaryDir();
    await using controller = await start(dir.path);
    using one = await TestXdsClient.connect(controller, TOKEN_W);
    for (const typeUrl of [AUTHORIZATION_TYPE, ADDRESS_TYPE, WAYPOINT_TYPE]) one.send({ typeUrl });
    const types: string[] = [];
    for (let i = 0; i < 3; i += 1) {
      const response = await one.next();
      types.push(response.typeUrl);
      one.ack(response);
    }
    assert.deepEqual(types, [AUTHORIZATION_TYPE, ADDRESS_TYPE, WAYPOINT_TYPE]);
  });

  it('is told nothing of another Gateway, neither by name nor by what it claims to have', async () => {
    await using dir = await temporaryDir();
    await using controller = await start(dir.path);
    using one = await TestXdsClient.connect(controller, TOKEN_W);
    one.send({
      typeUrl: WAYPOINT_TYPE,
      resourceNamesSubscribe: [key('cart'), 'settings'],
      node: { id: 'shop/two' },
    });
    const response = await one.next();
    assert.deepEqual([names(response), response.removedResources], [['settings'], [key('cart')]]);
  });

  it('a node is refused what is for waypoints', async () => {
    await using dir = await temporaryDir();
    await using controller = await start(dir.path);
    using node = await TestXdsClient.connect(controller, TOKEN_A);
    node.send({ typeUrl: WAYPOINT_TYPE });
    const { code, details } = await node.ended;
    assert.equal(code, grpc.status.INVALID_ARGUMENT);
    assert.match(details, /only to a waypoint.*allowed: .*Address/);
    assert.equal(node.responses.length, 0);
  });

  it('loses Services before their routes, and its stream with its token', async () => {
    await using dir = await temporaryDir();
    await using controller = await start(dir.path);
    using one = await TestXdsClient.connect(controller, TOKEN_W);
    one.ack(await resources(one));
    await controller.manifest('waypoints.yaml', gateway('one'));
    const response = await one.next();
    assert.deepEqual(response.removedResources, [key('auth'), AUTH_ROUTE]);
    await controller.tokens({ tokens: [{ gateway: 'shop/two', token: TOKEN_W }] });
    assert.equal((await one.ended).code, grpc.status.UNAUTHENTICATED);
  });

  it('what it refuses is told at the object', async () => {
    await using dir = await temporaryDir();
    await using controller = await start(dir.path);
    using one = await TestXdsClient.connect(controller, TOKEN_W);
    one.nack(await resources(one), `"${AUTH_ROUTE}": rules[0] is odd`);
    const refused = await until(async () => {
      const report = await routeReport(controller);
      return (report?.refusals.length ?? 0) > 0 && report;
    });
    assert.match(refused.message ?? '', /refused by gateway shop\/one: .*rules\[0\] is odd/);
    const { gateways, objects } = (await controller.status('/v1/status')).body as {
      gateways: { gateway: string; connected: boolean; nacks: string[] }[];
      objects: { kind: string; name: string; refusals: string[] }[];
    };
    assert.deepEqual(
      gateways.map(({ gateway: name, connected, nacks }) => [name, connected, nacks.length]),
      [
        ['shop/one', true, 1],
        ['shop/two', false, 0],
      ],
    );
    const others = objects.filter(({ kind, refusals }) => kind !== 'HTTPRoute' && refusals.length > 0);
    assert.deepEqual(others, [], 'objects that the refusal does not name');
    await controller.manifest('route.yaml', route(RULE.replace('/a', '/b')));
    one.ack(await one.next());
    await until(async () => (await routeReport(controller))?.refusals.length === 0);
  });

  it('keeps the last good state of a route that is broken now', async () => {
    await using dir = await temporaryDir();
    await using controller = await start(dir.path);
    using one = await TestXdsClient.connect(controller, TOKEN_W);
    one.ack(await resources(one));
    await controller.manifest(
      'route.yaml',
      route('{matches: [{path: {type: RegularExpression, value: "("}}]}'),
    );
    const broken = await until(async () => {
      const report = await routeReport(controller);
      return report?.state === 'rejected' && report;
    });
    assert.equal(broken.lastGood, true);
    assert.match(broken.message ?? '', /"\(" is not allowed/);
    assert.deepEqual(
      broken.conditions?.map(({ type, status }) => `${type} ${status}`),
      ['Accepted True', 'ResolvedRefs True'],
    );
    assert.equal(one.unread, 0, 'nothing is taken away');
    await controller.manifest('route.yaml', route(RULE.replace('/a', '/c')));
    const response = await one.next();
    assert.deepEqual([names(response), response.removedResources], [[AUTH_ROUTE], []]);
    const { kind } = fromBinary(ResourceSchema, response.resources[0]?.resource?.value ?? new Uint8Array());
    assert(kind.case === 'route');
    assert.equal(kind.value.rules[0]?.matches[0]?.path?.how.value, '/c');
  });

  it('is certified as its Gateway and as nobody else', async () => {
    await using dir = await temporaryDir();
    await using controller = await start(dir.path);
    await controller.assignments(ASSIGNMENTS);
    const { csr } = await makeCsr();
    const ask = async (token: string, identity?: string): Promise<string> => {
      const metadata = identity === undefined ? {} : { metadata: { ImpersonatedIdentity: identity } };
      const answer = await requestCertificate(controller, token, {
        csr,
        validityDuration: 600n,
        ...metadata,
      });
      return answer.ok ? 'granted' : (grpc.status[answer.error.code] ?? '');
    };
    const own = 'spiffe://cluster.local/ns/shop/sa/one';
    assert.equal(await ask(TOKEN_W, own), 'granted');
    assert.equal(await ask(TOKEN_W), 'granted');
    for (const identity of [
      'spiffe://cluster.local/ns/shop/sa/two',
      'spiffe://cluster.local/ns/shop/sa/payments',
      'spiffe://cluster.local/ns/shop/sa/frontend',
      'spiffe://evil/ns/shop/sa/one',
    ])
      assert.equal(await ask(TOKEN_W, identity), 'PERMISSION_DENIED', identity);
    assert.equal(await ask(TOKEN_A, own), 'PERMISSION_DENIED', 'a node is no waypoint');
    assert.equal(await ask(TOKEN_A, 'spiffe://cluster.local/ns/shop/sa/frontend'), 'granted');
    await controller.manifest('waypoints.yaml', gateway('two'));
    await until(async () => (await ask(TOKEN_W, own)) === 'PERMISSION_DENIED');
  });
});
