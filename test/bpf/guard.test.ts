import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import type { GuardReason } from '../../lib/linux/bpf/index.ts';
import { Lab, type Pod } from './support/lab.ts';
import { sendForgedSyn } from './support/raw.ts';
import { dial, Sock } from './support/socket.ts';
import { newInstanceName, TinyMesh, type MeshPod } from './support/tiny-mesh.ts';

for (const method of ['tcx', 'clsact'] as const) {
  describe(`bpf: the guard on the host side of a pod's veth, by ${method}`, () => {
    let lab: Lab;
    let mesh: TinyMesh;
    let a: MeshPod;
    let outsider: Pod;

    before(() => {
      lab = new Lab();
      mesh = new TinyMesh(newInstanceName(), { hostNetnsFd: lab.hostNetnsFd, method });
      a = mesh.enrol(lab.pod('a'));
      outsider = lab.pod('c');
    });
    after(() => {
      mesh?.[Symbol.dispose]();
      lab?.[Symbol.dispose]();
    });

    function drops(pod: MeshPod, reason: GuardReason): number {
      const found = mesh.redirection.enrolled().find(({ cookie }) => cookie === pod.handle.cookie);
      assert.ok(found?.guardDrops);
      return found.guardDrops[reason];
    }

    it('lets the sockets of the mesh out', () => {
      using server = Sock.listen(outsider.netnsFd, '0.0.0.0', 9100);
      using socket = mesh.ownSocket(a.pod);
      assert.equal(socket.connect(outsider.ip, 9100), 'ok');
      using accepted = server.accept();
      assert.equal(accepted?.peer.ip, a.pod.ip);
      assert.equal(drops(a, 'syn'), 0);
      assert.deepEqual(mesh.redirection.verify(), []);
    });

    it('drops the SYN of a raw socket', () => {
      using server = Sock.listen(outsider.netnsFd, '0.0.0.0', 9101);
      sendForgedSyn(a.pod, outsider, { ip: a.pod.ip, port: 40000 }, { ip: outsider.ip, port: 9101 });
      assert.equal(drops(a, 'syn'), 1);
      sendForgedSyn(a.pod, outsider, { ip: '198.18.80.77', port: 40000 }, { ip: outsider.ip, port: 9101 });
      assert.equal(drops(a, 'source'), 1);
      assert.equal(server.accept(0), undefined);
      void dial;
    });
  });
}
