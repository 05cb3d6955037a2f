import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { OffSwitches, Redirection } from '../../lib/linux/bpf/index.ts';
import { currentLayout } from '../../lib/linux/bpf/instance-layout.ts';
import { objectsFolder } from '../../lib/linux/bpf/object.ts';
import { DEFAULT_BPFFS, SHAPE } from '../../lib/linux/bpf/pins.ts';
import { pinned } from './support/kernel-objects.ts';
import { Lab } from './support/lab.ts';
import { dial, Sock } from './support/socket.ts';
import { listenerFds, TinyMesh, type MeshPod } from './support/tiny-mesh.ts';

const SERVICE = { ip: '198.19.0.10', port: 80 };

describe('bpf: what another version of Loam left', () => {
  let lab: Lab;
  let mesh: TinyMesh;
  let a: MeshPod;

  beforeEach(() => {
    lab = new Lab();
    mesh = new TinyMesh();
    a = mesh.enrol(lab.pod('a'));
    mesh.redirection.close();
  });
  afterEach(() => {
    mesh[Symbol.dispose]();
    lab[Symbol.dispose]();
  });

  const pin = (name: string): string => join(DEFAULT_BPFFS, 'loam', mesh.instance, SHAPE, 'maps', name);

  function refused(why: RegExp): void {
    const pins = readdirSync(pin('.')).sort();
    assert.throws(
      () => Redirection.open({ instance: mesh.instance }),
      (error: unknown) =>
        error instanceof Error && 'code' in error && error.code === 'BPF_LAYOUT' && why.test(error.message),
    );
    assert.deepEqual(readdirSync(pin('.')).sort(), pins, 'nothing was changed');
    stillRedirected();
  }

  function adopt(): void {
    mesh.redirection = Redirection.open({ instance: mesh.instance });
    assert.deepEqual(mesh.redirection.verify(), []);
  }

  function stillRedirected(): void {
    assert.equal(dial(a.pod.netnsFd, SERVICE.ip, SERVICE.port), 'ok');
    using captured = a.listeners.outbound.accept();
    assert.ok(captured);
  }

  it('is refused by name when it is newer, with what to do, and goes on as it is', () => {
    renameSync(pin('pods-1'), pin('pods-2'));
    refused(/map pods-2, which a newer version of Loam made.*knows version 1.*agent --cleanup/);
    renameSync(pin('pods-2'), pin('pods-1'));
    renameSync(pin('dialled-1'), pin('sockets_seen-1'));
    refused(/map sockets_seen-1, which a newer version/);
    renameSync(pin('sockets_seen-1'), pin('dialled-1'));
    adopt();
    stillRedirected();
  });

  it('is refused by name when it is too old, or is not what its name says', () => {
    renameSync(pin('pods-1'), pin('pods-0'));
    refused(/map pods-0 of a version of Loam that is too old.*upgrade by one between/);
    renameSync(pin('pods-0'), pin('pods-1'));
    renameSync(pin('pods-1'), pin('elsewhere'));
    renameSync(pin('guards-1'), pin('pods-1'));
    renameSync(pin('elsewhere'), pin('guards-1'));
    refused(/map pods-1 has keys of 8 and values of 72 bytes, and should have 8 and 48/);
    renameSync(pin('pods-1'), pin('elsewhere'));
    renameSync(pin('guards-1'), pin('pods-1'));
    renameSync(pin('elsewhere'), pin('guards-1'));
    adopt();
  });

  it('is refused by name when its pins lie in another way', () => {
    const folder = join(DEFAULT_BPFFS, 'loam', mesh.instance);
    mkdirSync(join(folder, 'v3'));
    assert.throws(() => Redirection.open({ instance: mesh.instance }), /has pins in v3, .* has v4/);
    stillRedirected();
    rmdirSync(join(folder, 'v3'));
    adopt();
  });

  it('may be a map that is not missed: it begins empty', () => {
    renameSync(pin('counters-3'), pin('counters-1'));
    adopt();
    stillRedirected();
    assert.equal(mesh.counter('captured'), 1);
    assert.ok(!readdirSync(pin('.')).includes('counters-1'));
  });

  it('can be switched off by a command that does not know its pods', () => {
    renameSync(pin('pods-1'), pin('pods-7'));
    using app = Sock.listen(lab.pod('c').netnsFd, '0.0.0.0', 9204);
    const to = app.local();
    using switches = OffSwitches.open(mesh.instance);
    assert.ok(switches);
    assert.equal(switches.isEnrolled(a.pod.cookie), true);
    assert.equal(switches.isEnrolled(1n), false);
    assert.equal(switches.turnOff(a.pod.cookie), true);
    assert.equal(dial(a.pod.netnsFd, '198.18.80.2', to.port), 'ok');
    using direct = app.accept();
    assert.ok(direct);
    assert.equal(switches.turnOn(a.pod.cookie), true);
    renameSync(pin('pods-7'), pin('pods-1'));
    adopt();
  });

  it('of the files may be gone while it runs: pods are enrolled, and hooks put back, all the same', () => {
    const folder = mkdtempSync(join(tmpdir(), 'lbt-'));
    for (const name of readdirSync(objectsFolder()).filter((each) => each.endsWith('.bpf.o')))
      copyFileSync(join(objectsFolder(), name), join(folder, name));
    mesh.redirection = Redirection.open({ instance: mesh.instance, layout: currentLayout(folder) });
    rmSync(folder, { recursive: true });
    const b = mesh.enrol(lab.pod('b'));
    assert.equal(dial(b.pod.netnsFd, SERVICE.ip, SERVICE.port), 'ok');
    rmSync(pinned(mesh, 'links', 'connect4'));
    assert.deepEqual(mesh.redirection.repair(), ['connect4']);
    mesh.redirection.enrol({ ...a.pod, listeners: listenerFds(a.listeners) });
    assert.deepEqual(mesh.redirection.verify(), []);
    assert.throws(() => currentLayout(folder), /redirect\.bpf\.o is missing; build it with bpf\/build\.sh/);
  });
});
