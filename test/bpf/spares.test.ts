import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { ConstantsMap } from '../../lib/linux/bpf/constants-map.ts';
import { buffer } from '../../lib/linux/bpf/layout.ts';
import { soon } from './support/soon.ts';
import { kernelObjects, pinned } from './support/kernel-objects.ts';
import { Lab, run, type Pod } from './support/lab.ts';
import { sendForgedSyn } from './support/raw.ts';
import { Sock } from './support/socket.ts';
import { newInstanceName, TinyMesh, type MeshPod } from './support/tiny-mesh.ts';

const SERVICE = { ip: '198.19.0.10', port: 80 };
const FREED_WITHIN_MS = 10_000;

interface Program {
  readonly id: number;
  readonly name?: string;
  readonly map_ids?: readonly number[];
}

describe('bpf: programs that are loaded before their pods are there', () => {
  let lab: Lab;
  let mesh: TinyMesh;
  let outsider: Pod;

  beforeEach(() => {
    lab = new Lab();
    outsider = lab.pod('c');
    mesh = new TinyMesh(newInstanceName(), { hostNetnsFd: lab.hostNetnsFd });
  });
  afterEach(() => {
    mesh[Symbol.dispose]();
    lab[Symbol.dispose]();
  });

  /** Both kinds, of this instance: they work with its maps. */
  function programs(): Program[] {
    const ours = ['listeners', 'guards'].map(
      (map) => (JSON.parse(run(`bpftool -j map show pinned ${pinned(mesh, 'maps', map)}`)) as Program).id,
    );
    const kinds = /^loam_(sk_lookup|guard)$/;
    return (JSON.parse(run('bpftool -j prog show')) as Program[]).filter(
      ({ name = '', map_ids = [] }) => kinds.test(name) && ours.some((id) => map_ids.includes(id)),
    );
  }

  function makeSpares(): void {
    while (mesh.redirection.makeSpare());
  }

  function idsOf({ instance }: TinyMesh): number[] {
    return kernelObjects(instance).programs;
  }

  function reachesItsListener({ pod, listeners }: MeshPod): boolean {
    using client = Sock.open(pod.netnsFd);
    if (client.connect(SERVICE.ip, SERVICE.port) !== 'ok') return false;
    using accepted = listeners.outbound.accept();
    return accepted !== undefined && mesh.originalDst(accepted.socket)?.ip === SERVICE.ip;
  }

  it('are those that the next pods get, each with its own constants', () => {
    makeSpares();
    const before = new Set(programs().map(({ id }) => id));
    const pods = [mesh.enrol(lab.pod('a')), mesh.enrol(lab.pod('b'))];
    const attached = idsOf(mesh).filter((id) => programs().some((each) => each.id === id));
    assert.equal(attached.length, 2);
    assert.ok(attached.every((id) => before.has(id)));
    assert.equal(programs().length, before.size, 'others were loaded');
    for (const pod of pods) assert.equal(reachesItsListener(pod), true);
    assert.deepEqual(mesh.redirection.verify(), []);
  });

  it('guard as others do: what a raw socket forges does not leave', () => {
    makeSpares();
    const { pod } = mesh.enrol(lab.pod('a'));
    sendForgedSyn(pod, outsider, { ip: pod.ip, port: 40000 }, { ip: outsider.ip, port: 9100 });
    const drops = mesh.redirection.enrolled()[0]?.guardDrops;
    assert.ok(drops !== undefined && Object.values(drops).some((count) => count > 0), JSON.stringify(drops));
  });

  it('are not needed: with more pods than spares, the others are loaded then', () => {
    makeSpares();
    const pods = Array.from({ length: 8 }, (_, i) => mesh.enrol(lab.pod(`p${i}`)));
    for (const pod of pods) assert.equal(reachesItsListener(pod), true);
    assert.equal(mesh.redirection.makeSpare(), true);
  });

  it('have constants that nobody can write once they are told', () => {
    using constants = new ConstantsMap(8);
    constants.fill(buffer(8));
    assert.throws(() => constants.fill(buffer(8)), /cannot be written: EPERM/);
    assert.throws(() => constants.fill(buffer(9)), /9 bytes of constants; allowed are 8/);
  });

  it('go with their process', async () => {
    const before = programs().length;
    makeSpares();
    assert.ok(programs().length >= before + 12);
    mesh.redirection.close();
    assert.ok(await soon(() => programs().length <= before, FREED_WITHIN_MS));
  });
});
