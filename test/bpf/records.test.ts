import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { buffer, RECORD_BYTES, TUPLE_BYTES } from '../../lib/linux/bpf/layout.ts';
import { libbpf } from '../../lib/linux/bpf/libbpf.ts';
import { BpfMap } from '../../lib/linux/bpf/map.ts';
import { DEFAULT_CAP } from '../../lib/linux/bpf/pod-store.ts';
import { closeFd } from '../../lib/linux/libc.ts';
import { bindSource } from '../../lib/linux/socket.ts';
import { InternalSources } from '../../ztunnel/proxy/pod-sockets.ts';
import { FAMILIES, IPV4, IPV6 } from './support/families.ts';
import { pinned, pinnedMap } from './support/kernel-objects.ts';
import { Lab } from './support/lab.ts';
import { dial, Sock } from './support/socket.ts';
import { closeListeners, listenerFds, openListeners, TinyMesh, type MeshPod } from './support/tiny-mesh.ts';

/** As bpf/maps.h has it. */
const MAX_RECORDS = 65536;
/** As bpf/shares.h has it. */
const SHARED_RECORDS = 8192;
/** What the kubelet allows by default (--max-pods). */
const PODS_OF_A_NODE = 110;
const SERVICE = { ip: '198.19.0.10', port: 80 };

describe('bpf: records of connections under way', () => {
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

  function use(pod: MeshPod) {
    const found = mesh.redirection.enrolled().find(({ cookie }) => cookie === pod.pod.cookie);
    assert.ok(found);
    return found.use;
  }
  /** How many records the programs believe that all pods have. */
  function held(set?: number): number {
    using map = pinnedMap(mesh, 'records_held', 4, 8);
    const value = buffer(8);
    value.writeBigInt64LE(BigInt(set ?? 0), 0);
    if (set !== undefined) map.set(buffer(4), value);
    return Number(map.get(buffer(4))?.readBigInt64LE(0));
  }
  const none = { outbound: 0, toApplication: 0, hairpin: 0 };

  it('are gone after a storm of failed connections (F1)', () => {
    const a = mesh.enrol(lab.pod('a'));
    closeListeners(a.listeners);
    for (let i = 0; i < 3000; i += 1) {
      const { family, service } = i % 2 === 0 ? IPV4 : IPV6;
      assert.equal(dial(a.pod.netnsFd, service.ip, service.port, { family }), 'ECONNREFUSED');
    }
    assert.equal(mesh.redirection.stats().records, 0);
    assert.deepEqual(use(a).outstanding, none);
    assert.equal(mesh.counter('withdrawn'), 3000);
  });

  /** Connections that stay under way: a full backlog lets no SYN in. */
  function stuck(pod: MeshPod, count: number): Sock[] {
    const full = Sock.listen(pod.pod.netnsFd, '::ffff:127.77.0.1', 0, { family: 6, backlog: 0 });
    const fds = { outbound: full.fd, plaintext: full.fd, hbone: full.fd };
    mesh.redirection.setListeners(pod.handle, fds);
    const sockets = [full];
    // What the backlog takes, the kernel completes at once.
    for (let i = 0; i < count; i += 1) {
      const { family, service } = i % 2 === 0 ? IPV4 : IPV6;
      const socket = Sock.open(pod.pod.netnsFd, { family }).resetOnClose();
      assert.equal(socket.connectLater(service.ip, service.port), 'EINPROGRESS');
      sockets.push(socket);
    }
    return sockets;
  }

  it('are capped for each pod while all have many, and connect() is refused beyond (F17)', () => {
    const a = mesh.enrol(lab.pod('a'), { cap: 16 });
    const b = mesh.enrol(lab.pod('b'), { cap: 16 });
    held(SHARED_RECORDS);
    const sockets = stuck(a, 16);
    while (use(a).outstanding.outbound < 16) {
      const socket = Sock.open(a.pod.netnsFd).resetOnClose();
      assert.equal(socket.connectLater(SERVICE.ip, SERVICE.port), 'EINPROGRESS');
      sockets.push(socket);
    }
    for (const { family, service } of FAMILIES) {
      assert.equal(dial(a.pod.netnsFd, service.ip, service.port, { family }), 'ENOBUFS');
    }
    assert.equal(use(a).refusedCap, FAMILIES.length);
    assert.equal(use(a).outstanding.outbound, 16);
    // What the pod receives, and other pods, are not concerned.
    assert.equal(dial(b.pod.netnsFd, SERVICE.ip, SERVICE.port), 'ok');
    using app = Sock.listen(a.pod.netnsFd, '0.0.0.0', 9100);
    using toApp = mesh.ownSocket(a.pod, { ip: '192.0.2.1', port: 1 });
    toApp.bind('127.1.1.1', 0);
    assert.equal(toApp.connect(a.pod.ip, 9100), 'ok');
    using accepted = app.accept();
    assert.ok(accepted);
    for (const socket of sockets) socket.close();
    assert.equal(mesh.redirection.stats().records, 0);
    assert.deepEqual(use(a).outstanding, none);
    assert.equal(held(), SHARED_RECORDS);
    mesh.redirection.setListeners(a.handle, listenerFds(a.listeners));
    assert.equal(dial(a.pod.netnsFd, SERVICE.ip, SERVICE.port), 'ok');
  });

  it('wait, as without a mesh, when a pod dials in a crowd and others have few', () => {
    const a = mesh.enrol(lab.pod('a'));
    const sockets = stuck(a, 2 * DEFAULT_CAP);
    assert.equal(use(a).refusedCap, 0);
    assert.ok(use(a).outstanding.outbound > DEFAULT_CAP);
    assert.equal(held(), mesh.redirection.stats().records);
    for (const socket of sockets) socket.close();
    assert.equal(held(), 0);
  });

  it('that a hostile pod holds with TCP_REPAIR leave room for those of all others', () => {
    const a = mesh.enrol(lab.pod('a'));
    const b = mesh.enrol(lab.pod('b'));
    // Connected by decree: such a socket sends no SYN, so nothing ever consumes its record.
    const byDecree = ({ pod }: MeshPod, count: number): Sock[] => {
      const sockets = Array.from({ length: count + 1 }, () => Sock.open(pod.netnsFd).repair());
      const said = sockets.map((socket) => socket.connect(SERVICE.ip, SERVICE.port));
      assert.equal(said.filter((result) => result === 'ok').length, count);
      assert.equal(said.at(-1), 'ENOBUFS');
      return sockets;
    };
    const hostile = byDecree(a, SHARED_RECORDS);
    assert.equal(use(a).outstanding.outbound, SHARED_RECORDS);
    assert.ok(SHARED_RECORDS + DEFAULT_CAP * (PODS_OF_A_NODE - 1) < MAX_RECORDS);
    const others = byDecree(b, DEFAULT_CAP);
    for (const socket of others) socket.close();
    assert.equal(dial(b.pod.netnsFd, SERVICE.ip, SERVICE.port), 'ok');
    for (const socket of hostile) socket.close();
    assert.deepEqual(use(a).outstanding, none);
    assert.equal(held(), 0);
    assert.equal(mesh.redirection.stats().records, 0);
  });

  it('that find the map full make connect() fail, counted, nothing passes, and what exists goes on', () => {
    const a = mesh.enrol(lab.pod('a'));
    using app = Sock.listen(a.pod.netnsFd, '::', 9103, { family: 6 });
    const fd = libbpf().openPin(pinned(mesh, 'maps', 'records'));
    const records = new BpfMap('records', fd, TUPLE_BYTES, RECORD_BYTES);
    const keys = Array.from({ length: MAX_RECORDS }, (_, i) => {
      const key = buffer(TUPLE_BYTES);
      key.writeUInt32LE(i, 12);
      return key;
    });
    using client = Sock.open(a.pod.netnsFd);
    assert.equal(client.connect(SERVICE.ip, SERVICE.port), 'ok');
    using server = a.listeners.outbound.accept();
    try {
      for (const key of keys) records.set(key, buffer(RECORD_BYTES));
      assert.deepEqual(mesh.redirection.fill()['records'], {
        entries: MAX_RECORDS,
        capacity: MAX_RECORDS,
      });
      for (const { family, service, own } of [IPV4, IPV6]) {
        assert.equal(dial(a.pod.netnsFd, service.ip, service.port, { family }), 'ECONNREFUSED');
        using toApp = mesh.ownSocket(a.pod, { ip: '192.0.2.1', port: 1 }, family);
        bindSource(toApp.fd, new InternalSources().next(family));
        assert.equal(toApp.connect(own(a.pod), 9103), 'ECONNREFUSED');
      }
      assert.equal(app.accept(0), undefined);
      assert.equal(use(a).refusedFull, 4);
      assert.equal(mesh.counter('recordsFull'), 4);
      // What exists goes on, and what arrives from outside needs no record.
      client.send('still');
      assert.equal(server?.socket.receive(), 'still');
      assert.equal(dial(lab.pod('c').netnsFd, a.pod.ip, 9103), 'ok');
      assert.deepEqual(use(a).outstanding, none);
      assert.match(mesh.redirection.verify()[0]?.problem ?? '', /not enrolled/);
    } finally {
      for (const key of keys) records.delete(key);
      closeFd(fd);
    }
    assert.equal(dial(a.pod.netnsFd, SERVICE.ip, SERVICE.port), 'ok');
  });

  it('of a pod that is unenrolled go with it, and its sockets leave nothing when they close', () => {
    const a = mesh.enrol(lab.pod('a'));
    const sockets = stuck(a, 8);
    assert.ok(mesh.redirection.stats().records > 0);
    mesh.redirection.unenrol(a.handle);
    assert.equal(mesh.redirection.stats().records, 0);
    assert.equal(held(), 0);
    for (const socket of sockets) socket.close();
    assert.equal(mesh.redirection.stats().records, 0);
    assert.equal(held(), 0);
    assert.deepEqual(mesh.redirection.enrolled(), []);
    assert.deepEqual(mesh.redirection.verify(), []);
  });

  it('of an earlier enrolment are not valid in the next', () => {
    const pod = lab.pod('a');
    const first = mesh.enrol(pod);
    const sockets = stuck(first, 8);
    mesh.redirection.unenrol(first.handle);
    const second = mesh.enrol(pod);
    assert.deepEqual(use(second).outstanding, none);
    for (const socket of sockets) socket.close();
    assert.deepEqual(use(second).outstanding, none);
    assert.equal(dial(pod.netnsFd, SERVICE.ip, SERVICE.port), 'ok');
  });

  it('give a pod that takes over address and port of a departed one nothing (F1, t12)', () => {
    const departed = lab.pod('a');
    const b = mesh.enrol(lab.pod('b'));
    const a = mesh.enrol(departed);
    using app = Sock.listen(b.pod.netnsFd, '0.0.0.0', 9101);
    let port: number;
    {
      // The departed pod's connection through the mesh, whose tuple is then used again.
      using tunnel = mesh.ownSocket(departed);
      assert.equal(tunnel.connect(b.pod.ip, 15008), 'ok');
      port = tunnel.local().port;
      using toApp = mesh.ownSocket(b.pod, { ip: departed.ip, port });
      toApp.bind('127.2.2.2', 0);
      assert.equal(toApp.connect(b.pod.ip, 9101), 'ok');
      using accepted = app.accept();
      assert.deepEqual(accepted?.peer, { ip: departed.ip, port });
      tunnel.resetOnClose();
    }
    mesh.redirection.unenrol(a.handle);
    closeListeners(a.listeners);
    lab.remove(departed);
    const successor = lab.pod('e', departed.ip);
    for (const source of [port, port === 65535 ? port - 1 : port + 1]) {
      using client = Sock.open(successor.netnsFd).bind(successor.ip, source);
      assert.equal(client.connect(b.pod.ip, 9101), 'ok');
      using accepted = b.listeners.plaintext.accept();
      assert.deepEqual(accepted?.peer, { ip: successor.ip, port: source });
      assert.deepEqual(accepted?.socket.peer(), { ip: successor.ip, port: source });
    }
    assert.equal(app.accept(0), undefined);
  });

  it('are not consumed by a connection of another pod with the same addresses and ports', () => {
    const a = mesh.enrol(lab.pod('a'));
    const b = mesh.enrol(lab.pod('b'));
    using first = mesh.ownSocket(a.pod, { ip: '192.0.2.1', port: 1 });
    using second = mesh.ownSocket(b.pod, { ip: '192.0.2.2', port: 2 });
    using appA = Sock.listen(a.pod.netnsFd, '127.0.0.1', 9102);
    using appB = Sock.listen(b.pod.netnsFd, '127.0.0.1', 9102);
    for (const [own, app, ip] of [
      [first, appA, '192.0.2.1'],
      [second, appB, '192.0.2.2'],
    ] as const) {
      own.bind('127.5.5.5', 40500);
      assert.equal(own.connect('127.0.0.1', 9102), 'ok');
      using accepted = app.accept();
      assert.equal(accepted?.peer.ip, ip);
    }
  });

  it('belong to connections that wait while nobody accepts', () => {
    const a = mesh.enrol(lab.pod('a'));
    const clients = Array.from({ length: 100 }, () => Sock.open(a.pod.netnsFd));
    for (const [i, client] of clients.entries()) assert.equal(client.connect('198.19.1.1', 1000 + i), 'ok');
    assert.equal(mesh.redirection.stats().records, 0);
    // The backlog knows them, each with its destination, whoever accepts them later.
    for (const i of clients.keys()) {
      using accepted = a.listeners.outbound.accept();
      assert.ok(accepted);
      assert.deepEqual(mesh.originalDst(accepted.socket), { ip: '198.19.1.1', port: 1000 + i });
    }
    for (const client of clients) client.close();
  });

  it('survive an exchange of the listeners between connect() and accept()', () => {
    const a = mesh.enrol(lab.pod('a'));
    using client = Sock.open(a.pod.netnsFd);
    assert.equal(client.connect(SERVICE.ip, SERVICE.port), 'ok');
    const next = openListeners(a.pod);
    mesh.redirection.setListeners(a.handle, listenerFds(next));
    using old = a.listeners.outbound.accept();
    assert.ok(old && mesh.originalDst(old.socket));
    using second = Sock.open(a.pod.netnsFd);
    assert.equal(second.connect(SERVICE.ip, SERVICE.port), 'ok');
    using accepted = next.outbound.accept();
    assert.ok(accepted && mesh.originalDst(accepted.socket));
    closeListeners(next);
  });
});
