import assert from 'node:assert/strict';
import { create } from '@bufbuild/protobuf';
import * as grpc from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { AuthenticationUnavailable } from '../../../../controller/auth/authenticator.ts';
import type { Principal } from '../../../../controller/auth/principal.ts';
import { grpcServiceDefinition } from '../../../../controller/grpc-service.ts';
import { ControllerMetrics } from '../../../../controller/telemetry/metrics.ts';
import { XDS_SERVICE, XdsService } from '../../../../controller/xds/service.ts';
import { ADDRESS_TYPE, EMPTY_SNAPSHOT } from '../../../../controller/xds/snapshot.ts';
import {
  AggregatedDiscoveryService,
  type DeltaDiscoveryRequest,
  DeltaDiscoveryRequestSchema,
  type DeltaDiscoveryResponse,
} from '../../../../proto/gen/envoy/discovery_pb.js';
import { SILENT, until } from '../harness.ts';

type Answer = Principal | undefined | Error;
type XdsCall = grpc.ClientDuplexStream<DeltaDiscoveryRequest, DeltaDiscoveryResponse>;
const NODE: Principal = { kind: 'node', node: 'node-a' };

/** One that is asked, and answers when the test says so. */
class SlowAuthenticator {
  readonly #waiting: ((answer: Answer) => void)[] = [];

  readonly authenticate = (): Promise<Principal | undefined> =>
    new Promise((resolve, reject) => {
      this.#waiting.push((answer) => (answer instanceof Error ? reject(answer) : resolve(answer)));
    });

  get asked(): number {
    return this.#waiting.length;
  }

  async answer(answer: Answer): Promise<void> {
    const next = await until(() => this.#waiting.shift());
    next(answer);
  }
}

describe('xds/service: credentials that take time', () => {
  let authenticator: SlowAuthenticator;
  let service: XdsService;
  let server: grpc.Server;
  let client: grpc.Client;

  beforeEach(async () => {
    authenticator = new SlowAuthenticator();
    service = new XdsService({ ...authenticator, metrics: new ControllerMetrics('test'), log: SILENT });
    service.publish({ ...EMPTY_SNAPSHOT, generation: 1 });
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

  function open(): { call: XdsCall; responses: DeltaDiscoveryResponse[]; ended: Promise<grpc.StatusObject> } {
    const method = (client as unknown as Record<string, () => XdsCall>)['deltaAggregatedResources'];
    assert(method !== undefined);
    const call = method.call(client);
    const responses: DeltaDiscoveryResponse[] = [];
    call.on('data', (response: DeltaDiscoveryResponse) => responses.push(response));
    call.on('error', () => undefined);
    const ended = new Promise<grpc.StatusObject>((resolve) => call.on('status', resolve));
    call.write(create(DeltaDiscoveryRequestSchema, { typeUrl: ADDRESS_TYPE }));
    return { call, responses, ended };
  }

  async function admitted(): Promise<ReturnType<typeof open>> {
    const stream = open();
    await authenticator.answer(NODE);
    await until(() => stream.responses.length > 0);
    return stream;
  }

  it('serves nothing before it is settled, and then what was asked for meanwhile', async () => {
    const stream = open();
    await until(() => authenticator.asked === 1);
    service.publish({ ...EMPTY_SNAPSHOT, generation: 2 });
    assert.deepEqual([stream.responses.length, service.streams.length], [0, 0]);
    await authenticator.answer(NODE);
    await until(() => stream.responses.length === 1);
    assert.deepEqual(
      service.streams.map(({ principal }) => principal),
      [NODE],
    );
    stream.call.cancel();
  });

  const refusals: [string, Answer, grpc.status][] = [
    ['that proves nobody', undefined, grpc.status.UNAUTHENTICATED],
    ['that nobody can judge now', new AuthenticationUnavailable('the API is away'), grpc.status.UNAVAILABLE],
    ['that cannot be judged for a fault of ours', new Error('a fault'), grpc.status.UNAUTHENTICATED],
  ];
  for (const [what, answer, code] of refusals) {
    it(`refuses one ${what}`, async () => {
      const stream = open();
      await authenticator.answer(answer);
      assert.equal((await stream.ended).code, code);
      assert.equal(stream.responses.length, 0);
    });
  }

  it('forgets a client that leaves before it is settled', async () => {
    const stream = open();
    await until(() => authenticator.asked === 1);
    stream.call.cancel();
    await stream.ended;
    const second = open();
    await until(() => authenticator.asked === 2);
    await authenticator.answer(NODE);
    await authenticator.answer(NODE);
    await until(() => second.responses.length > 0);
    await until(() => service.streams.length === 1);
    second.call.cancel();
  });

  it('asks again when credentials changed while it waited for the answer', async () => {
    const stream = open();
    await until(() => authenticator.asked === 1);
    service.recheckCredentials();
    await authenticator.answer(NODE);
    await authenticator.answer(undefined);
    assert.equal((await stream.ended).code, grpc.status.UNAUTHENTICATED);
    assert.equal(stream.responses.length, 0);
  });

  it('looks at open streams again: one stays while nobody can tell, and ends when its token proves nobody', async () => {
    const stream = await admitted();
    service.recheckCredentials();
    await authenticator.answer(new AuthenticationUnavailable('the API is away'));
    service.recheckCredentials();
    await authenticator.answer(NODE);
    assert.equal(service.streams.length, 1);
    service.recheckCredentials();
    await authenticator.answer({ kind: 'node', node: 'node-b' });
    assert.equal((await stream.ended).code, grpc.status.UNAUTHENTICATED);
  });
});
