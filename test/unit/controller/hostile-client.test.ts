import assert from 'node:assert/strict';
import * as grpc from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { CONTROLLER_DNS_NAME } from '../../../controller/ca/serving-certificate.ts';
import { ADDRESS_TYPE, AUTHORIZATION_TYPE } from '../../../controller/xds/snapshot.ts';
import {
  bearer,
  layOutShop,
  MANIFESTS,
  policyManifest,
  type RunningController,
  runController,
  temporaryDir,
  TestXdsClient,
  TOKEN_A,
  TOKEN_B,
  until,
} from './harness.ts';

const XDS_PATH = '/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources';
const FRONTEND = 'cluster.local/ns/shop/sa/frontend';

/** One node's token in bad hands, over real gRPC; what the other node gets meanwhile. */
describe('controller: hostile clients', () => {
  let dir: Awaited<ReturnType<typeof temporaryDir>>;
  let controller: RunningController;
  let honest: TestXdsClient;
  let edits = 0;
  const open: TestXdsClient[] = [];

  beforeEach(async () => {
    dir = await temporaryDir();
    await layOutShop(dir.path);
    controller = await runController(dir.path);
    honest = await TestXdsClient.connect(controller, TOKEN_B);
    honest.send({ typeUrl: AUTHORIZATION_TYPE });
    honest.ack(await honest.next());
  });
  afterEach(async () => {
    honest[Symbol.dispose]();
    for (const client of open.splice(0)) client[Symbol.dispose]();
    await controller[Symbol.asyncDispose]();
    await dir[Symbol.asyncDispose]();
  });

  async function hostile(): Promise<TestXdsClient> {
    const client = await TestXdsClient.connect(controller, TOKEN_A);
    open.push(client);
    return client;
  }

  /** An edit reaches the other node, whatever goes on. */
  async function othersAreServed(): Promise<void> {
    const name = `p${(edits += 1)}`;
    await controller.manifest(`${name}.yaml`, policyManifest(FRONTEND, name));
    const got = await honest.next();
    assert.deepEqual(
      got.resources.map((resource) => resource.name),
      [`shop/${name}`],
    );
    honest.ack(got);
  }

  it('one that refuses all it gets and asks for it again, with long reasons', async () => {
    const client = await hostile();
    client.send({ typeUrl: ADDRESS_TYPE });
    const reason = 'Kubernetes//Pod/shop/frontend-0'.slice(0, -1).repeat(40_000);
    for (let i = 0; i < 30; i += 1) {
      const response = await client.next();
      assert.ok(response.resources.length > 0);
      client.nack(response, reason);
      const names = response.resources.map(({ name }) => name);
      client.send({ typeUrl: ADDRESS_TYPE, resourceNamesSubscribe: [...names, '*'] });
      // Asked for by name once more, all of it is sent once more.
      client.send({ typeUrl: ADDRESS_TYPE, resourceNamesUnsubscribe: ['*'], resourceNamesSubscribe: names });
      if (i % 10 === 0) await othersAreServed();
    }
    await othersAreServed();
    const { nodes } = await controller.report();
    const nacks = nodes.find(({ node }) => node === 'node-a')?.nacks ?? [];
    assert.ok(nacks.length > 0 && nacks.every((nack) => nack.length < 1_000));
  });

  it('one that subscribes to a million names', async () => {
    const client = await hostile();
    const names = Array.from({ length: 1_000_000 }, (_, i) => i.toString(36));
    client.send({ typeUrl: ADDRESS_TYPE, resourceNamesSubscribe: names });
    const { code, details } = await client.ended;
    assert.equal(code, grpc.status.INVALID_ARGUMENT);
    assert.match(details, /too many names/);
    await othersAreServed();
  });

  it('one that says it has what nobody has: names of any length, or a hundred thousand', async () => {
    const long = await hostile();
    long.send({ typeUrl: ADDRESS_TYPE, initialResourceVersions: { ['a'.repeat(2_000)]: '1' } });
    assert.equal((await long.ended).code, grpc.status.INVALID_ARGUMENT);
    const many = await hostile();
    const versions = Object.fromEntries(Array.from({ length: 100_000 }, (_, i) => [`n${i}`, '1']));
    many.send({ typeUrl: ADDRESS_TYPE, initialResourceVersions: versions });
    const first = await many.next();
    assert.ok(first.removedResources.length > 0);
    await othersAreServed();
  });

  it('one that sends more than a request may have, or what is none', async () => {
    const large = await hostile();
    large.send({ typeUrl: 'x'.repeat(9 * 1024 * 1024) });
    assert.equal((await large.ended).code, grpc.status.RESOURCE_EXHAUSTED);
    for (const bytes of [Buffer.alloc(64, 0xff), Buffer.from([0x0a, 0xff, 0xff, 0xff, 0x7f])]) {
      const raw = new grpc.Client(controller.address, await controller.channel(), {
        'grpc.ssl_target_name_override': CONTROLLER_DNS_NAME,
      });
      const call = raw.makeBidiStreamRequest(
        XDS_PATH,
        (value: Buffer) => value,
        (value: Buffer) => value,
        bearer(TOKEN_A),
      );
      call.on('error', () => undefined);
      const status = new Promise<grpc.StatusObject>((resolve) => call.on('status', resolve));
      call.resume();
      call.write(bytes);
      assert.notEqual((await status).code, grpc.status.OK);
      raw.close();
    }
    await othersAreServed();
  });

  it('one that never reads, with as many streams as it is let have', async () => {
    const clients = [];
    for (let i = 0; i < 16; i += 1) {
      const client = await hostile();
      client.call.pause();
      client.send({ typeUrl: ADDRESS_TYPE });
      client.send({ typeUrl: AUTHORIZATION_TYPE });
      clients.push(client);
    }
    await until(async () => {
      const { nodes } = await controller.report();
      return nodes.find(({ node }) => node === 'node-a')?.connected === true;
    });
    for (let i = 0; i < 3; i += 1) await othersAreServed();
    const { code } = await (await hostile()).ended;
    assert.equal(code, grpc.status.RESOURCE_EXHAUSTED);
  });

  it('one that comes again and again', async () => {
    for (let refused = false; !refused;) {
      const client = await TestXdsClient.connect(controller, TOKEN_A);
      client.send({ typeUrl: ADDRESS_TYPE });
      const answer = client.next();
      answer.catch(() => undefined);
      const first = await Promise.race([answer, client.ended]);
      if ('code' in first) {
        assert.equal(first.code, grpc.status.RESOURCE_EXHAUSTED);
        assert.match(first.details, /asks for more than a client may/);
        refused = true;
      }
      client[Symbol.dispose]();
    }
    await othersAreServed();
  });

  it('one that floods with requests, while the mesh changes', async () => {
    const client = await hostile();
    client.send({ typeUrl: ADDRESS_TYPE });
    await client.next();
    for (let i = 0; i < 5_000; i += 1) {
      const names = [`name-${i % 1_000}`];
      client.send({ typeUrl: ADDRESS_TYPE, responseNonce: `${i}`, resourceNamesSubscribe: names });
      if (i % 1_000 === 0) await controller.manifest('shop.yaml', `${MANIFESTS}\n# ${i}\n`);
    }
    for (let i = 0; i < 3; i += 1) await othersAreServed();
  });
});
