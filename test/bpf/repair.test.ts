import assert from 'node:assert/strict';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { Redirection } from '../../lib/linux/bpf/index.ts';
import { allLinks } from '../../lib/linux/bpf/link.ts';
import { DEFAULT_BPFFS } from '../../lib/linux/bpf/pins.ts';
import { fails, kernelObjects, pinned } from './support/kernel-objects.ts';
import { Lab, run } from './support/lab.ts';
import { dial, Sock } from './support/socket.ts';
import { listenerFds, newInstanceName, TinyMesh } from './support/tiny-mesh.ts';

const SERVICE = { ip: '198.19.0.10', port: 80 };

describe('bpf: what somebody takes away behind the back of an instance', () => {
  let lab: Lab;
  const meshes: TinyMesh[] = [];

  beforeEach(() => {
    lab = new Lab();
  });
  afterEach(() => {
    for (const mesh of meshes.splice(0)) mesh[Symbol.dispose]();
    lab[Symbol.dispose]();
  });

  function newMesh(): TinyMesh {
    const mesh = new TinyMesh();
    meshes.push(mesh);
    return mesh;
  }

  for (const [how, lose] of [
    ['detached', 'bpftool link detach pinned'],
    ['unpinned', 'rm'],
  ] as const) {
    it(`attaches a hook again that somebody ${how}, and leaves the others as they are`, () => {
      const mesh = newMesh();
      const a = mesh.enrol(lab.pod('a'));
      const outsider = lab.pod('c');
      using elsewhere = Sock.listen(outsider.netnsFd, '0.0.0.0', 9203);
      const { links } = kernelObjects(mesh.instance);
      run(`${lose} ${pinned(mesh, 'links', 'connect4')}`);
      assert.match(mesh.redirection.verify()[0]?.subject ?? '', /connect4/);
      assert.deepEqual(mesh.redirection.repair(), ['connect4']);
      assert.deepEqual(mesh.redirection.repair(), []);
      assert.deepEqual(mesh.redirection.verify(), []);
      assert.equal(kernelObjects(mesh.instance).links.filter((id) => !links.includes(id)).length, 1);
      assert.equal(dial(a.pod.netnsFd, outsider.ip, 9203), 'ok');
      assert.equal(elsewhere.accept(0), undefined);
      using captured = a.listeners.outbound.accept();
      assert.deepEqual(captured && mesh.originalDst(captured.socket), { ip: outsider.ip, port: 9203 });
    });

    it(`puts a pod's sk_lookup program back that somebody ${how}, while what it dials stays redirected`, () => {
      const mesh = newMesh();
      const a = mesh.enrol(lab.pod('a'));
      const entry = () => run(`bpftool map dump pinned ${pinned(mesh, 'maps', 'pods')}`);
      const before = entry();
      run(`${lose} ${pinned(mesh, 'pods', String(a.pod.cookie))}`);
      assert.match(mesh.redirection.verify()[0]?.problem ?? '', /sk_lookup link is/);
      mesh.redirection.enrol({ ...a.pod, listeners: listenerFds(a.listeners) });
      // Switched off and on again it would have another generation, and a moment without redirection behind it.
      assert.equal(entry(), before);
      assert.deepEqual(mesh.redirection.verify(), []);
    });
  }

  it('pins maps again whose pins somebody removed, so that the next process knows the pods', () => {
    const mesh = newMesh();
    const { pod } = mesh.enrol(lab.pod('a'));
    run(`rm ${pinned(mesh, 'maps', 'pods')} ${pinned(mesh, 'maps', 'dialled')}`);
    assert.deepEqual(mesh.redirection.repair().sort(), ['dialled', 'pods']);
    mesh.redirection.close();
    mesh.redirection = Redirection.open({ instance: mesh.instance });
    assert.equal(mesh.redirection.enrolled()[0]?.cookie, pod.cookie);
    assert.deepEqual(mesh.redirection.verify(), []);
  });

  it('is put back whole when its folder is removed, lock and all', () => {
    const mesh = newMesh();
    const a = mesh.enrol(lab.pod('a'));
    run(`rm -r ${join(DEFAULT_BPFFS, 'loam', mesh.instance)}`);
    mesh.redirection.repair();
    mesh.redirection.enrol({ ...a.pod, listeners: listenerFds(a.listeners) });
    assert.deepEqual(mesh.redirection.verify(), []);
    fails('BPF_INSTANCE_IN_USE', () => Redirection.open({ instance: mesh.instance }));
    assert.equal(dial(a.pod.netnsFd, SERVICE.ip, SERVICE.port), 'ok');
    using captured = a.listeners.outbound.accept();
    assert.deepEqual(captured && mesh.originalDst(captured.socket), SERVICE);
  });

  it('refuses to start on a pin that is another map, by name, and what is in force stays', () => {
    const mesh = newMesh();
    const { pod, listeners } = mesh.enrol(lab.pod('a'));
    const [pods, aside] = [pinned(mesh, 'maps', 'pods'), `${pinned(mesh, 'maps', 'pods')}-aside`];
    mesh.redirection.close();
    run(`mv ${pods} ${aside}`);
    run(`bpftool map pin pinned ${pinned(mesh, 'maps', 'pod_uses')} ${pods}`);
    assert.throws(() => Redirection.open({ instance: mesh.instance }), /pods/);
    assert.equal(dial(pod.netnsFd, SERVICE.ip, SERVICE.port), 'ok');
    using captured = listeners.outbound.accept();
    run(`rm ${pods}`);
    run(`mv ${aside} ${pods}`);
    mesh.redirection = Redirection.open({ instance: mesh.instance });
    assert.deepEqual(captured && mesh.originalDst(captured.socket), SERVICE);
    assert.deepEqual(mesh.redirection.verify(), []);
  });

  it('keeps a pod redirected that cannot be enrolled again', () => {
    const mesh = newMesh();
    const { pod, listeners } = mesh.enrol(lab.pod('a'));
    const pin = pinned(mesh, 'pods', String(pod.cookie));
    run(`mv ${pin} ${pin}-elsewhere`);
    fails('BPF_POD_TAKEN', () => mesh.redirection.enrol({ ...pod, listeners: listenerFds(listeners) }));
    assert.equal(dial(pod.netnsFd, SERVICE.ip, SERVICE.port), 'ok');
    run(`mv ${pin}-elsewhere ${pin}`);
    assert.deepEqual(mesh.redirection.verify(), []);
  });

  it('attaches nothing twice when its file system is unmounted under it', () => {
    const bpffs = mkdtempSync(join(tmpdir(), 'lbt-'));
    const redirection = Redirection.open({ instance: newInstanceName(), bpffs });
    try {
      const links = allLinks().length;
      run(`umount -l ${bpffs}`);
      fails('BPF_PIN', () => redirection.repair());
      assert.equal(allLinks().length, links);
    } finally {
      redirection.close();
      rmdirSync(bpffs);
    }
  });
});
