import assert from 'node:assert/strict';
import { connect as dial, createServer, type Socket } from 'node:net';
import { once } from 'node:events';
import { setImmediate } from 'node:timers/promises';
import { afterEach, describe, it } from 'mocha';
import type { AddressDelta, PolicyDelta } from '../../../../../lib/mesh/state/model.ts';
import { ADDRESS_TYPE, AUTHORIZATION_TYPE } from '../../../../../lib/mesh/xds/delta-service.ts';
import { XdsClient, type XdsClientOptions } from '../../../../../lib/mesh/xds/xds-client.ts';
import { TestCa } from '../identity/test-ca.ts';
import { DeltaServer, wireAddress, wirePolicy, type ServedStream } from './delta-server.ts';

const SILENT = { info: () => undefined, warn: () => undefined, debug: () => undefined };
const NODE = {
  id: 'ztunnel~127.0.0.1~z.loam-system~loam-system.svc.cluster.local',
  metadata: { NODE_NAME: 'a' },
};

/** A client and what it called back with. */
class Harness {
  readonly client: XdsClient;
  readonly addresses: AddressDelta[] = [];
  readonly policies: PolicyDelta[] = [];
  readonly disconnects: string[] = [];
  ready = 0;
  #wake = Promise.withResolvers<void>();

  constructor(
    server: Pick<DeltaServer, 'address' | 'rootFile' | 'tokenFile'>,
    more: Partial<XdsClientOptions> = {},
  ) {
    this.client = new XdsClient({
      address: server.address,
      rootFile: server.rootFile,
      tokenFile: server.tokenFile,
      clusterId: 'Kubernetes',
      node: NODE,
      log: SILENT,
      onAddresses: (delta) => void this.addresses.push(delta),
      onPolicies: (delta) => void this.policies.push(delta),
      onReady: () => {
        this.ready++;
        this.#wake.resolve();
      },
      onDisconnect: (reason) => {
        this.disconnects.push(reason);
        this.#wake.resolve();
      },
      ...more,
    });
    this.client.start();
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      this.#wake = Promise.withResolvers();
      await this.#wake.promise;
    }
  }
}

function pod(name: string, ip: number[] = [10, 0, 0, 1]) {
  const uid = `Kubernetes//Pod/shop/${name}`;
  return { uid, init: workload(uid, name, ip) };
}

function workload(uid: string, name: string, ip: number[]) {
  return {
    type: {
      case: 'workload' as const,
      value: { uid, name, namespace: 'shop', serviceAccount: name, addresses: [Uint8Array.from(ip)] },
    },
  };
}

/** Reads both first requests, in whichever order. */
async function firstRequests(stream: ServedStream) {
  const requests = [await stream.next(), await stream.next()];
  const of = (type: string) => {
    const found = requests.find((r) => r.typeUrl === type);
    assert.ok(found, `no request for ${type}`);
    return found;
  };
  return { addresses: of(ADDRESS_TYPE), policies: of(AUTHORIZATION_TYPE), first: requests[0] };
}

describe('xds client', () => {
  const cleanups: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });

  async function serve(options?: Parameters<typeof DeltaServer.start>[0]): Promise<DeltaServer> {
    const server = await DeltaServer.start(options);
    cleanups.push(() => server.clean());
    return server;
  }
  function connect(...args: ConstructorParameters<typeof Harness>): Harness {
    const harness = new Harness(...args);
    cleanups.push(() => harness.client.stop());
    return harness;
  }

  it('asks for everything of both types, says who it is, applies, acknowledges, and is ready once', async () => {
    const server = await serve();
    const harness = connect(server);
    const stream = await server.stream();
    assert.deepEqual(stream.metadata.get('authorization'), ['Bearer first-token']);
    assert.deepEqual(stream.metadata.get('clusterid'), ['Kubernetes']);
    const { addresses, policies, first } = await firstRequests(stream);
    assert.equal(first?.node?.id, NODE.id);
    assert.deepEqual(first?.node?.metadata, { NODE_NAME: 'a' });
    assert.deepEqual(addresses.resourceNamesSubscribe, []);
    assert.deepEqual(policies.initialResourceVersions, {});

    const a = pod('a');
    stream.send({ typeUrl: ADDRESS_TYPE, nonce: 'n1', resources: [wireAddress(a.uid, 'v1', a.init)] });
    const ack = await stream.next();
    assert.equal(ack.responseNonce, 'n1');
    assert.equal(ack.errorDetail, undefined);
    assert.equal(harness.addresses[0]?.upserts.length, 1);
    assert.equal(harness.ready, 0);
    stream.send({ typeUrl: AUTHORIZATION_TYPE, nonce: 'n2', resources: [] });
    assert.equal((await stream.next()).responseNonce, 'n2');
    await harness.until(() => harness.ready === 1);
    stream.send({ typeUrl: ADDRESS_TYPE, nonce: 'n3', removedResources: [a.uid] });
    assert.equal((await stream.next()).responseNonce, 'n3');
    assert.deepEqual(harness.addresses.at(-1), { upserts: [], removed: [a.uid] });
    assert.equal(harness.ready, 1);
    assert.deepEqual(harness.client.status(), {
      connected: true,
      addressesReady: true,
      policiesReady: true,
      addresses: 0,
      policies: 0,
      types: [ADDRESS_TYPE, AUTHORIZATION_TYPE].map((typeUrl) => ({ typeUrl, ready: true, resources: 0 })),
    });
  });

  it('applies before it acknowledges', async () => {
    const server = await serve();
    const gate = Promise.withResolvers<void>();
    const applying = Promise.withResolvers<void>();
    const order: string[] = [];
    connect(server, {
      onAddresses: async () => {
        applying.resolve();
        await gate.promise;
        order.push('applied');
      },
    });
    const stream = await server.stream();
    await firstRequests(stream);
    const a = pod('a');
    stream.send({ typeUrl: ADDRESS_TYPE, nonce: 'n1', resources: [wireAddress(a.uid, 'v1', a.init)] });
    const acknowledged = stream.next().then(() => order.push('acknowledged'));
    await applying.promise;
    gate.resolve();
    await acknowledged;
    assert.deepEqual(order, ['applied', 'acknowledged']);
  });

  it('applies one response after the other, however fast they come', async () => {
    const server = await serve();
    const log: string[] = [];
    connect(server, {
      onAddresses: async ({ upserts }) => {
        const name = upserts[0]?.name ?? '';
        log.push(`begin ${name}`);
        await setImmediate();
        log.push(`end ${name}`);
      },
    });
    const stream = await server.stream();
    await firstRequests(stream);
    const names = ['a', 'b', 'c'];
    for (const name of names) {
      const { uid, init } = pod(name);
      stream.send({ typeUrl: ADDRESS_TYPE, nonce: name, resources: [wireAddress(uid, 'v1', init)] });
    }
    for (const name of names) assert.equal((await stream.next()).responseNonce, name);
    assert.deepEqual(
      log,
      names.flatMap((name) => [`begin ${name}`, `end ${name}`]),
    );
  });

  it('begins anew when a delta cannot be taken into force, and does not count it as known', async () => {
    const server = await serve();
    let fail = true;
    const harness = connect(server, {
      onAddresses: () => {
        if (fail) throw new Error('the worker is gone');
      },
    });
    const a = pod('a');
    const response = { typeUrl: ADDRESS_TYPE, nonce: 'n1', resources: [wireAddress(a.uid, 'v1', a.init)] };
    const first = await server.stream();
    await firstRequests(first);
    first.send(response);
    await harness.until(() => harness.disconnects.includes('the worker is gone'));
    fail = false;
    const second = await server.stream();
    assert.deepEqual((await firstRequests(second)).addresses.initialResourceVersions, {});
    second.send(response);
    assert.equal((await second.next()).errorDetail, undefined);
  });

  it('refuses broken resources by name and applies the others; the broken are not kept as known', async () => {
    const server = await serve();
    const harness = connect(server);
    const stream = await server.stream();
    await firstRequests(stream);
    const [a, b] = [pod('a'), pod('b', [1, 2, 3])];
    stream.send({
      typeUrl: ADDRESS_TYPE,
      nonce: 'n1',
      resources: [
        wireAddress(b.uid, 'v1', b.init),
        wireAddress(a.uid, 'v1', a.init),
        { name: 'x', version: '1', resource: { typeUrl: ADDRESS_TYPE, value: Uint8Array.of(0xff, 0xff) } },
        { name: 'y', version: '1', resource: { typeUrl: AUTHORIZATION_TYPE, value: Uint8Array.of() } },
        { name: 'z', version: '1' },
      ],
    });
    const nack = await stream.next();
    assert.equal(nack.responseNonce, 'n1');
    assert.equal(nack.errorDetail?.code, 3);
    const message = nack.errorDetail.message;
    for (const part of [b.uid, 'addresses[0]', '0x010203', '"x"', '"y"', '"z"']) {
      assert.ok(message.includes(part), `${part} in ${message}`);
    }
    assert.deepEqual(
      harness.addresses.flatMap((d) => d.upserts.map((u) => u.name)),
      ['a'],
    );
    stream.end();
    const again = await firstRequests(await server.stream());
    assert.deepEqual(again.addresses.initialResourceVersions, { [a.uid]: 'v1' });
  });

  it('enforces a policy with a broken value in its strict form, refuses it, and asks for it again', async () => {
    const server = await serve();
    const harness = connect(server);
    const stream = await server.stream();
    await firstRequests(stream);
    const matches = [{ destinationPorts: [70_000] }];
    stream.send({
      typeUrl: AUTHORIZATION_TYPE,
      nonce: 'n1',
      resources: [wirePolicy('shop/p', 'v1', { rules: [{ clauses: [{ matches }] }] })],
    });
    const nack = await stream.next();
    assert.match(nack.errorDetail?.message ?? '', /shop\/p.*destination_ports\[0\].*70000/);
    assert.ok(harness.policies[0]?.upserts[0]?.rules[0]?.clauses[0]?.matches[0]?.unsupported);
    stream.end();
    const again = await firstRequests(await server.stream());
    assert.deepEqual(again.policies.initialResourceVersions, { 'shop/p': '' });
  });

  it('keeps what it knows while the controller is away, tells its versions, and removes what has gone', async () => {
    const ca = await TestCa.root();
    const server = await serve({ ca });
    const harness = connect(server);
    const stream = await server.stream();
    await firstRequests(stream);
    const [a, b] = [pod('a'), pod('b')];
    const resources = [wireAddress(a.uid, 'v1', a.init), wireAddress(b.uid, 'v7', b.init)];
    stream.send({ typeUrl: ADDRESS_TYPE, nonce: 'n1', resources });
    await stream.next();
    server.stop();
    await harness.until(() => harness.disconnects.length > 0);
    assert.equal(harness.client.status().addresses, 2);
    assert.equal(harness.client.status().connected, false);
    assert.ok(harness.client.status().lastError);

    await server.setToken('second-token');
    const restarted = await serve({ ca, port: server.port });
    const next = await restarted.stream();
    assert.deepEqual(next.metadata.get('authorization'), ['Bearer second-token']);
    const { addresses } = await firstRequests(next);
    assert.deepEqual(addresses.initialResourceVersions, { [a.uid]: 'v1', [b.uid]: 'v7' });
    next.send({ typeUrl: ADDRESS_TYPE, nonce: 'm1', removedResources: [b.uid] });
    await next.next();
    assert.deepEqual(harness.addresses.at(-1)?.removed, [b.uid]);
    assert.equal(harness.client.status().addresses, 1);
  });

  it('hands a large response on in parts and acknowledges it once', async () => {
    const server = await serve();
    const harness = connect(server);
    const stream = await server.stream();
    await firstRequests(stream);
    const resources = Array.from({ length: 20_000 }, (_, i) => {
      const { uid, init } = pod(`p${i}`, [10, 1, i >> 8, i & 255]);
      return wireAddress(uid, 'v', init);
    });
    stream.send({ typeUrl: ADDRESS_TYPE, nonce: 'big', resources });
    const ack = await stream.next();
    assert.equal(ack.responseNonce, 'big');
    assert.equal(harness.client.status().addresses, 20_000);
    assert.ok(harness.addresses.length > 1);
  });

  it('trusts no server but one of the given root and for the address dialled', async () => {
    const foreign = await serve({ names: [{ type: 'ip', value: '127.0.0.2' }] });
    const wrongName = connect(foreign);
    await wrongName.until(() => wrongName.disconnects.length > 1);
    const server = await serve();
    const wrongRoot = connect({
      address: server.address,
      rootFile: foreign.rootFile,
      tokenFile: server.tokenFile,
    });
    await wrongRoot.until(() => wrongRoot.disconnects.length > 1);
    assert.equal(foreign.openedStreams + server.openedStreams, 0);
  });

  it('waits for its token file, and never shows the token', async () => {
    const server = await serve();
    await server.setToken('bad\ntoken');
    const harness = connect(server);
    await harness.until(() => harness.disconnects.length > 0);
    assert.ok(!harness.disconnects.join().includes('bad'));
    await server.setToken('good-token\n');
    const stream = await server.stream();
    assert.deepEqual(stream.metadata.get('authorization'), ['Bearer good-token']);
  });

  it('gives up on a peer that accepts and says nothing', async () => {
    const held: Socket[] = [];
    const mute = createServer((socket) => {
      socket.on('error', () => undefined);
      held.push(socket);
    });
    mute.listen(0, '127.0.0.1');
    await once(mute, 'listening');
    cleanups.push(async () => {
      for (const socket of held) socket.destroy();
      mute.close();
      await once(mute, 'close');
    });
    const { port } = mute.address() as { port: number };
    const server = await serve();
    const harness = connect(
      { address: `https://127.0.0.1:${port}`, rootFile: server.rootFile, tokenFile: server.tokenFile },
      { connectTimeoutMs: 20 },
    );
    await harness.until(() => harness.disconnects.length > 1);
    assert.match(harness.disconnects[0] ?? '', /no connection/);
  });

  it('notices a connection whose other end has silently gone', async () => {
    const server = await serve();
    // Stands for the network between the two: from some moment on it swallows everything.
    let swallow = false;
    const ends: Socket[] = [];
    const network = createServer((near) => {
      const far = dial(server.port, '127.0.0.1');
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        ends.push(from);
        from.on('error', () => undefined);
        from.on('data', (bytes) => void (swallow || to.write(bytes)));
      }
    });
    network.listen(0, '127.0.0.1');
    await once(network, 'listening');
    cleanups.push(async () => {
      for (const end of ends) end.destroy();
      network.close();
      await once(network, 'close');
    });
    const { port } = network.address() as { port: number };
    const files = { rootFile: server.rootFile, tokenFile: server.tokenFile };
    const times = { keepaliveMs: 30, keepaliveTimeoutMs: 30 };
    const harness = connect({ address: `https://127.0.0.1:${port}`, ...files }, times);
    await firstRequests(await server.stream());
    swallow = true;
    await harness.until(() => harness.disconnects.length > 0);
    swallow = false;
    await firstRequests(await server.stream());
  });

  it('waits ever longer, and begins anew after a connection that lasted', async () => {
    for (const [stableMs, expected] of [
      [0, [10, 10, 10]],
      [3_600_000, [10, 20, 40]],
    ] as const) {
      const waits: number[] = [];
      const warn = (fields: { waitMs?: number }) => void waits.push(fields.waitMs ?? 0);
      const server = await serve();
      const harness = connect(server, { stableMs, random: () => 0.5, log: { ...SILENT, warn } });
      for (let i = 0; i < 3; i++) {
        const stream = await server.stream();
        await firstRequests(stream);
        stream.send({ typeUrl: ADDRESS_TYPE, nonce: 'n' });
        await stream.next();
        stream.end();
      }
      await harness.until(() => harness.disconnects.length === 3);
      assert.deepEqual(waits, expected);
    }
  });

  it('stops cleanly, connected or not, and calls back no more', async () => {
    const server = await serve();
    const harness = connect(server);
    const stream = await server.stream();
    await firstRequests(stream);
    await harness.client.stop();
    await stream.ended;
    const disconnected = connect({
      ...server,
      address: 'https://127.0.0.1:1',
      rootFile: server.rootFile,
      tokenFile: server.tokenFile,
    });
    await disconnected.until(() => disconnected.disconnects.length > 2);
    await disconnected.client.stop();
    assert.deepEqual(harness.disconnects, []);
  });
});
