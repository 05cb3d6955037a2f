import assert from 'node:assert/strict';
import { mkdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { cgroup2Root } from '../../lib/linux/bpf/index.ts';
import { inNetns } from '../../lib/linux/netns.ts';
import { FAMILIES, IPV4, IPV6, plain } from './support/families.ts';
import { Lab, PREFIX, run, type Pod } from './support/lab.ts';
import { connectByIoUring, connectPassed, connectUnderProgram, SQPOLL } from './support/python-client.ts';
import { MPTCP, Sock, type Address } from './support/socket.ts';
import { TinyMesh, type MeshPod } from './support/tiny-mesh.ts';

describe('bpf: whose socket it is, when it was made and who connects it', () => {
  let lab: Lab;
  let mesh: TinyMesh;

  beforeEach(() => {
    lab = new Lab();
    mesh = new TinyMesh();
  });
  afterEach(() => {
    mesh?.[Symbol.dispose]();
    lab?.[Symbol.dispose]();
  });

  /** Asserts that the next connection at the outbound listener asked for this. */
  function captured(pod: MeshPod, asked: Address): void {
    using accepted = pod.listeners.outbound.accept();
    assert.ok(accepted, 'nothing came to the outbound listener');
    assert.deepEqual(mesh.originalDst(accepted.socket), plain(asked));
  }

  for (const { name, family, service, own, any } of FAMILIES) {
    describe(name, () => {
      it('is captured from sockets that were made, bound or listening before the pod was enrolled', () => {
        const pod = lab.pod('a');
        const sockets = [
          Sock.open(pod.netnsFd, { family }),
          Sock.open(pod.netnsFd, { family, protocol: MPTCP }),
          Sock.open(pod.netnsFd, { family }).bind(own(pod), 0),
          Sock.open(pod.netnsFd, { family }).bindToDevice('eth0'),
        ];
        using app = Sock.listen(pod.netnsFd, any, 9500, { family });
        const outsider = lab.pod('c');
        const a = mesh.enrol(pod);
        for (const socket of sockets) {
          assert.equal(socket.connect(service.ip, service.port), 'ok');
          captured(a, service);
          assert.deepEqual(socket.peer(), service);
          socket.close();
        }
        using client = Sock.open(outsider.netnsFd, { family });
        assert.equal(client.connect(own(pod), 9500), 'ok');
        using accepted = a.listeners.plaintext.accept();
        assert.equal(accepted?.socket.local().port, 9500);
        assert.equal(app.accept(0), undefined);
      });

      it('is captured by the namespace of the socket, not by that of the process', () => {
        const a = mesh.enrol(lab.pod('a'));
        const outsider = lab.pod('c');
        using ofPod = Sock.open(a.pod.netnsFd, { family });
        inNetns(outsider.netnsFd, () => assert.equal(ofPod.connect(service.ip, service.port), 'ok'));
        captured(a, service);
        using app = Sock.listen(outsider.netnsFd, any, 9501, { family });
        using foreign = Sock.open(outsider.netnsFd, { family });
        inNetns(a.pod.netnsFd, () => assert.equal(foreign.connect(own(outsider), 9501), 'ok'));
        using accepted = app.accept();
        assert.equal(accepted?.peer.ip, own(outsider));
        assert.equal(a.listeners.outbound.accept(0), undefined);
      });

      it('is captured from a socket that another process made and passed', () => {
        const a = mesh.enrol(lab.pod('a'));
        assert.deepEqual(connectPassed(a.pod, family, service), service);
        captured(a, service);
      });

      it('is captured below a control group with a program of its own, as that leaves it (t8)', () => {
        const a = mesh.enrol(lab.pod('a'));
        const group = join(cgroup2Root(), `${PREFIX}-${process.pid}-own-program`);
        mkdirSync(group);
        try {
          const other = { ip: service.ip, port: service.port + 1 };
          assert.deepEqual(connectUnderProgram(a.pod, family, service, group, other.port), other);
          captured(a, other);
        } finally {
          rmdirSync(group);
        }
      });

      for (const [how, flags] of [
        ['io_uring', 0],
        ['io_uring, by a kernel thread (SQPOLL)', SQPOLL],
      ] as const) {
        it(`is captured when connect() goes through ${how}`, () => {
          const a = mesh.enrol(lab.pod('a'));
          assert.deepEqual(connectByIoUring(a.pod, family, service, flags), service);
          captured(a, service);
        });
      }
    });
  }

  describe('with a second interface', () => {
    const SECOND = { 4: '198.18.81.1', 6: 'fd00:81::1' };

    /** A pod whose eth1 is tied to a neighbour that claims the pod's own addresses, and is a default route too. */
    function withNeighbour(): { pod: Pod; neighbour: Pod } {
      const pod = lab.pod('a');
      const neighbour = lab.pod('n');
      run(`ip -n ${pod.netns} link add eth1 type veth peer name eth1 netns ${neighbour.netns}
        ip -n ${pod.netns} addr add ${SECOND[4]}/24 dev eth1
        ip -n ${pod.netns} addr add ${SECOND[6]}/64 dev eth1 nodad
        ip -n ${pod.netns} link set eth1 up
        ip -n ${pod.netns} route add default dev eth1 metric 9
        ip -n ${pod.netns} -6 route add default dev eth1 metric 9
        ip -n ${neighbour.netns} addr add ${pod.ip}/32 dev eth1
        ip -n ${neighbour.netns} addr add ${pod.ip6}/128 dev eth1 nodad
        ip -n ${neighbour.netns} addr add 198.18.81.2/24 dev eth1
        ip -n ${neighbour.netns} addr add fd00:81::2/64 dev eth1 nodad
        ip -n ${neighbour.netns} link set eth1 up`);
      return { pod, neighbour };
    }

    for (const { name, family, service } of [IPV4, IPV6]) {
      it(`is captured from its address, and refused from a socket that is bound to it (${name})`, () => {
        const { pod } = withNeighbour();
        const a = mesh.enrol(pod);
        using bound = Sock.open(pod.netnsFd, { family }).bind(SECOND[family], 0);
        assert.equal(bound.connect(service.ip, service.port), 'ok');
        captured(a, service);
        const before = mesh.counter('refusedDevice');
        using onDevice = Sock.open(pod.netnsFd, { family }).bindToDevice('eth1');
        assert.equal(onDevice.connect(service.ip, service.port), 'ENETUNREACH');
        assert.equal(mesh.counter('refusedDevice'), before + 1);
        assert.equal(mesh.redirection.stats().records, 0);
      });

      it(`takes what comes to its address to the plaintext listener (F3, ${name})`, () => {
        const { pod, neighbour } = withNeighbour();
        const a = mesh.enrol(pod);
        using app = Sock.listen(pod.netnsFd, family === 4 ? '0.0.0.0' : '::', 9502, { family });
        using client = Sock.open(neighbour.netnsFd, { family }).bind(
          family === 4 ? '198.18.81.2' : 'fd00:81::2',
          0,
        );
        assert.equal(client.connect(SECOND[family], 9502), 'ok');
        using accepted = a.listeners.plaintext.accept();
        assert.deepEqual(accepted?.socket.local(), { ip: SECOND[family], port: 9502 });
        assert.equal(app.accept(0), undefined);
      });
    }
  });
});
