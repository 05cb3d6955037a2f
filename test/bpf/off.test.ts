import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { OffSwitches, Redirection } from '../../lib/linux/bpf/index.ts';
import { inNetns } from '../../lib/linux/netns.ts';
import { KERNEL_METHODS } from './support/guard-methods.ts';
import { Lab, type Pod } from './support/lab.ts';
import { dial, Sock } from './support/socket.ts';
import {
  closeListeners,
  listenerFds,
  newInstanceName,
  openListeners,
  TinyMesh,
  type MeshPod,
} from './support/tiny-mesh.ts';

for (const method of KERNEL_METHODS) {
  describe(`bpf: loam off, with the guard by ${method}`, () => {
    let lab: Lab;
    let mesh: TinyMesh;
    let a: MeshPod;
    let b: MeshPod;
    let outsider: Pod;
    let switches: OffSwitches;

    beforeEach(() => {
      lab = new Lab();
      mesh = new TinyMesh(newInstanceName(), { hostNetnsFd: lab.hostNetnsFd, method });
      a = mesh.enrol(lab.pod('a'));
      b = mesh.enrol(lab.pod('b'));
      outsider = lab.pod('c');
      const opened = OffSwitches.open(mesh.instance);
      assert.ok(opened);
      switches = opened;
    });
    afterEach(() => {
      switches?.[Symbol.dispose]();
      mesh?.[Symbol.dispose]();
      lab?.[Symbol.dispose]();
    });

    /** What each sees, of either family: nothing of the mesh is in between. */
    function isPlain(pod: Pod, port: number): void {
      for (const [family, any, own, other] of [
        [4, '0.0.0.0', pod.ip, outsider.ip],
        [6, '::', pod.ip6, outsider.ip6],
      ] as const) {
        using app = Sock.listen(pod.netnsFd, any, port, { family });
        using server = Sock.listen(outsider.netnsFd, any, port, { family });
        using out = Sock.open(pod.netnsFd, { family });
        assert.equal(out.connect(other, port), 'ok', `out, IPv${family}`);
        using arrived = server.accept();
        assert.deepEqual(arrived?.peer, { ip: own, port: out.local().port });
        assert.deepEqual(out.peer(), { ip: other, port });
        using incoming = Sock.open(outsider.netnsFd, { family });
        assert.equal(incoming.connect(own, port), 'ok', `in, IPv${family}`);
        using accepted = app.accept();
        assert.deepEqual(accepted?.peer, { ip: other, port: incoming.local().port });
        assert.equal(dial(pod.netnsFd, own, port, { family }), 'ok', `to itself, IPv${family}`);
        using itself = app.accept();
        assert.equal(itself?.peer.ip, own);
      }
    }

    function isRedirected({ pod, listeners }: MeshPod, port: number): void {
      using app = Sock.listen(pod.netnsFd, '0.0.0.0', port);
      assert.equal(dial(pod.netnsFd, outsider.ip, port), 'ok');
      using outbound = listeners.outbound.accept();
      assert.ok(outbound, 'outbound listener');
      assert.equal(dial(outsider.netnsFd, pod.ip, port), 'ok');
      using plaintext = listeners.plaintext.accept();
      assert.ok(plaintext, 'plaintext listener');
      assert.equal(app.accept(0), undefined);
    }

    it('gives one pod plain networking at once, both ways, and nobody else; and on again', () => {
      isRedirected(a, 9500);
      assert.equal(switches.turnOff(a.handle.cookie), true);
      assert.equal(switches.turnOff(a.handle.cookie), false, 'is off already');
      isPlain(a.pod, 9501);
      isRedirected(b, 9502);
      assert.equal(mesh.counter('offConnects') > 0 && mesh.counter('passedOff') > 0, true);
      assert.equal(switches.turnOn(a.handle.cookie), true);
      assert.equal(switches.turnOn(a.handle.cookie), false);
      isRedirected(a, 9503);
      assert.equal(mesh.redirection.stats().records, 0);
    });

    it('goes on to take what others send by the mesh, up to the application with its true client', () => {
      switches.turnOff(a.handle.cookie);
      assert.equal(dial(outsider.netnsFd, a.pod.ip, 15008), 'ok');
      using hbone = a.listeners.hbone.accept();
      assert.ok(hbone);
      using app = Sock.listen(a.pod.netnsFd, '0.0.0.0', 9510);
      using own = mesh.ownSocket(a.pod, { ip: '192.0.2.9', port: 4242 });
      own.bind('127.3.3.3', 0);
      assert.equal(own.connect(a.pod.ip, 9510), 'ok');
      using accepted = app.accept();
      assert.deepEqual(accepted?.peer, { ip: '192.0.2.9', port: 4242 });
    });

    it('leaves the connections alone that were there before', () => {
      using client = Sock.open(a.pod.netnsFd);
      assert.equal(client.connect(outsider.ip, 9520), 'ok');
      using waiting = Sock.open(a.pod.netnsFd);
      assert.equal(waiting.connect(outsider.ip, 9521), 'ok');
      using captured = a.listeners.outbound.accept();
      assert.ok(captured);
      switches.turnOff(a.handle.cookie);
      client.send('before');
      assert.equal(captured.socket.receive(), 'before');
      assert.deepEqual(client.peer(), { ip: outsider.ip, port: 9520 });
      using second = a.listeners.outbound.accept();
      assert.ok(second);
      assert.deepEqual(mesh.originalDst(second.socket), { ip: outsider.ip, port: 9521 });
    });

    it('never lets a connection find our listeners by their own ports', () => {
      switches.turnOff(a.handle.cookie);
      for (const listener of [a.listeners.outbound, a.listeners.plaintext, a.listeners.hbone])
        assert.notEqual(dial(outsider.netnsFd, a.pod.ip, listener.local().port), 'ok');
    });

    it('switches a whole node, also while its agent is away, and the next agent leaves it so', () => {
      mesh.redirection.close();
      for (const { listeners } of [a, b]) closeListeners(listeners);
      assert.equal(dial(a.pod.netnsFd, outsider.ip, 9530), 'ECONNREFUSED');
      assert.equal(switches.turnOff('node'), true);
      isPlain(a.pod, 9531);
      isPlain(b.pod, 9532);

      const guard = { hostNetnsFd: lab.hostNetnsFd, method };
      mesh.redirection = Redirection.open({ instance: mesh.instance, guard });
      const listeners = openListeners(a.pod);
      inNetns(lab.hostNetnsFd, () => mesh.redirection.enrol({ ...a.pod, listeners: listenerFds(listeners) }));
      assert.ok(mesh.redirection.switchedOff().node);
      isPlain(a.pod, 9533);
      assert.equal(switches.turnOn('node'), true);
      isRedirected({ ...a, listeners }, 9534);
      closeListeners(listeners);
    });

    it('leaves nothing of a pod that was switched off in the moment in which it left the mesh', () => {
      mesh.redirection.unenrol(a.handle);
      switches.turnOff(a.handle.cookie);
      assert.deepEqual(mesh.redirection.verify(), [
        { subject: `pod ${a.handle.cookie}`, problem: 'entries of a pod that is not enrolled' },
      ]);
      // As the agent does with what it finds so.
      mesh.redirection.unenrol(a.handle);
      assert.deepEqual([...switches.read().pods.keys()], []);
      switches.turnOff('node');
      assert.deepEqual(mesh.redirection.verify(), []);
      switches.turnOn('node');
    });

    it('lets a pod on its way out be plain, and its peers still reach it by HBONE; that is nobody’s `off`', () => {
      mesh.redirection.leave(a.handle);
      isPlain(a.pod, 9540);
      assert.deepEqual(mesh.redirection.switchedOff().pods.size, 0);
      assert.equal(
        mesh.redirection.enrolled().find(({ cookie }) => cookie === a.handle.cookie)?.leaving,
        true,
      );
      assert.equal(dial(outsider.netnsFd, a.pod.ip, 15008), 'ok');
      using tunnel = a.listeners.hbone.accept();
      assert.ok(tunnel);
      mesh.redirection.stay(a.handle);
      isRedirected(a, 9541);
      // What somebody switched off is not switched on by a label that comes back.
      mesh.redirection.leave(a.handle);
      assert.equal(switches.turnOff(a.handle.cookie), true);
      mesh.redirection.stay(a.handle);
      isPlain(a.pod, 9542);
      assert.equal(mesh.redirection.switchedOff().pods.size, 1);
    });

    it('is not left to a removal that is refused, since the instance is in use', () => {
      assert.throws(() => Redirection.requireUnused(mesh.instance), { code: 'BPF_INSTANCE_IN_USE' });
      for (const step of ['takes-plaintext', 'plain'] as const)
        assert.throws(() => Redirection.beginRemoval(mesh.instance, step), { code: 'BPF_INSTANCE_IN_USE' });
      assert.throws(() => Redirection.remove(mesh.instance), { code: 'BPF_INSTANCE_IN_USE' });
      isRedirected(a, 9550);
    });

    it('comes in two steps to a node that leaves the mesh: what arrives first, then what is dialled; the next agent takes both back', () => {
      const { instance } = mesh;
      mesh.redirection.close();
      Redirection.beginRemoval(instance, 'takes-plaintext');
      using app = Sock.listen(a.pod.netnsFd, '0.0.0.0', 9560);
      assert.equal(dial(outsider.netnsFd, a.pod.ip, 9560), 'ok');
      using accepted = app.accept();
      assert.equal(accepted?.peer.ip, outsider.ip);
      using server = Sock.listen(outsider.netnsFd, '0.0.0.0', 9560);
      assert.equal(dial(a.pod.netnsFd, outsider.ip, 9560), 'ok');
      using captured = a.listeners.outbound.accept();
      assert.ok(captured, 'what it dials is redirected');
      assert.equal(server.accept(0), undefined);

      Redirection.beginRemoval(instance, 'plain');
      isPlain(a.pod, 9561);
      isPlain(b.pod, 9562);
      assert.equal(dial(outsider.netnsFd, a.pod.ip, 15008), 'ok');
      using tunnel = a.listeners.hbone.accept();
      assert.ok(tunnel, 'HBONE is taken');
      assert.equal(switches.read().node, undefined, 'nobody ran loam off');

      mesh.redirection = Redirection.open({ instance, guard: { hostNetnsFd: lab.hostNetnsFd, method } });
      assert.deepEqual(mesh.redirection.verify(), []);
      mesh.redirection.stayAll();
      isRedirected(a, 9563);
    });

    it('stays switched off for who switched it off, whatever an uninstall began', () => {
      switches.turnOff('node');
      mesh.redirection.close();
      Redirection.beginRemoval(mesh.instance, 'plain');
      mesh.redirection = Redirection.open({
        instance: mesh.instance,
        guard: { hostNetnsFd: lab.hostNetnsFd, method },
      });
      mesh.redirection.stayAll();
      assert.ok(mesh.redirection.switchedOff().node);
      isPlain(a.pod, 9570);
    });

    it('forgets a pod with its enrolment', () => {
      switches.turnOff(a.handle.cookie);
      assert.ok(switches.isEnrolled(a.handle.cookie));
      assert.deepEqual([...mesh.redirection.switchedOff().pods.keys()], [a.handle.cookie]);
      mesh.redirection.unenrol(a.handle);
      assert.deepEqual([...switches.read().pods.keys()], []);
      assert.equal(switches.isEnrolled(a.handle.cookie), false);
    });
  });
}
