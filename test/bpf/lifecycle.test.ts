import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { cgroup2Root, Redirection } from '../../lib/linux/bpf/index.ts';
import { allLinks, attach, programName } from '../../lib/linux/bpf/link.ts';
import { loadObject, readObject } from '../../lib/linux/bpf/object.ts';
import { DEFAULT_BPFFS } from '../../lib/linux/bpf/pins.ts';
import { closeFd } from '../../lib/linux/libc.ts';
import { netnsCookie, openCurrentNetns } from '../../lib/linux/netns.ts';
import { siblingModule } from '../../lib/package-root.ts';
import { soon } from './support/soon.ts';
import { fails, kernelObjects } from './support/kernel-objects.ts';
import { Lab, run, type Pod } from './support/lab.ts';
import { dial, Sock } from './support/socket.ts';
import {
  closeListeners,
  listenerFds,
  newInstanceName,
  openListeners,
  TinyMesh,
} from './support/tiny-mesh.ts';

const SERVICE = { ip: '198.19.0.10', port: 80 };
const KERNEL_FOLLOWS_WITHIN_MS = 10_000;

function linksLeft(ids: readonly number[]): number[] {
  const all = new Set(allLinks().map(({ id }) => id));
  return ids.filter((id) => all.has(id));
}

/** The kernel ends namespaces and frees programs in its own time. */
async function eventually(what: string, holds: () => boolean): Promise<void> {
  assert.ok(await soon(holds, KERNEL_FOLLOWS_WITHIN_MS), `in vain waited for: ${what}`);
}

describe('bpf: life of an instance', () => {
  let lab: Lab;
  const instances: string[] = [];
  const meshes: TinyMesh[] = [];
  const children: ChildProcess[] = [];

  beforeEach(() => {
    lab = new Lab();
  });
  afterEach(async () => {
    for (const child of children.splice(0)) await kill(child);
    for (const mesh of meshes.splice(0)) mesh[Symbol.dispose]();
    for (const instance of instances.splice(0)) Redirection.remove(instance);
    lab[Symbol.dispose]();
  });

  function newInstance(): string {
    const instance = newInstanceName();
    instances.push(instance);
    return instance;
  }

  function newMesh(): TinyMesh {
    const mesh = new TinyMesh();
    meshes.push(mesh);
    return mesh;
  }

  async function kill(child: ChildProcess): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }

  /** Starts a process that has enrolled the pod when this returns. */
  async function agentProcess(instance: string, pod: Pod): Promise<ChildProcess> {
    const script = fileURLToPath(siblingModule(import.meta.url, './support/agent-process'));
    const child = spawn(process.execPath, [script, instance, `/run/netns/${pod.netns}`, pod.ip], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    children.push(child);
    const [first] = (await Promise.race([once(child.stdout, 'data'), once(child, 'exit')])) as [unknown];
    assert.match(String(first), /enrolled/);
    return child;
  }

  it('survives SIGKILL of its process, is adopted by the next, and then removed whole', async () => {
    const instance = newInstance();
    const pod = lab.pod('a');
    const outsider = lab.pod('c');
    using app = Sock.listen(pod.netnsFd, '0.0.0.0', 9200);
    const child = await agentProcess(instance, pod);
    fails('BPF_INSTANCE_IN_USE', () => Redirection.open({ instance }));
    fails('BPF_INSTANCE_IN_USE', () => Redirection.remove(instance));
    assert.equal(dial(outsider.netnsFd, pod.ip, 9200), 'ok');
    await kill(child);

    // Enforcement stays: the listeners died with the process, so nothing passes in or out.
    assert.equal(dial(outsider.netnsFd, pod.ip, 9200), 'ECONNREFUSED');
    assert.equal(dial(pod.netnsFd, outsider.ip, 9200), 'ECONNREFUSED');
    assert.equal(app.accept(0), undefined);

    const redirection = Redirection.open({ instance });
    const [known] = redirection.enrolled();
    assert.equal(known?.cookie, pod.cookie);
    assert.deepEqual(known?.ips, [pod.ip]);
    assert.equal(known?.link, 'alive');
    assert.deepEqual(known?.listeners, []);
    const listeners = openListeners(pod);
    redirection.enrol({ ...pod, listeners: listenerFds(listeners) });
    assert.deepEqual(redirection.verify(), []);
    const { links } = kernelObjects(instance);
    assert.equal(linksLeft(links).length, 6);
    assert.equal(dial(outsider.netnsFd, pod.ip, 9200), 'ok');
    using accepted = listeners.plaintext.accept();
    assert.ok(accepted);
    redirection.close();

    Redirection.remove(instance);
    closeListeners(listeners);
    assert.deepEqual(linksLeft(links), []);
    assert.equal(existsSync(join(DEFAULT_BPFFS, 'loam', instance)), false);
    assert.equal(dial(outsider.netnsFd, pod.ip, 9200), 'ok');
    using direct = app.accept();
    assert.equal(direct?.peer.ip, outsider.ip);
  });

  it('is replaced program by program while connections come, none of which escapes', () => {
    const mesh = newMesh();
    const a = mesh.enrol(lab.pod('a'));
    const outsider = lab.pod('c');
    using app = Sock.listen(a.pod.netnsFd, '0.0.0.0', 9201);
    using elsewhere = Sock.listen(outsider.netnsFd, '0.0.0.0', 9201);
    for (let round = 0; round < 10; round += 1) {
      mesh.redirection.close();
      assert.equal(dial(outsider.netnsFd, a.pod.ip, 9201), 'ok');
      using inbound = a.listeners.plaintext.accept();
      assert.ok(inbound);
      assert.equal(dial(a.pod.netnsFd, outsider.ip, 9201), 'ok');
      using outbound = a.listeners.outbound.accept();
      assert.ok(outbound);
      mesh.redirection = Redirection.open({ instance: mesh.instance });
      assert.deepEqual(mesh.redirection.verify(), []);
      assert.deepEqual(mesh.originalDst(outbound.socket), { ip: outsider.ip, port: 9201 });
    }
    assert.equal(app.accept(0), undefined);
    assert.equal(elsewhere.accept(0), undefined);
  });

  it('leaves no program and no link in the kernel', async () => {
    const mesh = newMesh();
    for (const name of ['a', 'b', 'd']) mesh.enrol(lab.pod(name));
    const { links, programs } = kernelObjects(mesh.instance);
    assert.equal(links.length, 8);
    assert.deepEqual(linksLeft(links), links);
    mesh[Symbol.dispose]();
    assert.deepEqual(linksLeft(links), []);
    await eventually('programs are freed', () => programs.every((id) => programName(id) === undefined));
  });

  it('forgets a pod whose namespace is gone, also one that went while nobody looked', async () => {
    const mesh = newMesh();
    const gone = mesh.enrol(lab.pod('a'));
    const stays = mesh.enrol(lab.pod('b'));
    closeListeners(gone.listeners);
    lab.remove(gone.pod);
    const linkOf = (cookie: bigint) => mesh.redirection.enrolled().find((pod) => pod.cookie === cookie)?.link;
    await eventually('the link is dead', () => linkOf(gone.pod.cookie) === 'dead');
    assert.match(mesh.redirection.verify()[0]?.problem ?? '', /dead/);
    mesh.redirection.close();
    mesh.redirection = Redirection.open({ instance: mesh.instance });
    assert.deepEqual(
      mesh.redirection.enrolled().map(({ cookie }) => cookie),
      [stays.pod.cookie],
    );
    assert.deepEqual(mesh.redirection.verify(), []);

    closeListeners(stays.listeners);
    lab.remove(stays.pod);
    mesh.redirection.unenrol(stays.handle);
    assert.deepEqual(mesh.redirection.enrolled(), []);
    assert.deepEqual(mesh.redirection.verify(), []);
  });

  it('lets another instance be at the same root, with connections between their pods', () => {
    const one = newMesh();
    const two = newMesh();
    const a = one.enrol(lab.pod('a'));
    const b = two.enrol(lab.pod('b'));
    for (const [mesh, from, other, to] of [
      [one, a, two, b],
      [two, b, one, a],
    ] as const) {
      using client = Sock.open(from.pod.netnsFd);
      assert.equal(client.connect(to.pod.ip, 9202), 'ok');
      using captured = from.listeners.outbound.accept();
      assert.ok(captured);
      assert.deepEqual(mesh.originalDst(captured.socket), { ip: to.pod.ip, port: 9202 });
      assert.equal(other.originalDst(captured.socket), undefined);
      using tunnel = mesh.ownSocket(from.pod);
      assert.equal(tunnel.connect(to.pod.ip, 15008), 'ok');
      using hbone = to.listeners.hbone.accept();
      assert.equal(hbone?.peer.ip, from.pod.ip);
      using app = Sock.listen(to.pod.netnsFd, '0.0.0.0', 9202);
      using toApp = other.ownSocket(to.pod, client.local());
      toApp.bind('127.8.8.8', 0);
      assert.equal(toApp.connect(to.pod.ip, 9202), 'ok');
      using accepted = app.accept();
      assert.deepEqual(accepted?.peer, client.local());
      // A socket of one instance is nobody's in a pod of the other.
      using foreign = mesh.ownSocket(to.pod, client.local());
      foreign.bind('127.8.8.9', 0);
      assert.equal(foreign.connect(to.pod.ip, 9202), 'ok');
      assert.equal(app.accept(0), undefined);
      using taken = to.listeners.outbound.accept();
      assert.ok(taken);
    }
    for (const mesh of [one, two]) {
      assert.equal(mesh.redirection.stats().records, 0);
      assert.deepEqual(mesh.redirection.verify(), []);
    }
    two[Symbol.dispose]();
    using still = Sock.open(a.pod.netnsFd);
    assert.equal(still.connect(SERVICE.ip, SERVICE.port), 'ok');
  });

  it('refuses a pod of another instance, of this process, without its address, or with a wrong cookie', () => {
    const one = newMesh();
    const two = newMesh();
    const a = one.enrol(lab.pod('a'));
    fails('BPF_POD_TAKEN', () => two.enrol(a.pod));
    assert.deepEqual(two.redirection.enrolled(), []);
    assert.deepEqual(two.redirection.verify(), []);
    assert.deepEqual(one.redirection.verify(), []);
    const b = lab.pod('b');
    fails('BPF_ARGUMENT', () => two.enrol({ ...b, ips: ['198.18.80.99'] }));
    fails('BPF_ARGUMENT', () => two.enrol({ ...b, cookie: a.pod.cookie }));
    for (const ips of [['fd00:80::99'], [b.ip, 'fd00:80::99'], [], [b.ip, b.ip], ['localhost']]) {
      fails('BPF_ARGUMENT', () => two.enrol({ ...b, ips }));
    }
    const netnsFd = openCurrentNetns();
    fails('BPF_ARGUMENT', () =>
      two.enrol({ ...b, netnsFd, cookie: netnsCookie(netnsFd), ips: ['127.0.0.1'] }),
    );
    closeFd(netnsFd);
    assert.deepEqual(two.redirection.enrolled(), []);
  });

  it('notices a second sk_lookup program on a pod', () => {
    const mesh = newMesh();
    const { pod } = mesh.enrol(lab.pod('a'));
    using object = loadObject({ object: readObject('sk_lookup.bpf.o') });
    const link = attach(object.programs.get('loam_sk_lookup') ?? -1, pod.netnsFd, 'sk_lookup', 'the pod');
    try {
      assert.match(mesh.redirection.verify()[0]?.problem ?? '', /2 sk_lookup links/);
      fails('BPF_POD_TAKEN', () => mesh.enrol(pod));
      assert.equal(mesh.redirection.enrolled().length, 1);
    } finally {
      closeFd(link);
    }
    assert.deepEqual(mesh.redirection.verify(), []);
  });

  it('does not accept a name or a cgroup that it cannot use', () => {
    for (const instance of ['', 'Has-Capitals', 'a/b', '..', 'x'.repeat(33)]) {
      fails('BPF_ARGUMENT', () => Redirection.open({ instance }));
    }
    assert.throws(
      () => Redirection.open({ instance: newInstance(), cgroupPath: '/no/such/cgroup' }),
      /ENOENT/,
    );
  });

  it('notices that a hook is no longer attached where it must be (F5)', () => {
    const instance = newInstance();
    const folder = join(cgroup2Root(), `lbt-${process.pid}`);
    mkdirSync(folder);
    try {
      Redirection.open({ instance, cgroupPath: folder }).close();
      // The same pins, now asked about the root: they are below it.
      fails('BPF_ATTACH', () => Redirection.open({ instance }).close());
      Redirection.remove(instance);
      const redirection = Redirection.open({ instance });
      assert.deepEqual(redirection.verify(), []);
      redirection.close();
    } finally {
      Redirection.remove(instance);
      rmdirSync(folder);
    }
  });

  it('mounts the BPF file system where it is missing, and takes away its own mount', () => {
    const bpffs = mkdtempSync(join(tmpdir(), 'lbt-'));
    const instance = newInstanceName();
    const isMounted = () => run('cat /proc/self/mounts').includes(` ${bpffs} bpf `);
    try {
      fails('BPF_PIN', () => Redirection.open({ instance, bpffs, bpffsMounted: 'required' }));
      assert.equal(isMounted(), false);
      const redirection = Redirection.open({ instance, bpffs });
      assert.ok(isMounted());
      redirection.close();
      Redirection.remove(instance, { bpffs });
      assert.equal(isMounted(), false);
      Redirection.remove(instance, { bpffs });
    } finally {
      rmdirSync(bpffs);
    }
  });

  for (const [whose, spoil] of [
    ['belongs to somebody else', (folder: string) => chownSync(folder, 65534, 65534)],
    ['others may write to', (folder: string) => chmodSync(folder, 0o1777)],
  ] as const)
    it(`pins nothing in a folder that ${whose}`, () => {
      const bpffs = mkdtempSync(join(tmpdir(), 'lbt-'));
      const instance = newInstanceName();
      try {
        Redirection.open({ instance, bpffs }).close();
        for (const folder of [join(bpffs, 'loam'), join(bpffs, 'loam', instance)]) {
          spoil(folder);
          fails('BPF_PIN', () => Redirection.open({ instance, bpffs }));
          chownSync(folder, 0, 0);
          chmodSync(folder, 0o700);
        }
        Redirection.open({ instance, bpffs }).close();
        Redirection.remove(instance, { bpffs });
      } finally {
        rmdirSync(bpffs);
      }
    });
});
