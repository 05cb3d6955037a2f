import assert from 'node:assert/strict';
import { create } from '@bufbuild/protobuf';
import * as grpc from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { grpcServiceDefinition } from '../../../../controller/grpc-service.ts';
import { ControllerMetrics } from '../../../../controller/telemetry/metrics.ts';
import { XDS_SERVICE, XdsService } from '../../../../controller/xds/service.ts';
import { ADDRESS_TYPE, EMPTY_SNAPSHOT, makeSnapshot } from '../../../../controller/xds/snapshot.ts';
import {
  AggregatedDiscoveryService,
  type DeltaDiscoveryRequest,
  DeltaDiscoveryRequestSchema,
  type DeltaDiscoveryResponse,
} from '../../../../proto/gen/envoy/discovery_pb.js';
import { SILENT, until } from '../harness.ts';

type XdsCall = grpc.ClientDuplexStream<DeltaDiscoveryRequest, DeltaDiscoveryResponse>;
const RESOURCES = 40;
/** Of each: so that the whole goes out in some twenty responses. */
const BYTES = 256 * 1024;
const NO_SUCH = 'xds.test/no-such';

/** A processor so slow that every look at the clock finds a minute gone: whoever waits in proportion to that waits for hours. */
function slowClock(): () => number {
  let now = 0;
  return () => (now += 60_000);
}

describe('xds/service: a first state of many parts', () => {
  let service: XdsService;
  let server: grpc.Server;
  let client: grpc.Client;

  beforeEach(async () => {
    service = new XdsService({
      authenticate: () => Promise.resolve({ kind: 'node', node: 'node-a' }),
      metrics: new ControllerMetrics('test'),
      log: SILENT,
      now: slowClock(),
    });
    const resources = Array.from({ length: RESOURCES }, (_, n) => ({
      name: `r-${n}`,
      bytes: new Uint8Array(BYTES).fill(n),
      aliases: [],
      members: [],
    }));
    const none = new Map<string, never>();
    const mesh = {
      addresses: new Map(resources.map((each) => [each.name, each])),
      authorizations: none,
      waypoints: none,
      egress: { byNode: none, enforcers: none },
    };
    service.publish(makeSnapshot(1, mesh, EMPTY_SNAPSHOT));
    server = new grpc.Server();
    server.addService(XDS_SERVICE, service.implementation);
    const port = await new Promise<number>((resolve, reject) =>
      server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      ),
    );
    const Client = grpc.makeClientConstructor(grpcServiceDefinition(AggregatedDiscoveryService), 'xds');
    client = new Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
  });
  afterEach(() => {
    client.close();
    server.forceShutdown();
  });

  function open(): XdsCall {
    const method = (client as unknown as Record<string, () => XdsCall>)['deltaAggregatedResources'];
    assert(method !== undefined);
    const call = method.call(client);
    call.on('error', () => undefined);
    return call;
  }

  it('goes out as fast as the client answers, however long its parts take to find', async () => {
    const call = open();
    const names = new Set<string>();
    call.on('data', ({ nonce, resources, typeUrl }: DeltaDiscoveryResponse) => {
      for (const { name } of resources) names.add(name);
      call.write(create(DeltaDiscoveryRequestSchema, { typeUrl, responseNonce: nonce }));
    });
    call.write(create(DeltaDiscoveryRequestSchema, { typeUrl: ADDRESS_TYPE }));
    await until(() => (names.size === RESOURCES ? true : undefined));
  });

  it('is no way to be looked for by name as often as one likes', async () => {
    const call = open();
    let responses = 0;
    call.on('data', ({ nonce, typeUrl }: DeltaDiscoveryResponse) => {
      responses += 1;
      const more = { resourceNamesSubscribe: [`${NO_SUCH}/${responses}`] };
      call.write(create(DeltaDiscoveryRequestSchema, { typeUrl, responseNonce: nonce, ...more }));
    });
    const nothing = { resourceNamesSubscribe: ['*', NO_SUCH], resourceNamesUnsubscribe: ['*'] };
    call.write(create(DeltaDiscoveryRequestSchema, { typeUrl: ADDRESS_TYPE, ...nothing }));
    await until(() => (responses === 1 ? true : undefined));
    // What follows needs the clock of the test to stand still in between: its answer is hours away.
    const other = open();
    const told = new Promise<void>((resolve) => other.once('data', () => resolve()));
    other.write(create(DeltaDiscoveryRequestSchema, { typeUrl: ADDRESS_TYPE }));
    await told;
    assert.equal(responses, 1);
  });
});
