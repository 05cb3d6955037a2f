import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import { isErrno } from '../../lib/linux/libc.ts';
import { FAMILIES, IPV4, IPV6, MAPPED, plain } from './support/families.ts';
import { Lab, sysctl, type Pod } from './support/lab.ts';
import { kernelSince } from './support/release.ts';
import { dial, MPTCP, Sock, type SocketOptions } from './support/socket.ts';
import { TinyMesh, type MeshPod } from './support/tiny-mesh.ts';

const SERVICE = { ip: '198.19.0.10', port: 80 };

describe('bpf: what a pod dials', () => {
  let lab: Lab;
  let mesh: TinyMesh;
  let a: MeshPod;
  let outsider: Pod;

  before(() => {
    lab = new Lab();
    mesh = new TinyMesh();
    a = mesh.enrol(lab.pod('a'));
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

  for (const form of FAMILIES) {
    const { family, service } = form;

    describe(form.name, () => {
      it('comes to the outbound listener with the destination it asked for', () => {
        const { original, received } = through(service, { family });
        assert.deepEqual(original, plain(service));
        assert.equal(received, 'hello');
      });

      it('leaves getpeername and getsockname as without a mesh (F8, F9)', () => {
        const { peer, local, seen } = through(service, { family });
        assert.deepEqual(peer, service);
        assert.equal(local.ip, form.own(a.pod));
        assert.deepEqual(seen, plain(local));
      });

      it('is redirected from a socket bound to a device (F8)', () => {
        const { original, peer, local } = through(service, { family }, (s) => s.bindToDevice('eth0'));
        assert.deepEqual(original, plain(service));
        assert.deepEqual(peer, service);
        assert.equal(local.ip, form.own(a.pod));
      });

      it('is redirected from a socket bound to a local address and port', () => {
        const own = { ip: form.own(a.pod), port: 45001 };
        const { original, local } = through(service, { family }, (socket) => socket.bind(own.ip, own.port));
        assert.deepEqual(original, plain(service));
        assert.deepEqual(local, own);
      });

      it('is redirected from a socket that leaves the port to connect() (IP_BIND_ADDRESS_NO_PORT)', () => {
        const { original, local } = through(service, { family }, (socket) =>
          socket.bindAddressNoPort(form.own(a.pod)),
        );
        assert.deepEqual(original, plain(service));
        assert.equal(local.ip, form.own(a.pod));
      });

      it('is redirected from an MPTCP socket, which knows its peer (F13)', () => {
        const { original, peer, received } = through(service, { family, protocol: MPTCP });
        assert.deepEqual(original, plain(service));
        assert.deepEqual(peer, service);
        assert.equal(received, 'hello');
      });

      for (const protocol of [0, MPTCP]) {
        const kind = protocol === MPTCP ? 'MPTCP' : 'TCP';

        it(`is redirected when the SYN goes with the first data (TCP_FASTOPEN_CONNECT, ${kind})`, () => {
          using client = Sock.open(a.pod.netnsFd, { family, protocol }).fastOpenConnect();
          assert.equal(client.connect(service.ip, service.port), 'ok');
          client.send('early');
          arrivesEarly(client);
        });

        it(`is redirected when it is sent without connect() (MSG_FASTOPEN, ${kind})`, () => {
          if (protocol === MPTCP && !kernelSince(6, 2)) {
            // An older kernel does not have it, in no pod.
            assert.throws(() => sentEarly(protocol), /EOPNOTSUPP/);
            return;
          }
          using client = sentEarly(protocol);
          arrivesEarly(client);
        });
      }

      function sentEarly(protocol: number): Sock {
        for (;;) {
          const client = Sock.open(a.pod.netnsFd, { family, protocol });
          try {
            client.sendTo('early', service.ip, service.port);
            return client;
          } catch (error) {
            client[Symbol.dispose]();
            if (!isErrno(error, 'EINTR')) throw error;
            // A signal came between, and nobody knows what went out: away with it, and once more.
            a.listeners.outbound.accept()?.[Symbol.dispose]();
          }
        }
      }

      function arrivesEarly(client: Sock): void {
        using accepted = a.listeners.outbound.accept();
        assert.ok(accepted);
        assert.equal(accepted.socket.receive(), 'early');
        assert.deepEqual(mesh.originalDst(accepted.socket), plain(service));
        assert.deepEqual(client.peer(), service);
      }

      it('is redirected when it does not wait (non-blocking)', () => {
        using client = Sock.open(a.pod.netnsFd, { family });
        assert.equal(client.connectLater(service.ip, service.port), 'EINPROGRESS');
        using accepted = a.listeners.outbound.accept();
        assert.ok(accepted);
        assert.deepEqual(mesh.originalDst(accepted.socket), plain(service));
        assert.deepEqual(client.peer(), service);
      });

      it('is redirected when it dials its own address (F12)', () => {
        const own = { ip: form.own(a.pod), port: 8080 };
        const { original, peer } = through(own, { family });
        assert.deepEqual(original, plain(own));
        assert.deepEqual(peer, own);
      });

      it('is told by the outbound listener from what the mesh itself listens on (F19)', () => {
        for (const port of [15001, 15006, 15008]) {
          const own = { ip: form.own(a.pod), port };
          assert.deepEqual(through(own, { family }).original, plain(own));
        }
      });

      it('works with SYN cookies, for which sk_lookup runs twice (F14)', () => {
        sysctl(a.pod, 'net/ipv4/tcp_syncookies', '2');
        try {
          for (let i = 0; i < 5; i += 1) {
            assert.deepEqual(through(service, { family }).original, plain(service));
          }
        } finally {
          sysctl(a.pod, 'net/ipv4/tcp_syncookies', '1');
        }
        assert.equal(mesh.redirection.stats().records, 0);
      });

      it('is not redirected within loopback', () => {
        using app = Sock.listen(a.pod.netnsFd, form.any, 8082, { family });
        using client = Sock.open(a.pod.netnsFd, { family });
        assert.equal(client.connect(form.loopback, 8082), 'ok');
        using accepted = app.accept();
        assert.ok(accepted);
        assert.deepEqual(client.peer(), { ip: form.loopback, port: 8082 });
        using bound = Sock.open(a.pod.netnsFd, { family }).bind(form.own(a.pod), 0);
        assert.equal(bound.connect(form.loopback, 8082), 'ok');
        using again = app.accept();
        assert.equal(again?.peer.ip, form.own(a.pod));
      });

      it('forgets the destination of a socket that then dials loopback (F4)', () => {
        using app = Sock.listen(a.pod.netnsFd, form.loopback, 8083, { family });
        using client = Sock.open(a.pod.netnsFd, { family });
        assert.equal(client.connect(service.ip, service.port), 'ok');
        using accepted = a.listeners.outbound.accept();
        assert.ok(accepted);
        // AF_UNSPEC dissolves the connection, and the socket may be used again.
        client.disconnect();
        assert.equal(client.connect(form.loopback, 8083), 'ok');
        using again = app.accept();
        assert.ok(again);
        assert.deepEqual(client.peer(), { ip: form.loopback, port: 8083 });
      });

      it('does not get redirected from a socket of the mesh', () => {
        using app = Sock.listen(outsider.netnsFd, form.any, 8087, { family });
        using own = mesh.ownSocket(a.pod, undefined, family);
        assert.equal(own.connect(form.own(outsider), 8087), 'ok');
        using accepted = app.accept();
        assert.equal(accepted?.peer.ip, form.own(a.pod));
      });
    });
  }

  it('keeps apart sockets that share a source port (F16)', () => {
    const dialled = [
      ['198.19.0.11', 81, IPV4],
      ['::ffff:198.19.0.12', 82, MAPPED],
      ['fd00:99::13', 83, IPV6],
    ] as const;
    const sockets = dialled.map(([ip, port, { family, own }]) => {
      const socket = Sock.open(a.pod.netnsFd, { family }).reusePort().bind(own(a.pod), 45002);
      assert.equal(socket.connect(ip, port), 'ok');
      return socket;
    });
    for (const [i, [ip, port]] of dialled.entries()) {
      using accepted = a.listeners.outbound.accept();
      assert.ok(accepted);
      assert.deepEqual(mesh.originalDst(accepted.socket), plain({ ip, port }));
      assert.deepEqual(sockets[i]?.peer(), { ip, port });
    }
    for (const socket of sockets) socket.close();
  });

  it('goes to its own address by 0.0.0.0 from a socket that is bound to it, else within loopback', () => {
    const bound = through({ ip: '0.0.0.0', port: 8081 }, {}, (socket) => socket.bind(a.pod.ip, 0));
    assert.deepEqual(bound.original, { ip: a.pod.ip, port: 8081 });
    using app = Sock.listen(a.pod.netnsFd, '::', 8081, { family: 6 });
    // To an IPv6 socket :: is loopback whatever it is bound to.
    for (const [family, any, local, seen] of [
      [4, '0.0.0.0', undefined, '127.0.0.1'],
      [6, '::', undefined, '::1'],
      [6, '::', a.pod.ip6, '::1'],
      [6, '::ffff:0.0.0.0', undefined, '::ffff:127.0.0.1'],
    ] as const) {
      using client = Sock.open(a.pod.netnsFd, { family });
      if (local !== undefined) client.bind(local, 0);
      assert.equal(client.connect(any, 8081), 'ok');
      using accepted = app.accept();
      assert.ok(accepted);
      assert.deepEqual(client.peer(), { ip: seen, port: 8081 });
    }
  });

  it('is refused at once where TCP or the mesh cannot go', () => {
    const before = mesh.counter('refusedScope');
    const nowhere = [
      '224.0.0.1',
      '255.255.255.255',
      '::ffff:239.1.1.1',
      'ff02::1',
      'fe80::1',
      'fd5b:8c1d:9a6e::7',
    ];
    for (const ip of nowhere) {
      assert.equal(dial(a.pod.netnsFd, ip, 80, { family: ip.includes(':') ? 6 : 4 }), 'ENETUNREACH', ip);
    }
    assert.equal(mesh.counter('refusedScope') - before, nowhere.length);
    // Link-local in IPv4 is where clouds have their metadata.
    assert.deepEqual(through({ ip: '169.254.169.254', port: 80 }).original, {
      ip: '169.254.169.254',
      port: 80,
    });
  });

  it('is refused in a family of which the pod has no address, so that clients go on to the other (F18)', () => {
    for (const [only, missing] of [
      [IPV4, IPV6],
      [IPV6, IPV4],
      [IPV6, MAPPED],
    ] as const) {
      const pod = lab.pod(`only-${only.name}-${missing.name}`);
      const single = mesh.enrol({ ...pod, ips: [only.own(pod)] });
      assert.equal(dial(pod.netnsFd, missing.service.ip, 80, { family: missing.family }), 'ENETUNREACH');
      using client = Sock.open(pod.netnsFd, { family: only.family });
      assert.equal(client.connect(only.service.ip, only.service.port), 'ok');
      using accepted = single.listeners.outbound.accept();
      assert.ok(accepted);
      assert.deepEqual(mesh.originalDst(accepted.socket), plain(only.service));
    }
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

  it('goes on where the source ports for one destination would have run out (F20)', () => {
    // Three connections for each of its source ports, all three within the time that TIME_WAIT keeps one.
    sysctl(a.pod, 'net/ipv4/ip_local_port_range', '40000 40299');
    try {
      for (let i = 0; i < 900; i += 1) {
        using client = Sock.open(a.pod.netnsFd);
        const result = client.connect(SERVICE.ip, SERVICE.port);
        if (result !== 'ok') assert.fail(`connection ${i}: ${result}`);
        using accepted = a.listeners.outbound.accept();
        if (!accepted) assert.fail(`connection ${i} did not come`);
        // The client closes first, so that its side keeps TIME_WAIT.
      }
    } finally {
      sysctl(a.pod, 'net/ipv4/ip_local_port_range', '32768 60999');
    }
    assert.equal(mesh.redirection.stats().records, 0);
  });
});
