import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import { Lab, sysctl, type Pod } from './support/lab.ts';
import { dial, MPTCP, Sock, type SocketOptions } from './support/socket.ts';
import { TinyMesh, type MeshPod } from './support/tiny-mesh.ts';

const SERVICE = { ip: '198.19.0.10', port: 80 };

describe('bpf: what a pod dials', () => {
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

  /** Dials from pod a, and lets the outbound listener accept; returns what each end says. */
  function through(
    to: { ip: string; port: number },
    options: SocketOptions = {},
    prepare?: (s: Sock) => void,
  ) {
    using client = Sock.open(a.pod.netnsFd, options);
    prepare?.(client);
    assert.equal(client.connect(to.ip, to.port), 'ok');
    using accepted = a.listeners.outbound.accept();
    assert.ok(accepted, 'nothing came to the outbound listener');
    accepted.socket.send('hello');
    return {
      original: mesh.originalDst(accepted.socket),
      received: client.receive(),
      peer: client.peer(),
      local: client.local(),
      seen: accepted.peer,
    };
  }

  it('comes to the outbound listener with the destination it asked for', () => {
    const { original, received } = through(SERVICE);
    assert.deepEqual(original, SERVICE);
    assert.equal(received, 'hello');
  });

  it('leaves getpeername and getsockname as without a mesh (F8, F9)', () => {
    const { peer, local, seen } = through(SERVICE);
    assert.deepEqual(peer, SERVICE);
    assert.equal(local.ip, a.pod.ip);
    assert.deepEqual(seen, local);
  });

  it('is redirected when v4-mapped, and stays mapped', () => {
    const { original, peer, local } = through({ ip: '::ffff:198.19.0.10', port: 80 }, { family: 6 });
    assert.deepEqual(original, SERVICE);
    assert.deepEqual(peer, { ip: '::ffff:198.19.0.10', port: 80 });
    assert.equal(local.ip, `::ffff:${a.pod.ip}`);
  });

  it('is redirected from a socket bound to a device (F8)', () => {
    const { original, peer } = through(SERVICE, {}, (socket) => socket.bindToDevice('eth0'));
    assert.deepEqual(original, SERVICE);
    assert.deepEqual(peer, SERVICE);
  });

  it('is redirected from a socket bound to a local address and port', () => {
    const { original, local } = through(SERVICE, {}, (socket) => socket.bind(a.pod.ip, 45001));
    assert.deepEqual(original, SERVICE);
    assert.deepEqual(local, { ip: a.pod.ip, port: 45001 });
  });

  it('keeps apart sockets that share a source port (F16)', () => {
    const share = (ip: string) => (socket: Sock) => void socket.reusePort().bind(ip, 45002);
    using first = Sock.open(a.pod.netnsFd);
    share(a.pod.ip)(first);
    assert.equal(first.connect('198.19.0.11', 81), 'ok');
    using second = Sock.open(a.pod.netnsFd, { family: 6 });
    share(`::ffff:${a.pod.ip}`)(second);
    assert.equal(second.connect('::ffff:198.19.0.12', 82), 'ok');
    using one = a.listeners.outbound.accept();
    using two = a.listeners.outbound.accept();
    assert.ok(one && two);
    assert.deepEqual(mesh.originalDst(one.socket), { ip: '198.19.0.11', port: 81 });
    assert.deepEqual(mesh.originalDst(two.socket), { ip: '198.19.0.12', port: 82 });
    assert.deepEqual(second.peer(), { ip: '::ffff:198.19.0.12', port: 82 });
  });

  it('is redirected from an MPTCP socket, which knows its peer (F13)', () => {
    const { original, peer, received } = through(SERVICE, { protocol: MPTCP });
    assert.deepEqual(original, SERVICE);
    assert.deepEqual(peer, SERVICE);
    assert.equal(received, 'hello');
  });

  it('is redirected when the SYN goes with the first data (TCP_FASTOPEN_CONNECT)', () => {
    using client = Sock.open(a.pod.netnsFd).fastOpenConnect();
    assert.equal(client.connect(SERVICE.ip, SERVICE.port), 'ok');
    client.send('early');
    using accepted = a.listeners.outbound.accept();
    assert.ok(accepted);
    assert.equal(accepted.socket.receive(), 'early');
    assert.deepEqual(mesh.originalDst(accepted.socket), SERVICE);
    assert.deepEqual(client.peer(), SERVICE);
  });

  it('is redirected when it dials its own address (F12), also by 0.0.0.0 from a bound socket', () => {
    assert.deepEqual(through({ ip: a.pod.ip, port: 8080 }).original, { ip: a.pod.ip, port: 8080 });
    const bound = through({ ip: '0.0.0.0', port: 8081 }, {}, (socket) => socket.bind(a.pod.ip, 0));
    assert.deepEqual(bound.original, { ip: a.pod.ip, port: 8081 });
  });

  it('is told by the outbound listener from what the mesh itself listens on (F19)', () => {
    for (const port of [15001, 15006, 15008]) {
      assert.deepEqual(through({ ip: a.pod.ip, port }).original, { ip: a.pod.ip, port });
    }
  });

  it('works with SYN cookies, for which sk_lookup runs twice (F14)', () => {
    sysctl(a.pod, 'net/ipv4/tcp_syncookies', '2');
    try {
      for (let i = 0; i < 5; i += 1) assert.deepEqual(through(SERVICE).original, SERVICE);
    } finally {
      sysctl(a.pod, 'net/ipv4/tcp_syncookies', '1');
    }
    assert.equal(mesh.redirection.stats().records, 0);
  });

  it('is not redirected within loopback, nor by 0.0.0.0', () => {
    using app = Sock.listen(a.pod.netnsFd, '0.0.0.0', 8082);
    for (const ip of ['127.0.0.1', '127.9.9.9', '0.0.0.0']) {
      using client = Sock.open(a.pod.netnsFd);
      assert.equal(client.connect(ip, 8082), 'ok');
      using accepted = app.accept();
      assert.ok(accepted);
      assert.deepEqual(client.peer(), { ip: ip === '0.0.0.0' ? '127.0.0.1' : ip, port: 8082 });
    }
    using bound = Sock.open(a.pod.netnsFd).bind(a.pod.ip, 0);
    assert.equal(bound.connect('127.0.0.1', 8082), 'ok');
    using accepted = app.accept();
    assert.equal(accepted?.peer.ip, a.pod.ip);
  });

  it('forgets the destination of a socket that then dials loopback (F4)', () => {
    using app = Sock.listen(a.pod.netnsFd, '127.0.0.1', 8083);
    using client = Sock.open(a.pod.netnsFd);
    assert.equal(client.connect(SERVICE.ip, SERVICE.port), 'ok');
    using accepted = a.listeners.outbound.accept();
    assert.ok(accepted);
    // AF_UNSPEC dissolves the connection, and the socket may be used again.
    client.disconnect();
    assert.equal(client.connect('127.0.0.1', 8083), 'ok');
    using again = app.accept();
    assert.ok(again);
    assert.deepEqual(client.peer(), { ip: '127.0.0.1', port: 8083 });
  });

  it('forgets it too on a socket that outlives the enrolment', () => {
    const d = mesh.enrol(lab.pod('d'));
    using client = Sock.open(d.pod.netnsFd);
    assert.equal(client.connect(SERVICE.ip, SERVICE.port), 'ok');
    mesh.redirection.unenrol(d.handle);
    assert.deepEqual(client.peer(), SERVICE, 'a live connection keeps its name');
    client.disconnect();
    using app = Sock.listen(outsider.netnsFd, '0.0.0.0', 8088);
    assert.equal(client.connect(outsider.ip, 8088), 'ok');
    using accepted = app.accept();
    assert.ok(accepted);
    assert.deepEqual(client.peer(), { ip: outsider.ip, port: 8088 });
  });

  it('refuses IPv6 at once, but for loopback', () => {
    assert.equal(dial(a.pod.netnsFd, b.pod.ip6, 80, { family: 6 }), 'ENETUNREACH');
    assert.equal(dial(a.pod.netnsFd, a.pod.ip6, 80, { family: 6 }), 'ENETUNREACH');
    using app = Sock.listen(a.pod.netnsFd, '::', 8084, { family: 6 });
    for (const ip of ['::1', '::']) {
      using client = Sock.open(a.pod.netnsFd, { family: 6 });
      assert.equal(client.connect(ip, 8084), 'ok');
      using accepted = app.accept();
      assert.equal(accepted?.peer.ip, '::1');
    }
  });

  it('leaves a namespace that is not enrolled alone', () => {
    using app = Sock.listen(outsider.netnsFd, '0.0.0.0', 8085);
    using peer = Sock.open(outsider.netnsFd);
    assert.equal(peer.connect(outsider.ip, 8085), 'ok');
    using accepted = app.accept();
    assert.deepEqual(accepted?.peer, { ip: outsider.ip, port: peer.local().port });
    assert.deepEqual(peer.peer(), { ip: outsider.ip, port: 8085 });
    using app6 = Sock.listen(outsider.netnsFd, '::', 8086, { family: 6 });
    assert.equal(dial(outsider.netnsFd, outsider.ip6, 8086, { family: 6 }), 'ok');
    using accepted6 = app6.accept();
    assert.ok(accepted6);
  });

  it('does not redirect what a socket of the mesh dials', () => {
    using app = Sock.listen(outsider.netnsFd, '0.0.0.0', 8087);
    using own = mesh.ownSocket(a.pod);
    assert.equal(own.connect(outsider.ip, 8087), 'ok');
    using accepted = app.accept();
    assert.equal(accepted?.peer.ip, a.pod.ip);
  });

  it('goes on where 28,000 source ports for one destination would have run out (F20)', function () {
    this.timeout(120_000);
    const connections = 40_000;
    for (let i = 0; i < connections; i += 1) {
      using client = Sock.open(a.pod.netnsFd);
      const result = client.connect(SERVICE.ip, SERVICE.port);
      if (result !== 'ok') assert.fail(`connection ${i}: ${result}`);
      using accepted = a.listeners.outbound.accept();
      if (!accepted) assert.fail(`connection ${i} did not come`);
      // The client closes first, so that its side keeps TIME_WAIT.
    }
    assert.equal(mesh.redirection.stats().records, 0);
  });
});
