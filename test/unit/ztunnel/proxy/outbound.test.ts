import assert from 'node:assert/strict';
import type net from 'node:net';
import { after, afterEach, before, beforeEach, describe, it } from 'mocha';
import { servePlaintext } from '../../../../ztunnel/proxy/inbound-plaintext.ts';
import { serveOutbound } from '../../../../ztunnel/proxy/outbound.ts';
import { AddressDemand } from '../../../../ztunnel/on-demand/address-demand.ts';
import { Pod } from '../../../../ztunnel/proxy/pod.ts';
import { FirstState } from '../../../../lib/mesh/state/first-state.ts';
import { errorCode, eventually, readAll } from '../support/streams.ts';
import { toyMesh, ToyNetwork, toyPolicy, toyWorkload, type ToyMesh } from '../support/toy-mesh.ts';

const APP_PORT = 8080;
/** Stands for the port that a client dialled, as steering would have it. */
const PLAINTEXT_PORT = 8081;
const SHORT_MS = 30;
/** Longer than any test: what is waited for comes. */
const LONG_MS = 60_000;

describe('ztunnel/proxy: outbound and plaintext inbound', () => {
  let network: ToyNetwork;
  let mesh: ToyMesh;
  let outbound: net.Server;
  let plaintext: net.Server;
  let application: net.Server;
  let received: number;

  before(async () => {
    network = new ToyNetwork('ztout');
    const echo = (socket: net.Socket): void => {
      socket.on('error', () => undefined);
      socket.on('data', (chunk: Buffer) => (received += chunk.length));
      socket.pipe(socket);
    };
    application = await network.b.listen(APP_PORT, echo, false);
    const of = (name: string) => ({ uid: `uid-${name}`, name, namespace: 'default', serviceAccount: name });
    outbound = await network.a.listen(
      0,
      (socket) => void serveOutbound(new Pod(of('client'), mesh, network.a), socket),
      true,
    );
    // The pod's sockets go to the application's port, whatever the local address of the test's listener is.
    const sockets = {
      dialRemote: network.b.dialRemote.bind(network.b),
      dialApplication: (target: { ip: string }, peer: { ip: string; port: number }) =>
        network.b.dialApplication({ ip: target.ip, port: APP_PORT }, peer),
      originalDst: () => undefined,
      close: () => undefined,
    };
    plaintext = await network.b.listen(
      PLAINTEXT_PORT,
      (socket) => void servePlaintext(new Pod(of('server'), mesh, sockets), socket),
      true,
    );
  });

  after(() => {
    for (const server of [outbound, plaintext, application]) server.close();
    network.remove();
  });

  beforeEach(() => {
    received = 0;
    mesh = toyMesh({ stateWaitMs: SHORT_MS });
    mesh.workloads.apply({
      upserts: [
        toyWorkload('client', network.a.ip),
        toyWorkload('server', network.b.ip, { tunnelProtocol: 'none' }),
      ],
      removed: [],
    });
    network.a.wanted = { ip: network.b.ip, port: APP_PORT };
  });

  afterEach(() => assert.equal(mesh.registry.size, 0, 'a connection stayed registered'));

  const dial = () =>
    network.a.dialRemote({ ip: network.a.ip, port: (outbound.address() as net.AddressInfo).port });
  const lastRecord = () => eventually(() => mesh.records.find((record) => record.level !== 'debug'));

  /** As it is while the first answers of the control plane are still coming in. */
  function halfKnown(firstState: FirstState): void {
    const { workloads } = mesh;
    mesh = { ...toyMesh({ stateWaitMs: SHORT_MS, firstState }), workloads };
  }

  it('does not take a destination for foreign before all are known', async () => {
    const firstState = new FirstState();
    halfKnown(firstState);
    const refused = dial();
    refused.end('secret');
    assert.equal(await errorCode(refused), 'ECONNRESET');
    assert.equal(received, 0);
    firstState.setComplete();
    const client = dial();
    client.end('hello');
    assert.equal(await readAll(client), 'hello');
  });

  it('lets nothing in before all policies are known', async () => {
    const firstState = new FirstState();
    halfKnown(firstState);
    const early = network.a.dialRemote({ ip: network.b.ip, port: PLAINTEXT_PORT });
    early.end('denied later');
    assert.equal(await errorCode(early), 'ECONNRESET');
    assert.equal(received, 0);
    firstState.setComplete();
    const client = network.a.dialRemote({ ip: network.b.ip, port: PLAINTEXT_PORT });
    client.end('hello');
    assert.equal(await readAll(client), 'hello');
  });

  it('goes in plaintext to a workload that is not of the mesh, and does not call it mutual TLS', async () => {
    const client = dial();
    client.end('hello');
    assert.equal(await readAll(client), 'hello');
    const { fields } = await lastRecord();
    assert.equal(fields['dst.workload'], 'server');
    assert.equal(fields['dst.identity'], undefined);
    assert.equal(fields['src.identity'], undefined);
  });

  it('passes through to what it does not know', async () => {
    mesh.workloads.apply({ upserts: [], removed: ['Kubernetes//Pod/default/server'] });
    const client = dial();
    client.end('hello');
    assert.equal(await readAll(client), 'hello');
    assert.equal((await lastRecord()).fields['dst.workload'], undefined);
  });

  describe('where the node does not follow the whole mesh', () => {
    let asked: string[];

    beforeEach(() => {
      asked = [];
      const { workloads } = mesh;
      const demand = new AddressDemand({ ask: (names) => asked.push(...names), forget: () => undefined });
      mesh = { ...toyMesh({ stateWaitMs: LONG_MS, demand }), workloads };
    });

    it('goes nowhere before it was told what is dialled, and then where that leads', async () => {
      const server = mesh.workloads.byUid('Kubernetes//Pod/default/server');
      assert(server !== undefined);
      mesh.workloads.apply({ upserts: [], removed: [server.uid] });
      const client = dial();
      client.end('hello');
      await eventually(() => asked.length > 0 || undefined);
      assert.deepEqual(asked, [`/${network.b.ip}`]);
      assert.equal(received, 0);
      mesh.workloads.apply({ upserts: [server], removed: [] });
      mesh.demand?.told([server.uid, `/${network.b.ip}`]);
      assert.equal(await readAll(client), 'hello');
      assert.equal((await lastRecord()).fields['dst.workload'], 'server');
      const again = dial();
      again.end('hello');
      assert.equal(await readAll(again), 'hello');
      assert.equal(asked.length, 1, 'what is known is not asked for again');
    });

    it('passes through to what it was told the mesh does not know', async () => {
      mesh.workloads.apply({ upserts: [], removed: ['Kubernetes//Pod/default/server'] });
      const client = dial();
      client.end('hello');
      await eventually(() => asked.length > 0 || undefined);
      mesh.demand?.told([`/${network.b.ip}`]);
      assert.equal(await readAll(client), 'hello');
      assert.equal((await lastRecord()).fields['dst.workload'], undefined);
    });

    it('refuses what nobody answers for, since it may be a pod of the mesh', async () => {
      const { workloads, demand } = mesh;
      mesh = { ...toyMesh({ stateWaitMs: SHORT_MS, ...(demand && { demand }) }), workloads };
      mesh.workloads.apply({ upserts: [], removed: ['Kubernetes//Pod/default/server'] });
      const client = dial();
      client.end('secret');
      assert.equal(await errorCode(client), 'ECONNRESET');
      assert.equal(received, 0);
      assert.match(String((await lastRecord()).fields['error']), /did not say within/);
    });

    it('asks for the waypoint of what is dialled, and does not go past one that is not there', async () => {
      const server = mesh.workloads.byUid('Kubernetes//Pod/default/server');
      assert(server !== undefined);
      const service = 'default/way.default.svc.cluster.local';
      const waypoint = { by: 'hostname', service, hboneMtlsPort: 15008 } as const;
      mesh.workloads.apply({ upserts: [{ ...server, waypoint }], removed: [] });
      const client = dial();
      client.end('secret');
      await eventually(() => asked.length > 0 || undefined);
      assert.deepEqual(asked, [service]);
      mesh.demand?.told([service]);
      assert.equal(await errorCode(client), 'ECONNRESET');
      assert.equal(received, 0);
      assert.match(String((await lastRecord()).fields['error']), /waypoint/);
    });
  });

  const refusals: [what: string, prepare: () => void, says: RegExp, flag: string][] = [
    ['a port of the mesh', () => (network.a.wanted = { ip: network.b.ip, port: 15008 }), /15008/, 'CONNECT'],
    ['loopback', () => (network.a.wanted = { ip: '127.0.0.1', port: 80 }), /127\.0\.0\.1/, 'CONNECT'],
    [
      'a pod that the control plane does not know',
      () => mesh.workloads.apply({ upserts: [], removed: ['Kubernetes//Pod/default/client'] }),
      /does not know pod default\/client/,
      'CONNECT',
    ],
    [
      'a mesh workload for want of a certificate, and never in plaintext',
      () => mesh.workloads.apply({ upserts: [toyWorkload('server', network.b.ip)], removed: [] }),
      /no valid certificate/,
      'IDENTITY_ERROR',
    ],
    [
      'a workload that needs a waypoint which is not there',
      () => {
        const waypoint = { by: 'hostname', service: 'default/way', hboneMtlsPort: 15008 } as const;
        mesh.workloads.apply({ upserts: [toyWorkload('server', network.b.ip, { waypoint })], removed: [] });
      },
      /waypoint-missing: workload .*default\/way/,
      'WAYPOINT',
    ],
  ];
  for (const [what, prepare, says, flag] of refusals) {
    it(`resets a connection for ${what}`, async () => {
      prepare();
      const client = dial();
      client.write('secret');
      assert.equal(await errorCode(client), 'ECONNRESET');
      const { fields } = await lastRecord();
      assert.match(String(fields['error']), says);
      assert.equal(fields['response_flags'], flag);
      assert.equal(received, 0);
    });
  }

  it('resets a connection of unknown destination, and guesses nothing', async () => {
    network.a.wanted = undefined;
    assert.equal(await errorCode(dial()), 'ECONNRESET');
    assert.deepEqual(mesh.metrics.takeBatch().refused, { NO_ORIGINAL_DST: 1 });
  });

  it('refuses what goes beyond the bound of connections', async () => {
    mesh = { ...mesh, limits: { ...mesh.limits, connectionsPerPod: 0 } };
    assert.equal(await errorCode(dial()), 'ECONNRESET');
    assert.match(String((await lastRecord()).fields['error']), /has 0 connections/);
  });

  it('lets plaintext in where policy lets nobody in particular in, with the true client', async () => {
    const client = network.a.dialRemote({ ip: network.b.ip, port: PLAINTEXT_PORT });
    client.end('plain');
    assert.equal(await readAll(client), 'plain');
    assert.deepEqual(network.b.truePeers.at(-1)?.ip, network.a.ip);
    const { fields } = await lastRecord();
    assert.equal(fields['direction'], 'inbound');
    assert.equal(fields['src.identity'], undefined);
  });

  it('resets plaintext where policy asks for an identity', async () => {
    mesh.policies.upsert(toyPolicy('strict', 'deny', { notPrincipals: [{ how: 'presence' }] }));
    const client = network.a.dialRemote({ ip: network.b.ip, port: PLAINTEXT_PORT });
    client.write('secret');
    assert.equal(await errorCode(client), 'ECONNRESET');
    const { fields } = await lastRecord();
    assert.equal(fields['policy'], 'default/strict');
    assert.equal(received, 0);
  });

  it('denies when a policy that is named does not come', async () => {
    const workload = toyWorkload('server', network.b.ip, { authorizationPolicies: ['default/absent'] });
    mesh.workloads.apply({ upserts: [workload], removed: [] });
    const client = network.a.dialRemote({ ip: network.b.ip, port: PLAINTEXT_PORT });
    assert.equal(await errorCode(client), 'ECONNRESET');
    assert.match(String((await lastRecord()).fields['error']), /default\/absent is not known/);
  });
});
