import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import type { Counter } from '../../lib/linux/bpf/index.ts';
import { PRIVATE_SOURCES_PREFIX } from '../../lib/linux/private-sources.ts';
import { bindSource } from '../../lib/linux/socket.ts';
import { FAMILIES, IPV4, IPV6 } from './support/families.ts';
import { interfaceIndex, Lab, run, type Pod } from './support/lab.ts';
import { acceptAnySource, sendForgedSyn } from './support/raw.ts';
import { soon } from './support/soon.ts';
import { dial, MPTCP, Sock } from './support/socket.ts';
import { closeListeners, listenerFds, TinyMesh, type MeshPod } from './support/tiny-mesh.ts';

const CLIENT = { ip: '192.0.2.7', port: 4242 };
const CLIENT6 = { ip: '2001:db8::7', port: 4243 };
/** From where ztunnel connects to the application. */
const SOURCES = { 4: '127.3.4.5', 6: `${PRIVATE_SOURCES_PREFIX}:1:5` };

describe('bpf: what arrives at a pod', () => {
  let lab: Lab;
  let mesh: TinyMesh;
  let a: MeshPod;
  let b: MeshPod;
  let outsider: Pod;

  before(() => {
    lab = new Lab();
    mesh = new TinyMesh();
    a = mesh.enrol(lab.pod('a'));
    b = mesh.enrol(lab.pod('b'));
    outsider = lab.pod('c');
  });
  after(() => {
    mesh?.[Symbol.dispose]();
    lab?.[Symbol.dispose]();
  });

  for (const form of [IPV4, IPV6]) {
    const { family } = form;
    const extra = { 4: '198.18.80.200', 6: 'fd00:80::200' }[family];

    describe(form.name, () => {
      it('from outside comes to the plaintext listener, whose local address is the destination', () => {
        using app = Sock.listen(b.pod.netnsFd, form.any, 9000, { family });
        using client = Sock.open(outsider.netnsFd, { family });
        assert.equal(client.connect(form.own(b.pod), 9000), 'ok');
        using accepted = b.listeners.plaintext.accept();
        assert.ok(accepted);
        assert.deepEqual(accepted.socket.local(), { ip: form.own(b.pod), port: 9000 });
        assert.deepEqual(accepted.peer, client.local());
        assert.equal(mesh.originalDst(accepted.socket), undefined);
        assert.equal(app.accept(0), undefined);
      });

      it('from outside at 15008 comes to the HBONE listener, from a pod of the mesh too', () => {
        using client = Sock.open(outsider.netnsFd, { family });
        assert.equal(client.connect(form.own(b.pod), 15008), 'ok');
        using accepted = b.listeners.hbone.accept();
        assert.deepEqual(accepted?.socket.local(), { ip: form.own(b.pod), port: 15008 });
        using tunnel = mesh.ownSocket(a.pod, undefined, family);
        assert.equal(tunnel.connect(form.own(b.pod), 15008), 'ok');
        using second = b.listeners.hbone.accept();
        assert.equal(second?.peer.ip, form.own(a.pod));
      });

      it('at 15008 of its own address, from the mesh, comes to the HBONE listener (hairpin)', () => {
        using tunnel = mesh.ownSocket(a.pod, undefined, family);
        assert.equal(tunnel.connect(form.own(a.pod), 15008), 'ok');
        using accepted = a.listeners.hbone.accept();
        assert.deepEqual(accepted?.socket.local(), { ip: form.own(a.pod), port: 15008 });
        using plain = mesh.ownSocket(a.pod, undefined, family);
        assert.equal(plain.connect(form.own(a.pod), 9001), 'ok');
        using second = a.listeners.plaintext.accept();
        assert.deepEqual(second?.socket.local(), { ip: form.own(a.pod), port: 9001 });
        assert.equal(mesh.redirection.stats().records, 0);
      });

      it('reaches addresses that nobody listed (F3)', () => {
        run(`ip -n ${b.pod.netns} addr add ${extra}/${family === 4 ? 24 : 64} dev eth0 nodad`);
        using app = Sock.listen(b.pod.netnsFd, form.any, 9010, { family });
        using client = Sock.open(outsider.netnsFd, { family });
        assert.equal(client.connect(extra, 9010), 'ok');
        using accepted = b.listeners.plaintext.accept();
        assert.deepEqual(accepted?.socket.local(), { ip: extra, port: 9010 });
        // And so do its application's, for which ztunnel then connects to that very address.
        using toApp = mesh.ownSocket(b.pod, client.local(), family);
        bindSource(toApp.fd, SOURCES[family]);
        assert.equal(toApp.connect(extra, 9010), 'ok');
        using inside = app.accept();
        assert.deepEqual(inside?.peer, client.local());
      });

      it('from the mesh to a port where nobody listens is refused, and nothing stays', () => {
        using toApp = mesh.ownSocket(b.pod, CLIENT, family);
        bindSource(toApp.fd, SOURCES[family]);
        assert.equal(toApp.connect(form.own(b.pod), 9003), 'ECONNREFUSED');
        assert.equal(mesh.redirection.stats().records, 0);
      });

      it('from the mesh at 15008 does not loop into the HBONE listener', () => {
        using toApp = mesh.ownSocket(b.pod, CLIENT, family);
        bindSource(toApp.fd, SOURCES[family]);
        assert.equal(toApp.connect(form.own(b.pod), 15008), 'ECONNREFUSED');
        assert.equal(b.listeners.hbone.accept(0), undefined);
      });
    });
  }

  /** What the application's own socket shows of an address: v4-mapped where the socket is an IPv6 one. */
  const shown = (ip: string, family: 4 | 6) => (family === 6 && !ip.includes(':') ? `::ffff:${ip}` : ip);

  for (const [what, family, protocol, any] of [
    ['IPv4', 4, 0, '0.0.0.0'],
    ['dual-stack', 6, 0, '::'],
    ['MPTCP, IPv4', 4, MPTCP, '0.0.0.0'],
    ['MPTCP, dual-stack', 6, MPTCP, '::'],
  ] as const) {
    for (const form of family === 4 ? [IPV4] : [IPV4, IPV6]) {
      // Behind a waypoint the client can be of the other family.
      for (const client of family === 4 ? [CLIENT] : [CLIENT, CLIENT6]) {
        it(`from the mesh reaches the application (${what}) over ${form.name}, which sees the true client ${client.ip} in accept and getpeername`, () => {
          using app = Sock.listen(b.pod.netnsFd, any, 9002, { family, protocol });
          using toApp = mesh.ownSocket(b.pod, client, form.family);
          bindSource(toApp.fd, SOURCES[form.family]);
          assert.equal(toApp.connect(form.own(b.pod), 9002), 'ok');
          using accepted = app.accept();
          assert.ok(accepted);
          const seen = { ...client, ip: shown(client.ip, family) };
          assert.deepEqual(accepted.peer, seen);
          assert.deepEqual(accepted.socket.peer(), seen);
          assert.equal(accepted.socket.local().ip, shown(form.own(b.pod), family));
          toApp.send('hi');
          assert.equal(accepted.socket.receive(), 'hi');
          // The mesh's own end shows what it is.
          assert.deepEqual(toApp.peer(), { ip: form.own(b.pod), port: 9002 });
          assert.equal(mesh.redirection.stats().records, 0);
        });
      }
    }
  }

  it('of a client of the other family shows an IPv4 socket the dummy address, never a loopback one', () => {
    using app = Sock.listen(b.pod.netnsFd, '0.0.0.0', 9008);
    using toApp = mesh.ownSocket(b.pod, CLIENT6);
    bindSource(toApp.fd, SOURCES[4]);
    assert.equal(toApp.connect(b.pod.ip, 9008), 'ok');
    using accepted = app.accept();
    assert.deepEqual(accepted?.peer, { ip: '192.0.0.8', port: CLIENT6.port });
    assert.deepEqual(accepted.socket.peer(), accepted.peer);
  });

  it('never finds our listeners by their own ports, wherever they are bound', () => {
    using reachable = Sock.listen(a.pod.netnsFd, '::', 0, { family: 6 });
    const { port } = reachable.local();
    const fds = { outbound: reachable.fd, plaintext: reachable.fd, hbone: reachable.fd };
    mesh.redirection.setListeners(a.handle, fds);
    try {
      for (const { family, loopback, own } of FAMILIES) {
        assert.equal(dial(a.pod.netnsFd, loopback, port, { family }), 'ECONNREFUSED');
        if (loopback.startsWith('::ffff:')) continue;
        using toApp = mesh.ownSocket(a.pod, CLIENT, family);
        bindSource(toApp.fd, SOURCES[family]);
        assert.equal(toApp.connect(own(a.pod), port), 'ECONNREFUSED');
      }
      assert.equal(reachable.accept(0), undefined);
    } finally {
      mesh.redirection.setListeners(a.handle, listenerFds(a.listeners));
    }
  });

  it('at a link-local address comes to the plaintext listener too, and not to the application', () => {
    using app = Sock.listen(b.pod.netnsFd, '::', 9009, { family: 6 });
    // Of our own making, since those that the kernel makes are tentative for a while (RFC 4862).
    const [linkLocal, other] = ['fe80::b', 'fe80::c'];
    run(`ip -n ${b.pod.netns} addr add ${linkLocal}/64 dev eth0 nodad`);
    run(`ip -n ${outsider.netns} addr add ${other}/64 dev eth0 nodad`);
    using client = Sock.open(outsider.netnsFd, { family: 6 }).scope(interfaceIndex(outsider)).bind(other, 0);
    assert.equal(client.connect(linkLocal, 9009), 'ok');
    using accepted = b.listeners.plaintext.accept();
    assert.deepEqual(accepted?.socket.local(), { ip: linkLocal, port: 9009 });
    assert.equal(app.accept(0), undefined);
  });

  it('is not had by a process that squats on the port or joins it (F11)', () => {
    const d = mesh.enrol(lab.pod('d'));
    const squatters = [1, 2].map(() => {
      const squatter = Sock.open(d.pod.netnsFd, { family: 6 }).reusePort().bind('::', 15008);
      return squatter.startListening();
    });
    for (let i = 0; i < 16; i += 1) {
      const { family, own } = i % 2 === 0 ? IPV4 : IPV6;
      using client = Sock.open(outsider.netnsFd, { family });
      assert.equal(client.connect(own(d.pod), 15008), 'ok');
      using accepted = d.listeners.hbone.accept();
      assert.ok(accepted);
    }
    for (const squatter of squatters) {
      assert.equal(squatter.accept(0), undefined);
      squatter.close();
    }
  });

  /** Sends a forged SYN and waits until the named counter shows that it was dropped. */
  async function droppedAs(
    counter: Counter,
    source: { ip: string; port: number },
    destination: { ip: string; port: number },
  ): Promise<void> {
    const before = mesh.counter(counter);
    sendForgedSyn(outsider, b.pod, source, destination);
    const dropped = await soon(() => mesh.counter(counter) !== before);
    assert.ok(dropped, `no forged packet of ${source.ip} was dropped as ${counter}`);
  }

  it('with a forged loopback, private or own source does not pass (F6, spoofing)', async () => {
    acceptAnySource(b.pod);
    using app = Sock.listen(b.pod.netnsFd, '::', 9005, { family: 6 });
    const own = { ip: b.pod.ip, port: 9005 };
    const own6 = { ip: b.pod.ip6, port: 9005 };
    await droppedAs('droppedNoRecord', { ip: '127.3.4.5', port: 40000 }, own);
    await droppedAs('droppedNoRecord', { ip: b.pod.ip, port: 40000 }, own);
    await droppedAs('droppedNoRecord', { ip: '127.0.0.1', port: 40000 }, { ...own, port: 15008 });
    await droppedAs('droppedNoRecord', { ip: SOURCES[6], port: 40000 }, own6);
    await droppedAs('droppedNoRecord', { ip: b.pod.ip6, port: 40000 }, own6);
    await droppedAs('droppedNoRecord', { ip: SOURCES[6], port: 40000 }, { ...own6, port: 15008 });
    assert.equal(app.accept(0), undefined);
  });

  it('with a forged loopback or private destination does not pass', async () => {
    acceptAnySource(b.pod);
    using app = Sock.listen(b.pod.netnsFd, '::', 9006, { family: 6 });
    await droppedAs('droppedNoRecord', { ip: outsider.ip, port: 40001 }, { ip: '127.0.0.1', port: 9006 });
    // Routed to lo in the pod, and so taken from any interface.
    await droppedAs('droppedNoRecord', { ip: outsider.ip6, port: 40001 }, { ip: SOURCES[6], port: 9006 });
    assert.equal(app.accept(0), undefined);
  });

  it('is refused when the listeners are gone, though the application listens (F2)', () => {
    using app = Sock.listen(a.pod.netnsFd, '::', 9007, { family: 6 });
    closeListeners(a.listeners);
    for (const { family, own, service } of FAMILIES) {
      assert.equal(dial(outsider.netnsFd, own(a.pod), 9007, { family }), 'ECONNREFUSED');
      assert.equal(dial(outsider.netnsFd, own(a.pod), 15008, { family }), 'ECONNREFUSED');
      assert.equal(dial(a.pod.netnsFd, service.ip, 80, { family }), 'ECONNREFUSED');
      assert.equal(dial(a.pod.netnsFd, own(a.pod), 9007, { family }), 'ECONNREFUSED');
    }
    assert.equal(app.accept(0), undefined);
    assert.equal(mesh.redirection.stats().records, 0);
    const [first] = mesh.redirection.verify();
    assert.match(first?.problem ?? '', /no outbound listener/);
    // New listeners, and everything works again.
    a = mesh.enrol(a.pod);
    using client = Sock.open(outsider.netnsFd);
    assert.equal(client.connect(a.pod.ip, 9007), 'ok');
    using accepted = a.listeners.plaintext.accept();
    assert.ok(accepted);
    assert.deepEqual(mesh.redirection.verify(), []);
  });
});
