import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'mocha';
import type { Resource } from '../../../../../proto/gen/envoy/discovery_pb.js';
import { ADDRESS_TYPE, AUTHORIZATION_TYPE } from '../../../../../lib/mesh/xds/delta-service.ts';
import { XdsClient } from '../../../../../lib/mesh/xds/xds-client.ts';
import { DeltaServer, type ServedStream, wireAddress, wirePolicy } from './delta-server.ts';

const SILENT = { info: () => undefined, warn: () => undefined, debug: () => undefined };
const uidOf = (name: string): string => `Kubernetes//Pod/shop/${name}`;
const MAX_GROWTH_MB = 100;

function pod(name: string, version = '1', address = [10, 0, 0, 1]): Resource {
  const value = {
    uid: uidOf(name),
    ...{ name, namespace: 'shop', serviceAccount: name, addresses: [Uint8Array.from(address)] },
  };
  return wireAddress(uidOf(name), version, { type: { case: 'workload', value } });
}

/** With more behind it, as it stands on the wire. */
function withBytes(resource: Resource, ...bytes: (number | Buffer)[]): Resource {
  const { resource: any } = resource;
  assert.ok(any !== undefined);
  const more = bytes.map((each) => (typeof each === 'number' ? Buffer.of(each) : each));
  return { ...resource, resource: { ...any, value: Buffer.concat([any.value, ...more]) } };
}

/** A controller in bad hands, over real gRPC: what it names is believed, but it must not break whoever follows it. */
describe('xds client: hostile controllers', () => {
  let server: DeltaServer;
  let client: XdsClient;
  /** By name: what is in force. */
  let inForce: Set<string>;
  let policies: Set<string>;
  let disconnects: string[];
  let stream: ServedStream;
  let nonces = 0;

  beforeEach(async () => {
    [inForce, policies, disconnects] = [new Set(), new Set(), []];
    server = await DeltaServer.start();
    client = new XdsClient({
      ...{ address: server.address, rootFile: server.rootFile, tokenFile: server.tokenFile },
      ...{ clusterId: 'Kubernetes', node: { id: 'z', metadata: {} }, log: SILENT },
      onAddresses: ({ upserts, removed }) => {
        for (const { name } of upserts) inForce.add(name);
        for (const name of removed) inForce.delete(name.split('/').at(-1) ?? '');
      },
      onPolicies: ({ upserts, removed }) => {
        for (const { key } of upserts) policies.add(key);
        for (const key of removed) policies.delete(key);
      },
      onReady: () => undefined,
      onDisconnect: (reason) => void disconnects.push(reason),
    });
    client.start();
    stream = await begin();
    assert.equal(await answer({ resources: [pod('good')] }), undefined);
  });
  afterEach(async () => {
    await client.stop();
    await server.clean();
  });

  async function begin(): Promise<ServedStream> {
    const opened = await server.stream();
    for (let i = 0; i < 2; i += 1) await opened.next();
    return opened;
  }

  /** Sends a response and waits for what the client says to it: its refusal, if it is one. */
  async function answer(response: {
    typeUrl?: string;
    resources?: Resource[];
    removedResources?: string[];
  }): Promise<string | undefined> {
    const nonce = `n${(nonces += 1)}`;
    stream.send({ typeUrl: ADDRESS_TYPE, nonce, ...response });
    const { responseNonce, errorDetail } = await stream.next();
    assert.equal(responseNonce, nonce);
    return errorDetail?.message;
  }

  async function worksOn(): Promise<void> {
    assert.equal(await answer({ resources: [pod('next')] }), undefined);
    assert.ok(inForce.has('good') && inForce.has('next'), [...inForce].join());
  }

  const broken: [what: string, resource: () => Resource, says: RegExp][] = [
    ['bytes that are no message', () => withBytes(pod('bad'), 0xff), /Pod\/shop\/bad/],
    ['a message cut short', () => withBytes(pod('bad'), 0x12, 0x7f), /Pod\/shop\/bad/],
    ['another name than its content', () => ({ ...pod('bad'), name: uidOf('good') }), /Pod\/shop\/good/],
    ['a type of its own', () => wirePolicy('shop/p', '1', {}), /"shop\/p": type .*Authorization/],
    ['no content', () => ({ ...pod('bad'), resource: undefined }), /Pod\/shop\/bad/],
    ['an address of five bytes', () => pod('bad', '1', [1, 2, 3, 4, 5]), /Pod\/shop\/bad.*addresses\[0\]/],
  ];
  for (const [what, resource, says] of broken) {
    it(`a resource with ${what} within a good response: refused by name, the others in force`, async () => {
      const nack = await answer({ resources: [pod('a'), resource(), pod('z')] });
      assert.match(nack ?? '', says);
      assert.deepEqual([...inForce].sort(), ['a', 'good', 'z']);
      await worksOn();
    });
  }

  it('a thousand broken resources: named up to a bound, in a reason of bounded length', async () => {
    const resources = Array.from({ length: 1_000 }, (_, i) => withBytes(pod(`bad${i}`), 0xff));
    const nack = (await answer({ resources })) ?? '';
    assert.ok(nack.length <= 4_096, String(nack.length));
    assert.match(nack, /bad0"/);
    await worksOn();
  });

  it('fields that nobody knows: passed over', async () => {
    // Field 500, of four bytes, behind what is known, and one within the workload.
    assert.equal(await answer({ resources: [withBytes(pod('new'), 0xa2, 0x1f, 4, 1, 2, 3, 4)] }), undefined);
    assert.ok(inForce.has('new'));
    await worksOn();
  });

  it('a type that was never asked for: the stream ends, the state stays, and the next one goes on', async () => {
    for (const typeUrl of ['type.googleapis.com/envoy.config.listener.v3.Listener', '']) {
      stream.send({ typeUrl, nonce: 'x' });
      const ended = stream;
      stream = await begin();
      await ended.ended;
      assert.ok(inForce.has('good'));
    }
    assert.match(disconnects[0] ?? '', /was never asked for/);
    await worksOn();
  });

  it('the same nonce again, none, and a very long one: answered with what was sent', async () => {
    for (const nonce of ['same', 'same', '', 'n'.repeat(100_000)]) {
      stream.send({ typeUrl: ADDRESS_TYPE, nonce });
      assert.equal((await stream.next()).responseNonce, nonce);
    }
    await worksOn();
  });

  it('names that come twice, and the removal of what was never there, and of what came in the same response', async () => {
    const removedResources = [uidOf('never'), uidOf('gone'), '', 'x'.repeat(100_000)];
    const nack = await answer({
      resources: [pod('gone'), pod('twice'), pod('twice', '2')],
      removedResources,
    });
    assert.equal(nack, undefined);
    assert.deepEqual([...inForce].sort(), ['good', 'twice']);
    await worksOn();
  });

  it('a resource of 8 MB, and policies of ten thousand rules', async () => {
    // Field 500, length-delimited, of 2^23 bytes.
    const huge = withBytes(pod('huge'), 0xa2, 0x1f, 0x80, 0x80, 0x80, 0x04, Buffer.alloc(2 ** 23));
    assert.equal(await answer({ resources: [huge] }), undefined);
    const rules = Array.from({ length: 10_000 }, () => ({
      clauses: [{ matches: [{ destinationPorts: [80] }] }],
    }));
    const refused = await answer({
      typeUrl: AUTHORIZATION_TYPE,
      resources: [wirePolicy('shop/many', '1', { rules })],
    });
    assert.equal(refused, undefined);
    assert.ok(policies.has('shop/many'));
    await worksOn();
  });

  it('a flood of responses that nobody asked for: each is answered, one after the other, and memory stays', async () => {
    const before = process.memoryUsage();
    const responses = 1_500;
    for (let i = 0; i < responses; i += 1)
      stream.send({ typeUrl: ADDRESS_TYPE, nonce: `f${i}`, resources: [pod('good', `${i}`)] });
    for (let i = 0; i < responses; i += 1) assert.equal((await stream.next()).responseNonce, `f${i}`);
    const { heapUsed, external } = process.memoryUsage();
    const grownMb = (heapUsed + external - before.heapUsed - before.external) / 2 ** 20;
    assert.ok(grownMb < MAX_GROWTH_MB, `${grownMb} MB more`);
    assert.equal(client.status().addresses, 1);
    await worksOn();
  });
});
