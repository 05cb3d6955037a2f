import assert from 'node:assert/strict';
import { once } from 'node:events';
import type net from 'node:net';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, describe, it } from 'mocha';
import { HboneServer } from '../../../../ztunnel/proxy/hbone-server.ts';
import { serveOutbound } from '../../../../ztunnel/proxy/outbound.ts';
import { Pod } from '../../../../ztunnel/proxy/pod.ts';
import { TestCa } from '../support/certificates.ts';
import { eventually } from '../support/streams.ts';
import { giveCertificate, toyMesh, ToyNetwork, toyWorkload, type ToyMesh } from '../support/toy-mesh.ts';

const APP_PORT = 8080;

describe('ztunnel/proxy: from one pod to another', () => {
  let network: ToyNetwork;
  let source: ToyMesh;
  let destination: ToyMesh;
  let outbound: net.Server;
  let application: net.Server;
  let hbone: HboneServer;
  let hboneListener: net.Server;
  let server: Pod;

  before(async () => {
    network = new ToyNetwork('ztthin');
    const ca = await TestCa.create();
    [source, destination] = [toyMesh(), toyMesh()];
    for (const mesh of [source, destination]) {
      mesh.workloads.apply({
        upserts: [toyWorkload('client', network.a.ip), toyWorkload('server', network.b.ip)],
        removed: [],
      });
    }
    await giveCertificate(source, ca, 'client');
    await giveCertificate(destination, ca, 'server');
    const info = (name: string) => ({ uid: `uid-${name}`, name, namespace: 'default', serviceAccount: name });
    const client = new Pod(info('client'), source, network.a);
    server = new Pod(info('server'), destination, network.b);
    hbone = new HboneServer(server);
    outbound = await network.a.listen(0, (socket) => void serveOutbound(client, socket), true);
    hboneListener = await network.b.listen(15008, (socket) => void hbone.accept(socket), true);
    // Server first, echoes, and says goodbye only after the client closed its half.
    const serve = (socket: net.Socket): void => {
      socket.write('hello ');
      socket.on('data', (chunk) => socket.write(chunk));
      socket.on('end', () => socket.end(' goodbye'));
    };
    application = await network.b.listen(APP_PORT, serve, false);
  });

  after(() => {
    hbone.destroy();
    source.pool.evictPod('uid-client');
    for (const each of [outbound, hboneListener, application]) each.close();
    network.remove();
  });

  it('carries bytes both ways, keeps half-close, and tells both ends who speaks', async () => {
    network.a.wanted = { ip: network.b.ip, port: APP_PORT };
    const { port } = outbound.address() as net.AddressInfo;
    const client = network.a.dialRemote({ ip: network.a.ip, port });
    await once(client, 'connect');
    const { localPort } = client;
    client.end('ping');
    assert.equal(await text(client), 'hello ping goodbye');
    assert.deepEqual(network.b.truePeers.at(-1), { ip: network.a.ip, port: localPort });
    const complete = (mesh: ToyMesh) =>
      eventually(() => mesh.records.find((r) => r.message === 'connection complete')?.fields);
    const sent = await complete(source);
    assert.equal(sent['bytes_sent'], 4);
    assert.equal(sent['bytes_recv'], 18);
    assert.equal(sent['dst.identity'], 'spiffe://cluster.local/ns/default/sa/server');
    const served = await complete(destination);
    assert.equal(served['src.identity'], 'spiffe://cluster.local/ns/default/sa/client');
    assert.equal(served['bytes_sent'], 18);
    assert.equal(served['src.workload'], 'client');
  });

  /** As a node has it that has not enrolled the pod yet, or no longer does. */
  async function refusing(): Promise<void> {
    source.records.length = 0;
    source.pool.evictPod('uid-client');
    hboneListener.close();
    hbone.destroy();
    await once(hboneListener, 'close');
  }

  function dial(): net.Socket {
    const { port } = outbound.address() as net.AddressInfo;
    const client = network.a.dialRemote({ ip: network.a.ip, port });
    client.end('ping');
    return client;
  }

  it('waits for a pod that its node has not enrolled yet', async () => {
    await refusing();
    const answer = text(dial());
    await eventually(() => source.registry.rows().find(({ state }) => state === 'opening'));
    hbone = new HboneServer(server);
    hboneListener = await network.b.listen(15008, (socket) => void hbone.accept(socket), true);
    assert.equal(await answer, 'hello ping goodbye');
  });

  it('goes to it in plaintext once the control plane says that it has left, and not before', async () => {
    await refusing();
    const answer = text(dial());
    await eventually(() => source.registry.rows().find(({ state }) => state === 'opening'));
    assert.equal(await Promise.race([answer, sleep(200, 'nothing')]), 'nothing');
    source.workloads.apply({
      upserts: [toyWorkload('server', network.b.ip, { tunnelProtocol: 'none' })],
      removed: [],
    });
    assert.equal(await answer, 'hello ping goodbye');
    const { fields } = await eventually(() =>
      source.records.find(({ message }) => message === 'connection complete'),
    );
    assert.equal(fields['dst.identity'], undefined, 'it is not called mutual TLS');
  });
});
