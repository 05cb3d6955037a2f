import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { closeFd, dup } from '../../lib/linux/libc.ts';
import { localAddress } from '../../lib/linux/socket.ts';
import { socketFd } from '../../lib/mesh/hbone/socket-fd.ts';
import { KernelPodSockets, MapHolder, type MapFds } from '../../ztunnel/proxy/kernel-sockets.ts';
import { IPV4, IPV6, MAPPED, plain } from './support/families.ts';
import { Lab } from './support/lab.ts';
import { Sock } from './support/socket.ts';
import { checkOwnMaps } from '../../lib/linux/bpf/own-sockets.ts';
import { TinyMesh, type MeshPod } from './support/tiny-mesh.ts';

describe('bpf: the sockets that ztunnel makes in a pod, on the real kernel', () => {
  let lab: Lab;
  let mesh: TinyMesh;
  let a: MeshPod;
  let sockets: KernelPodSockets;
  let maps: MapFds;

  beforeEach(() => {
    lab = new Lab();
    mesh = new TinyMesh();
    a = mesh.enrol(lab.pod('a'));
    const { ownSocketsMapFd, originalDstMapFd } = mesh.redirection;
    maps = { ownSockets: dup(ownSocketsMapFd), originalDst: dup(originalDstMapFd) };
    sockets = new KernelPodSockets(dup(a.pod.netnsFd), new MapHolder(maps));
  });
  afterEach(() => {
    sockets?.close();
    if (maps !== undefined) Object.values(maps).forEach(closeFd);
    mesh?.[Symbol.dispose]();
    lab?.[Symbol.dispose]();
  });

  it('are made by maps of the layout that is known alone', () => {
    checkOwnMaps(maps);
    const { ownSockets, originalDst } = maps;
    assert.throws(
      () => checkOwnMaps({ ownSockets: originalDst, originalDst: ownSockets }),
      /map own_sockets has keys of 4 and values of 20 bytes, and should have 4 and 24/,
    );
    assert.throws(
      () => checkOwnMaps({ ownSockets, originalDst: a.pod.netnsFd }),
      /sizes of a map cannot be read/,
    );
  });

  for (const { name, family, own, any } of [IPV4, IPV6]) {
    it(`reach the application, which sees the true client (${name})`, async () => {
      using app = Sock.listen(a.pod.netnsFd, any, 9600, { family });
      const client = { ip: family === 4 ? '192.0.2.7' : '2001:db8::7', port: 4242 };
      const sources = new Set<string>();
      for (let i = 0; i < 3; i += 1) {
        const socket = sockets.dialApplication({ ip: own(a.pod), port: 9600 }, client);
        await once(socket, 'connect');
        sources.add(localAddress(socketFd(socket) ?? -1).ip);
        using accepted = app.accept();
        assert.deepEqual(accepted?.peer, client);
        socket.destroy();
      }
      assert.equal(sources.size, 3, 'each comes from a source of its own');
      for (const ip of sources) assert.match(ip, family === 4 ? /^127\./ : /^fd5b:8c1d:9a6e::/);
    });

    it(`leave the pod without being redirected (${name})`, async () => {
      const outsider = lab.pod('c');
      using app = Sock.listen(outsider.netnsFd, any, 9601, { family });
      const socket = sockets.dialRemote({ ip: own(outsider), port: 9601 });
      await once(socket, 'connect');
      using accepted = app.accept();
      assert.equal(accepted?.peer.ip, own(a.pod));
      socket.destroy();
    });
  }

  it('tell where the application wanted to go, in every family, of what a server of Node accepted', async () => {
    // Node adopts a duplicate, as ztunnel's workers do.
    const server = net.createServer({ pauseOnConnect: true });
    server.listen({ fd: dup(a.listeners.outbound.fd) });
    await once(server, 'listening');
    try {
      for (const { family, service } of [IPV4, IPV6, MAPPED]) {
        using client = Sock.open(a.pod.netnsFd, { family });
        assert.equal(client.connectLater(service.ip, service.port), 'EINPROGRESS');
        const [accepted] = (await once(server, 'connection')) as [net.Socket];
        assert.deepEqual(sockets.originalDst(accepted), plain(service));
        accepted.destroy();
      }
    } finally {
      server.close();
    }
  });
});
