import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, it } from 'mocha';
import {
  ADDRESS_BYTES,
  buffer,
  cookieKey,
  LISTENER_KEY_BYTES,
  listenerKey,
  POD_BYTES,
  POD_USE_BYTES,
  RECORD_BYTES,
  TUPLE_BYTES,
} from '../../lib/linux/bpf/layout.ts';
import { Redirection } from '../../lib/linux/bpf/index.ts';
import { bindSource } from '../../lib/linux/socket.ts';
import { InternalSources } from '../../ztunnel/proxy/pod-sockets.ts';
import { FAMILIES, IPV4, IPV6, plain } from './support/families.ts';
import { PacketSocket } from './support/frames.ts';
import { pinnedMap, type OpenMap } from './support/kernel-objects.ts';
import { Lab, type Pod } from './support/lab.ts';
import { dial, Sock } from './support/socket.ts';
import { listenerFds, newInstanceName, TinyMesh, type MeshPod } from './support/tiny-mesh.ts';

const CLIENT = { ip: '192.0.2.7', port: 4242 };

/** The guard looks on in the last of these tests only: before, the hooks have to hold alone. */
describe('bpf: an entry that somebody removes from a map while the programs stay', () => {
  let lab: Lab;
  let mesh: TinyMesh;
  let pod: Pod;
  let a: MeshPod;
  let outsider: Pod;

  before(() => {
    lab = new Lab();
    pod = lab.pod('a');
    outsider = lab.pod('c');
  });
  beforeEach(() => {
    mesh = new TinyMesh(newInstanceName(), { hostNetnsFd: lab.hostNetnsFd, method: 'clsact' });
    a = mesh.enrol(pod, { guard: 'none' });
  });
  afterEach(() => mesh?.[Symbol.dispose]());
  after(() => lab?.[Symbol.dispose]());

  const pods = (): OpenMap => pinnedMap(mesh, 'pods', 8, POD_BYTES);
  const uses = (): OpenMap => pinnedMap(mesh, 'pod_uses', 8, POD_USE_BYTES);
  const marks = (): OpenMap => pinnedMap(mesh, 'enrolled', 8, 8);
  const key = (): Buffer => cookieKey(a.pod.cookie);
  const enrolAgain = (): void =>
    void mesh.redirection.enrol({ ...a.pod, listeners: listenerFds(a.listeners), guard: 'none' });
  const lacks = (): readonly string[] | undefined =>
    mesh.redirection.enrolled().find(({ cookie }) => cookie === a.pod.cookie)?.lacks;

  /** A connection that was made before, through the outbound listener. */
  function stream(): { client: Sock; server: Sock; goesOn: () => void } {
    const client = Sock.open(a.pod.netnsFd);
    assert.equal(client.connect(IPV4.service.ip, IPV4.service.port), 'ok');
    const server = a.listeners.outbound.accept()?.socket;
    assert.ok(server);
    const goesOn = (): void => {
      client.send('still');
      assert.equal(server.receive(), 'still');
    };
    return { client, server, goesOn };
  }

  /** Whatever the pod dials is refused, loopback too, and goes nowhere; what arrives is steered as before. */
  function refused(): void {
    const error = 'ENOBUFS';
    using server = Sock.listen(outsider.netnsFd, '::', 9100, { family: 6 });
    using app = Sock.listen(a.pod.netnsFd, '::', 9101, { family: 6 });
    const before = mesh.counter('refusedEntry');
    const form = (ip: string, family: 4 | 6, mapped: boolean): string =>
      family === 6 && mapped ? `::ffff:${ip}` : ip;
    for (const { name, family, own, loopback } of FAMILIES) {
      const there = name === 'IPv6' ? outsider.ip6 : form(outsider.ip, family, true);
      assert.equal(dial(a.pod.netnsFd, there, 9100, { family }), error, name);
      assert.equal(dial(a.pod.netnsFd, own(a.pod), 9101, { family }), error, name);
      using client = Sock.open(outsider.netnsFd, { family });
      assert.equal(client.connect(own(a.pod), 9101), 'ok', name);
      using arrived = a.listeners.plaintext.accept();
      assert.deepEqual(arrived?.socket.local(), plain({ ip: own(a.pod), port: 9101 }));
      assert.equal(app.accept(0), undefined);
      assert.equal(dial(a.pod.netnsFd, loopback, 9101, { family }), error, `${name}, loopback`);
    }
    assert.equal(server.accept(0), undefined);
    assert.equal(mesh.counter('refusedEntry'), before + 3 * FAMILIES.length);
  }

  /** ztunnel's connections to the application: refused, or made with the true client named. */
  function toApplication(): string[] {
    using app = Sock.listen(a.pod.netnsFd, '::', 9103, { family: 6 });
    return [IPV4, IPV6].map(({ family, own }) => {
      using socket = mesh.ownSocket(a.pod, CLIENT, family);
      bindSource(socket.fd, new InternalSources().next(family));
      const said = socket.connect(own(a.pod), 9103);
      using accepted = app.accept(0);
      assert.equal(accepted !== undefined, said === 'ok');
      if (accepted !== undefined) assert.equal(accepted.peer.ip, `::ffff:${CLIENT.ip}`);
      return said;
    });
  }

  it('of `pods`: the pod is refused what it dials, never let out, until it is enrolled again as it was', () => {
    const { client, server, goesOn } = stream();
    using map = pods();
    const before = map.get(key());
    assert.ok(map.delete(key()));
    refused();
    assert.deepEqual(toApplication(), ['ECONNREFUSED', 'ECONNREFUSED']);
    goesOn();
    assert.deepEqual(client.peer(), IPV4.service);
    assert.deepEqual(lacks(), ['pods']);
    assert.match(mesh.redirection.verify()[0]?.problem ?? '', /entry in map pods is gone/);
    enrolAgain();
    assert.deepEqual(map.get(key()), before, 'of the same generation');
    assert.deepEqual(mesh.redirection.verify(), []);
    goesOn();
    assert.equal(dial(a.pod.netnsFd, IPV4.service.ip, 80), 'ok');
    assert.deepEqual(toApplication(), ['ok', 'ok']);
    client.close();
    server.close();
  });

  it('of `pods`, while the process is away: the next one adopts the pod as one that is refused', () => {
    using map = pods();
    assert.ok(map.delete(key()));
    mesh.redirection.close();
    mesh.redirection = Redirection.open({
      instance: mesh.instance,
      guard: { hostNetnsFd: lab.hostNetnsFd, method: 'clsact' },
    });
    refused();
    assert.deepEqual(lacks(), ['pods']);
    enrolAgain();
    assert.deepEqual(mesh.redirection.verify(), []);
    mesh.redirection.unenrol(a.handle);
    assert.deepEqual(mesh.redirection.enrolled(), []);
    assert.deepEqual(mesh.redirection.verify(), []);
  });

  it('of `pods`, of a pod that was switched off: it stays off', () => {
    using off = pinnedMap(mesh, 'switched_off', 8, 8);
    off.set(key(), buffer(8));
    using map = pods();
    assert.ok(map.delete(key()));
    using server = Sock.listen(outsider.netnsFd, '0.0.0.0', 9100);
    assert.equal(dial(a.pod.netnsFd, outsider.ip, 9100), 'ok');
    enrolAgain();
    assert.ok(off.get(key()), 'the switch is not forgotten');
    using accepted = server.accept();
    assert.ok(accepted);
  });

  it('of `pod_uses`: the pod is refused all until it is counted again, with what it has under way', () => {
    const { client, server, goesOn } = stream();
    const full = Sock.listen(a.pod.netnsFd, '::ffff:127.77.0.1', 0, { family: 6, backlog: 0 });
    const fds = { outbound: full.fd, plaintext: full.fd, hbone: full.fd };
    mesh.redirection.setListeners(a.handle, fds);
    const waiting: Sock[] = [];
    const outstanding = (): number | undefined =>
      mesh.redirection.enrolled().find(({ cookie }) => cookie === a.pod.cookie)?.use.outstanding.outbound;
    // What the backlog takes, the kernel completes at once.
    while (outstanding() !== 3) {
      const socket = Sock.open(a.pod.netnsFd).resetOnClose();
      assert.equal(socket.connectLater(IPV4.service.ip, IPV4.service.port), 'EINPROGRESS');
      waiting.push(socket);
    }
    mesh.redirection.setListeners(a.handle, listenerFds(a.listeners));
    using map = uses();
    assert.ok(map.delete(key()));
    refused();
    assert.deepEqual(toApplication(), ['ENOBUFS', 'ENOBUFS']);
    goesOn();
    assert.deepEqual(lacks(), ['pod_uses']);
    assert.match(mesh.redirection.verify()[0]?.problem ?? '', /entry in map pod_uses is gone/);
    enrolAgain();
    assert.equal(outstanding(), 3);
    for (const socket of waiting) socket.close();
    assert.equal(outstanding(), 0);
    assert.equal(dial(a.pod.netnsFd, IPV4.service.ip, 80), 'ok');
    assert.deepEqual(toApplication(), ['ok', 'ok']);
    for (const socket of [client, server, full]) socket.close();
  });

  it('of `enrolled`: nothing changes for the pod, and it is put back', () => {
    using map = marks();
    assert.ok(map.delete(key()));
    assert.equal(dial(a.pod.netnsFd, IPV4.service.ip, 80), 'ok');
    assert.deepEqual(lacks(), ['enrolled']);
    enrolAgain();
    assert.deepEqual(mesh.redirection.verify(), []);
  });

  for (const role of ['outbound', 'plaintext', 'hbone'] as const) {
    it(`of \`listeners\` (${role}): connections of that way alone are refused`, () => {
      using map = pinnedMap(mesh, 'listeners', LISTENER_KEY_BYTES, 8);
      using app = Sock.listen(a.pod.netnsFd, '::', 9101, { family: 6 });
      assert.ok(map.delete(listenerKey(a.pod.cookie, role)));
      const said = (way: typeof role): string => (way === role ? 'ECONNREFUSED' : 'ok');
      assert.equal(dial(a.pod.netnsFd, IPV4.service.ip, 80), said('outbound'));
      assert.equal(dial(outsider.netnsFd, a.pod.ip, 9101), said('plaintext'));
      assert.equal(dial(outsider.netnsFd, a.pod.ip6, 15008, { family: 6 }), said('hbone'));
      assert.equal(app.accept(0), undefined);
      assert.deepEqual(lacks(), ['listeners']);
      mesh.redirection.setListeners(a.handle, listenerFds(a.listeners));
      assert.deepEqual(mesh.redirection.verify(), []);
      assert.equal(dial(a.pod.netnsFd, IPV4.service.ip, 80), 'ok');
    });
  }

  it('of `records`: a connection under way is refused, and comes to nobody', () => {
    const full = Sock.listen(a.pod.netnsFd, '::ffff:127.77.0.1', 0, { family: 6, backlog: 0 });
    mesh.redirection.setListeners(a.handle, { outbound: full.fd, plaintext: full.fd, hbone: full.fd });
    const sockets: Sock[] = [];
    while (mesh.redirection.stats().records === 0) {
      const socket = Sock.open(a.pod.netnsFd);
      assert.equal(socket.connectLater(IPV4.service.ip, IPV4.service.port), 'EINPROGRESS');
      sockets.push(socket);
    }
    using records = pinnedMap(mesh, 'records', TUPLE_BYTES, RECORD_BYTES);
    for (const record of records.keys()) records.delete(record);
    mesh.redirection.setListeners(a.handle, listenerFds(a.listeners));
    // Its SYN is repeated.
    let said = 'EINPROGRESS';
    for (let i = 0; i < 30 && said === 'EINPROGRESS'; i += 1) said = sockets.at(-1)?.connected() ?? '';
    assert.equal(said, 'ECONNREFUSED');
    assert.equal(a.listeners.outbound.accept(0), undefined);
    for (const socket of [...sockets, full]) socket.close();
  });

  it('of `original_dst` or `true_peer`: no destination is made up, and no friend of the application', () => {
    using client = Sock.open(a.pod.netnsFd);
    assert.equal(client.connect(IPV4.service.ip, IPV4.service.port), 'ok');
    using accepted = a.listeners.outbound.accept();
    assert.ok(accepted);
    const ofSocket = (fd: number): Buffer => {
      const bytes = buffer(4);
      bytes.writeInt32LE(fd, 0);
      return bytes;
    };
    using destinations = pinnedMap(mesh, 'original_dst', 4, ADDRESS_BYTES);
    assert.ok(destinations.delete(ofSocket(accepted.socket.fd)));
    assert.equal(mesh.originalDst(accepted.socket), undefined);
    using peers = pinnedMap(mesh, 'true_peer', 4, ADDRESS_BYTES);
    for (const { family, own, any } of [IPV4, IPV6]) {
      using app = Sock.listen(a.pod.netnsFd, any, 9104, { family });
      using toApp = mesh.ownSocket(a.pod, CLIENT, family);
      bindSource(toApp.fd, new InternalSources().next(family));
      assert.equal(toApp.connect(own(a.pod), 9104), 'ok');
      using inside = app.accept();
      assert.ok(inside && peers.delete(ofSocket(inside.socket.fd)));
      const dummy = family === 4 ? '192.0.0.8' : '::ffff:192.0.0.8';
      assert.deepEqual(inside.socket.peer(), { ip: dummy, port: 0 });
      // A client that is bound to the pod's address is not one that ztunnel connected to.
      using bound = Sock.open(a.pod.netnsFd, { family }).bind(own(a.pod), 0);
      const near = family === 4 ? '127.0.0.1' : '::1';
      assert.equal(bound.connect(near, 9104), 'ok');
      assert.equal(bound.peer().ip, near);
      app.accept()?.socket.close();
      // What is the pod's own stays what it is.
      const loopback = family === 4 ? '127.0.0.1' : '::1';
      using friend = Sock.open(a.pod.netnsFd, { family });
      assert.equal(friend.connect(loopback, 9104), 'ok');
      using within = app.accept();
      assert.equal(within?.peer.ip, loopback);
      assert.equal(within.socket.peer().ip, loopback);
    }
  });

  it('of all maps at once, of a guarded pod: its SYN stays on the node', () => {
    const b = mesh.enrol(lab.pod('b'));
    using seen = new PacketSocket(outsider);
    using server = Sock.listen(outsider.netnsFd, '0.0.0.0', 9100);
    for (const map of [pods(), uses(), marks()]) {
      using open = map;
      assert.ok(open.delete(cookieKey(b.pod.cookie)));
    }
    using client = Sock.open(b.pod.netnsFd);
    assert.equal(client.connectLater(outsider.ip, 9100), 'EINPROGRESS');
    using control = Sock.open(lab.pod('d').netnsFd);
    assert.equal(control.connect(outsider.ip, 9100), 'ok');
    using accepted = server.accept();
    assert.equal(accepted?.peer.port, control.local().port);
    assert.equal(server.accept(0), undefined);
    const { port } = client.local();
    const sourcePort = Buffer.from([port >> 8, port & 255]);
    const from = Buffer.from(b.pod.ip.split('.').map(Number));
    assert.equal(
      seen
        .all()
        .some((frame) => frame.subarray(26, 30).equals(from) && frame.subarray(34, 36).equals(sourcePort)),
      false,
    );
  });
});
