import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import type { Counter } from '../../lib/linux/bpf/index.ts';
import { Lab, run, type Pod } from './support/lab.ts';
import { acceptAnySource, sendForgedSyn } from './support/raw.ts';
import { dial, MPTCP, Sock } from './support/socket.ts';
import { closeListeners, TinyMesh, type MeshPod } from './support/tiny-mesh.ts';

const CLIENT = { ip: '192.0.2.7', port: 4242 };
const FORGED_PACKET_WAIT_MS = 2000;

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

  it('from outside comes to the plaintext listener, whose local address is the destination', () => {
    using app = Sock.listen(b.pod.netnsFd, '0.0.0.0', 9000);
    using client = Sock.open(outsider.netnsFd);
    assert.equal(client.connect(b.pod.ip, 9000), 'ok');
    using accepted = b.listeners.plaintext.accept();
    assert.ok(accepted);
    assert.deepEqual(accepted.socket.local(), { ip: b.pod.ip, port: 9000 });
    assert.deepEqual(accepted.peer, client.local());
    assert.equal(mesh.originalDst(accepted.socket), undefined);
    assert.equal(app.accept(0), undefined);
  });

  it('from outside at 15008 comes to the HBONE listener, from a pod of the mesh too', () => {
    using client = Sock.open(outsider.netnsFd);
    assert.equal(client.connect(b.pod.ip, 15008), 'ok');
    using accepted = b.listeners.hbone.accept();
    assert.deepEqual(accepted?.socket.local(), { ip: b.pod.ip, port: 15008 });
    using tunnel = mesh.ownSocket(a.pod);
    assert.equal(tunnel.connect(b.pod.ip, 15008), 'ok');
    using second = b.listeners.hbone.accept();
    assert.equal(second?.peer.ip, a.pod.ip);
  });

  it('at 15008 of its own address, from the mesh, comes to the HBONE listener (hairpin)', () => {
    using tunnel = mesh.ownSocket(a.pod);
    assert.equal(tunnel.connect(a.pod.ip, 15008), 'ok');
    using accepted = a.listeners.hbone.accept();
    assert.deepEqual(accepted?.socket.local(), { ip: a.pod.ip, port: 15008 });
    using plain = mesh.ownSocket(a.pod);
    assert.equal(plain.connect(a.pod.ip, 9001), 'ok');
    using second = a.listeners.plaintext.accept();
    assert.deepEqual(second?.socket.local(), { ip: a.pod.ip, port: 9001 });
    assert.equal(mesh.redirection.stats().records, 0);
  });

  it('reaches addresses that nobody listed (F3)', () => {
    run(`ip -n ${b.pod.netns} addr add 198.18.80.200/24 dev eth0`);
    using client = Sock.open(outsider.netnsFd);
    assert.equal(client.connect('198.18.80.200', 9000), 'ok');
    using accepted = b.listeners.plaintext.accept();
    assert.deepEqual(accepted?.socket.local(), { ip: '198.18.80.200', port: 9000 });
  });

  for (const [what, family, protocol, ip] of [
    ['IPv4', 4, 0, '0.0.0.0'],
    ['dual-stack', 6, 0, '::'],
    ['MPTCP', 4, MPTCP, '0.0.0.0'],
  ] as const) {
    it(`from the mesh reaches the application (${what}), which sees the true client in accept and getpeername`, () => {
      using app = Sock.listen(b.pod.netnsFd, ip, 9002, { family, protocol });
      using toApp = mesh.ownSocket(b.pod, CLIENT);
      toApp.bind('127.3.4.5', 0);
      assert.equal(toApp.connect(b.pod.ip, 9002), 'ok');
      using accepted = app.accept();
      assert.ok(accepted);
      const seen = family === 6 ? { ...CLIENT, ip: `::ffff:${CLIENT.ip}` } : CLIENT;
      assert.deepEqual(accepted.peer, seen);
      assert.deepEqual(accepted.socket.peer(), seen);
      assert.equal(accepted.socket.local().ip, family === 6 ? `::ffff:${b.pod.ip}` : b.pod.ip);
      toApp.send('hi');
      assert.equal(accepted.socket.receive(), 'hi');
      // The mesh's own end shows what it is.
      assert.deepEqual(toApp.peer(), { ip: b.pod.ip, port: 9002 });
      assert.equal(mesh.redirection.stats().records, 0);
    });
  }

  it('from the mesh to a port where nobody listens is refused, and nothing stays', () => {
    using toApp = mesh.ownSocket(b.pod, CLIENT);
    toApp.bind('127.3.4.6', 0);
    assert.equal(toApp.connect(b.pod.ip, 9003), 'ECONNREFUSED');
    assert.equal(mesh.redirection.stats().records, 0);
  });

  it('from the mesh at 15008 does not loop into the HBONE listener', () => {
    using toApp = mesh.ownSocket(b.pod, CLIENT);
    toApp.bind('127.3.4.7', 0);
    assert.equal(toApp.connect(b.pod.ip, 15008), 'ECONNREFUSED');
    assert.equal(b.listeners.hbone.accept(0), undefined);
  });

  it('never finds our listeners by their own ports, wherever they are bound', () => {
    using reachable = Sock.listen(a.pod.netnsFd, '0.0.0.0', 0);
    const { port } = reachable.local();
    const fds = { outbound: reachable.fd, plaintext: reachable.fd, hbone: reachable.fd };
    mesh.redirection.setListeners(a.handle, fds);
    try {
      assert.equal(dial(a.pod.netnsFd, '127.0.0.1', port), 'ECONNREFUSED');
      using toApp = mesh.ownSocket(a.pod, CLIENT);
      toApp.bind('127.3.4.8', 0);
      assert.equal(toApp.connect(a.pod.ip, port), 'ECONNREFUSED');
      assert.equal(reachable.accept(0), undefined);
    } finally {
      const { outbound, plaintext, hbone } = a.listeners;
      mesh.redirection.setListeners(a.handle, {
        outbound: outbound.fd,
        plaintext: plaintext.fd,
        hbone: hbone.fd,
      });
    }
  });

  it('over IPv6 is refused from outside and passes within loopback', () => {
    using app = Sock.listen(b.pod.netnsFd, '::', 9004, { family: 6 });
    assert.equal(dial(outsider.netnsFd, b.pod.ip6, 9004, { family: 6 }), 'ECONNREFUSED');
    assert.equal(dial(b.pod.netnsFd, '::1', 9004, { family: 6 }), 'ok');
    using accepted = app.accept();
    assert.equal(accepted?.peer.ip, '::1');
    assert.equal(app.accept(0), undefined);
  });

  it('is not had by a process that squats on the port or joins it (F11)', () => {
    const d = mesh.enrol(lab.pod('d'));
    using squatter = Sock.open(d.pod.netnsFd).reusePort().bind('0.0.0.0', 15008);
    using second = Sock.open(d.pod.netnsFd).reusePort().bind('0.0.0.0', 15008);
    squatter.startListening();
    second.startListening();
    for (let i = 0; i < 8; i += 1) {
      using client = Sock.open(outsider.netnsFd);
      assert.equal(client.connect(d.pod.ip, 15008), 'ok');
      using accepted = d.listeners.hbone.accept();
      assert.ok(accepted);
    }
    assert.equal(squatter.accept(0), undefined);
    assert.equal(second.accept(0), undefined);
  });

  /** Sends a forged SYN and waits until the named counter shows that it was dropped. */
  async function droppedAs(
    counter: Counter,
    source: { ip: string; port: number },
    port: number,
  ): Promise<void> {
    const before = mesh.counter(counter);
    sendForgedSyn(outsider, b.pod, source, { ip: b.pod.ip, port });
    const end = Date.now() + FORGED_PACKET_WAIT_MS;
    while (mesh.counter(counter) === before) {
      if (Date.now() > end) assert.fail(`no forged packet was dropped as ${counter}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  it('with a forged loopback or own source does not pass (F6, spoofing)', async () => {
    acceptAnySource(b.pod);
    using app = Sock.listen(b.pod.netnsFd, '0.0.0.0', 9005);
    await droppedAs('droppedNoRecord', { ip: '127.3.4.5', port: 40000 }, 9005);
    await droppedAs('droppedNoRecord', { ip: b.pod.ip, port: 40000 }, 9005);
    await droppedAs('droppedNoRecord', { ip: '127.0.0.1', port: 40000 }, 15008);
    assert.equal(app.accept(0), undefined);
  });

  it('with a forged loopback destination does not pass', async () => {
    acceptAnySource(b.pod);
    using app = Sock.listen(b.pod.netnsFd, '127.0.0.1', 9006);
    const before = mesh.counter('droppedNoRecord');
    sendForgedSyn(outsider, b.pod, { ip: outsider.ip, port: 40001 }, { ip: '127.0.0.1', port: 9006 });
    const end = Date.now() + FORGED_PACKET_WAIT_MS;
    while (mesh.counter('droppedNoRecord') === before) {
      if (Date.now() > end) assert.fail('the forged packet was not dropped');
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    assert.equal(app.accept(0), undefined);
  });

  it('is refused when the listeners are gone, though the application listens (F2)', () => {
    using app = Sock.listen(a.pod.netnsFd, '0.0.0.0', 9007);
    closeListeners(a.listeners);
    assert.equal(dial(outsider.netnsFd, a.pod.ip, 9007), 'ECONNREFUSED');
    assert.equal(dial(outsider.netnsFd, a.pod.ip, 15008), 'ECONNREFUSED');
    assert.equal(dial(a.pod.netnsFd, '198.19.0.10', 80), 'ECONNREFUSED');
    assert.equal(dial(a.pod.netnsFd, a.pod.ip, 9007), 'ECONNREFUSED');
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
