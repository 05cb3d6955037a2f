import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { Redirection } from '../../lib/linux/bpf/index.ts';
import { closeFd } from '../../lib/linux/libc.ts';
import { libbpf } from '../../lib/linux/bpf/libbpf.ts';
import { inNetns } from '../../lib/linux/netns.ts';
import { attachTcx, hasTcx } from '../../lib/linux/bpf/tcx.ts';
import { loadObject, readObject } from '../../lib/linux/bpf/object.ts';
import { buffer, cookieKey } from '../../lib/linux/bpf/layout.ts';
import { GUARD_BYTES } from '../../lib/linux/bpf/guard-layout.ts';
import { BpfMap } from '../../lib/linux/bpf/map.ts';
import { KERNEL_METHODS } from './support/guard-methods.ts';
import { fails, pinned } from './support/kernel-objects.ts';
import { Lab, run, type Pod } from './support/lab.ts';
import { sendForgedSyn } from './support/raw.ts';
import { kernelSince } from './support/release.ts';
import { PATIENCE } from '../support/patience.ts';
import { Sock } from './support/socket.ts';
import { inSteps } from './support/steps.ts';
import { closeListeners, listenerFds, newInstanceName, TinyMesh, type MeshPod } from './support/tiny-mesh.ts';

for (const method of KERNEL_METHODS) {
  describe(`bpf: the life of a guard, by ${method}`, () => {
    let lab: Lab;
    let mesh: TinyMesh;
    let outsider: Pod;

    beforeEach(() => {
      lab = new Lab();
      outsider = lab.pod('c');
      mesh = new TinyMesh(newInstanceName(), { hostNetnsFd: lab.hostNetnsFd, method });
    });
    afterEach(() => {
      mesh[Symbol.dispose]();
      lab[Symbol.dispose]();
    });

    const pinsOf = (kind: string): string[] => readdirSync(dirname(pinned(mesh, kind, 'x')));

    /** Whether the SYN of a raw socket in a pod arrives, where somebody listens. */
    function escapes({ pod }: { readonly pod: Pod }): boolean {
      using _server = Sock.listen(outsider.netnsFd, '0.0.0.0', 9100);
      const before = run(`ip netns exec ${outsider.netns} cat /proc/net/snmp`);
      sendForgedSyn(pod, outsider, { ip: pod.ip, port: 40000 }, { ip: outsider.ip, port: 9100 });
      // Received segments, the one of the handshake's answer included.
      const segments = (text: string): number =>
        Number(/^Tcp:(?: \S+){9} (\d+)/m.exec(text.replace(/^Tcp: [A-Z].*$/m, ''))?.[1]);
      return segments(run(`ip netns exec ${outsider.netns} cat /proc/net/snmp`)) > segments(before);
    }

    /** What is attached at the host side of a pod's veth. */
    const attached = (pod: Pod): string =>
      method === 'tcx'
        ? String(hostPrograms(pod))
        : lab.onHost(`tc filter show dev ${pod.port} ingress`) +
          lab.onHost(`tc qdisc show dev ${pod.port} clsact`);
    const hostIndex = (pod: Pod): number => lab.portIndex(pod);
    function hostPrograms(pod: Pod): number {
      const link = readdirSync(dirname(pinned(mesh, 'guards', 'x'))).filter((name) =>
        name.startsWith(`${pod.cookie}-`),
      );
      return link.length;
    }
    const state = ({ pod }: MeshPod): ReturnType<Redirection['guard']> => mesh.redirection.guard(pod, 'on');

    it('begins with the enrolment and ends with it, and leaves nothing', () => {
      const a = mesh.enrol(lab.pod('a'));
      assert.deepEqual(state(a), {
        guarded: [{ name: 'eth0', index: hostIndex(a.pod), by: method }],
        unguarded: [],
        attached: [],
      });
      assert.equal(escapes(a), false);
      mesh.redirection.unenrol(a.handle);
      assert.equal(escapes(a), true);
      assert.equal(attached(a.pod), method === 'tcx' ? '0' : '');
      assert.deepEqual([pinsOf('guards'), pinsOf('filters')], [[], []]);
      for (const map of ['guards', 'guard_drops'])
        assert.doesNotMatch(run(`bpftool map dump pinned ${pinned(mesh, 'maps', map)}`), /key/);
    });

    it('stays when its process goes, and is replaced without a gap by that of the next', () => {
      const a = mesh.enrol(lab.pod('a'));
      const id = (): string => attached(a.pod);
      const before = id();
      mesh.redirection.close();
      assert.equal(escapes(a), false);
      mesh.redirection = Redirection.open({
        instance: mesh.instance,
        guard: { hostNetnsFd: lab.hostNetnsFd, method },
      });
      assert.equal(escapes(a), false);
      if (method === 'clsact') assert.notEqual(id(), before, 'the program is another');
      assert.deepEqual(mesh.redirection.verify(), []);
      assert.deepEqual(state(a)?.attached, []);
    });

    for (const other of KERNEL_METHODS.filter((each) => each !== method))
      it('is exchanged for one that is attached in the other way', () => {
        const a = mesh.enrol(lab.pod('a'));
        mesh.redirection.close();
        mesh.redirection = Redirection.open({
          instance: mesh.instance,
          guard: { hostNetnsFd: lab.hostNetnsFd, method: other },
        });
        assert.equal(state(a)?.guarded[0]?.by, other);
        assert.equal(escapes(a), false);
        assert.deepEqual(mesh.redirection.verify(), []);
        const [kind, otherKind] = method === 'tcx' ? ['guards', 'filters'] : ['filters', 'guards'];
        assert.deepEqual([pinsOf(kind).length, pinsOf(otherKind).length > 0], [0, true]);
      });

    const losses: readonly [string, (pod: Pod) => void][] =
      method === 'tcx'
        ? [
            ['detaches', (pod) => run(`bpftool link detach pinned ${pin(pod, 'guards')}`)],
            ['unpins', (pod) => run(`rm ${pin(pod, 'guards')}`)],
          ]
        : [
            ['deletes the filter of', (pod) => lab.onHost(`tc filter del dev ${pod.port} ingress`)],
            ['deletes the qdisc of', (pod) => lab.onHost(`tc qdisc del dev ${pod.port} clsact`)],
          ];
    const pin = (pod: Pod, kind: string): string => pinned(mesh, kind, `${pod.cookie}-${hostIndex(pod)}`);
    for (const [how, lose] of losses) {
      it(`is put back when somebody ${how} it`, () => {
        const a = mesh.enrol(lab.pod('a'));
        lose(a.pod);
        assert.equal(escapes(a), true);
        if (how !== 'unpins')
          assert.match(mesh.redirection.verify()[0]?.problem ?? '', /guard .* is detached/);
        assert.deepEqual(state(a)?.attached, ['eth0']);
        assert.equal(escapes(a), false);
        assert.deepEqual(mesh.redirection.verify(), []);
      });
    }

    it('drops everything when its entry is removed, until it is put back', () => {
      const a = mesh.enrol(lab.pod('a'));
      const key = cookieKey(a.pod.cookie);
      const fd = openPinned('guards');
      const guards = new BpfMap('guards', fd, 8, GUARD_BYTES);
      assert.ok(guards.delete(key));
      using server = Sock.listen(outsider.netnsFd, '0.0.0.0', 9101);
      using refused = mesh.ownSocket(a.pod);
      assert.equal(refused.connectLater(outsider.ip, 9101), 'EINPROGRESS');
      assert.equal(server.accept(200), undefined);
      state(a);
      // Answers about the neighbour were dropped as well, and on a slow machine the kernel has just given up asking.
      run(`nsenter --net=/run/netns/${a.pod.netns} ip neigh flush all`);
      using socket = mesh.ownSocket(a.pod);
      assert.equal(socket.connect(outsider.ip, 9101), 'ok');
      closeFd(fd);
    });

    function openPinned(map: string): number {
      const fd = libbpf().openPin(pinned(mesh, 'maps', map));
      assert.ok(fd >= 0);
      return fd;
    }

    it('cannot be had when the map is full: then the pod is not enrolled, and nothing stays of it', () => {
      const fd = openPinned('guards');
      const guards = new BpfMap('guards', fd, 8, GUARD_BYTES);
      for (let i = 0; i < 1024; i += 1) guards.set(cookieKey(BigInt(2 ** 40 + i)), buffer(GUARD_BYTES));
      const a = lab.pod('a');
      fails('BPF_MAP', () => mesh.enrol(a));
      assert.deepEqual(mesh.redirection.enrolled(), []);
      assert.deepEqual([pinsOf('guards'), pinsOf('filters'), pinsOf('pods')], [[], [], []]);
      closeFd(fd);
    });

    it('is asked for or not at any time', () => {
      const a = mesh.enrol(lab.pod('a'), { guard: 'none' });
      assert.equal(escapes(a), true);
      assert.ok(state(a));
      assert.equal(escapes(a), false);
      assert.equal(mesh.redirection.guard(a.pod, 'none'), undefined);
      assert.equal(escapes(a), true);
      assert.equal(mesh.redirection.enrolled()[0]?.guardDrops, undefined);
      assert.deepEqual(mesh.redirection.verify(), []);
    });

    it('stands at every interface of the pod that ends on the node, and names those that end otherwise', () => {
      const a = mesh.enrol(lab.pod('a'));
      const { netns } = a.pod;
      lab.onHost(`ip link add second type veth peer name eth1 netns ${netns}`);
      lab.onHost(`ip link add link br0 name mv0 type macvlan`);
      lab.onHost(`ip link set mv0 netns ${netns}`);
      run(`ip -n ${netns} link add br0 type bridge`);
      const { guarded = [], unguarded = [], attached: now } = state(a) ?? {};
      assert.deepEqual(guarded.map(({ name }) => name).sort(), ['eth0', 'eth1']);
      assert.deepEqual([unguarded, now], [['mv0'], ['eth1']]);
      run(`ip -n ${netns} link del eth1`);
      assert.deepEqual(
        state(a)?.guarded.map(({ name }) => name),
        ['eth0'],
      );
      assert.deepEqual(mesh.redirection.verify(), []);
    });

    it('stays when the pod moves its interface into a namespace of its own, which is not enrolled', () => {
      const a = mesh.enrol(lab.pod('a'));
      const { netns, ip } = a.pod;
      const inner = `${netns}-in`;
      run(`ip netns add ${inner}
        ip -n ${netns} link set eth0 netns ${inner}
        ip -n ${inner} addr add ${ip}/24 dev eth0
        ip -n ${inner} link set eth0 up`);
      try {
        const index = hostIndex(a.pod);
        assert.deepEqual(state(a), {
          guarded: [{ name: `interface ${index} of the node`, index, by: method }],
          unguarded: [],
          attached: [],
        });
        using _server = Sock.listen(outsider.netnsFd, '0.0.0.0', 9100);
        const dial = `import socket
s = socket.socket(); s.settimeout(${0.5 * PATIENCE})
try: s.connect(("${outsider.ip}", 9100)); print("ok")
except OSError as e: print(type(e).__name__)`;
        assert.equal(run(`ip netns exec ${inner} python3 -c '${dial}'`).trim(), 'TimeoutError');
        assert.ok((mesh.redirection.enrolled()[0]?.guardDrops?.syn ?? 0) > 0);
        assert.deepEqual(mesh.redirection.verify(), []);
        mesh.redirection.unenrol(a.handle);
        assert.equal(run(`ip netns exec ${inner} python3 -c '${dial}'`).trim(), 'ok');
        assert.equal(attached(a.pod), method === 'tcx' ? '0' : '');
      } finally {
        run(`ip netns del ${inner}`);
      }
    });

    if (method === 'clsact')
      it('never outlives its pod, when the process was killed that was just attaching or replacing it', () => {
        const a = lab.pod('a');
        const { listeners, handle } = mesh.enrol(a);
        mesh.redirection.unenrol(handle);
        const reopen = (): void => {
          mesh.redirection.close();
          mesh.redirection = Redirection.open({
            instance: mesh.instance,
            guard: { hostNetnsFd: lab.hostNetnsFd, method },
          });
        };
        const enrol = (): unknown => mesh.redirection.enrol({ ...a, listeners: listenerFds(listeners) });
        for (const [what, work] of Object.entries({ enrol, reopen })) {
          if (what === 'reopen') enrol();
          const steps = inSteps(work, () => undefined);
          const put = steps.indexOf('tcAttach') + 1;
          assert.ok(put > 0, steps.join());
          if (what === 'enrol') mesh.redirection.unenrol(handle);
          for (const step of [put - 1, put, put + 1].filter((each) => each < steps.length)) {
            const kill = (at: number): void => {
              if (at === step) throw new Error('as if killed');
            };
            assert.throws(() => inSteps(work, kill), /as if killed/);
            reopen();
            for (const pod of mesh.redirection.enrolled()) mesh.redirection.unenrol(pod);
            const how = `${what}, killed before step ${step}, ${steps[step - 1]}`;
            assert.doesNotMatch(attached(a), /loam_guard/, how);
            assert.deepEqual(pinsOf('filters'), [], how);
            assert.deepEqual(mesh.redirection.verify(), [], how);
            if (what === 'reopen') enrol();
          }
        }
        reopen();
        for (const pod of mesh.redirection.enrolled()) mesh.redirection.unenrol(pod);
        assert.equal(escapes({ pod: a }), true);
      });

    it('is said to be missing of a pod from which no interface leads to the node', () => {
      const pod = lab.pod('a');
      run(`ip -n ${pod.netns} link del eth0
        ip -n ${pod.netns} addr add ${pod.ip}/32 dev lo
        ip -n ${pod.netns} addr add ${pod.ip6}/128 dev lo`);
      const a = mesh.enrol(pod);
      assert.deepEqual(state(a), { guarded: [], unguarded: ['no interface found'], attached: [] });
    });

    it('is forgotten with the pod, also by a process that was not there', async () => {
      const a = mesh.enrol(lab.pod('a'));
      mesh.redirection.close();
      closeListeners(a.listeners);
      lab.remove(a.pod);
      const reopen = (): void => {
        mesh.redirection = Redirection.open({
          instance: mesh.instance,
          guard: { hostNetnsFd: lab.hostNetnsFd, method },
        });
      };
      reopen();
      // The kernel takes a namespace down some time after its last user has gone.
      for (let i = 0; i < 100 && mesh.redirection.enrolled().length > 0; i += 1) {
        mesh.redirection.close();
        await sleep(100);
        reopen();
      }
      assert.deepEqual(mesh.redirection.enrolled(), []);
      assert.deepEqual([pinsOf('guards'), pinsOf('filters')], [[], []]);
      assert.deepEqual(mesh.redirection.verify(), []);
    });

    it('goes when the instance is removed, and leaves what others have there', () => {
      const a = mesh.enrol(lab.pod('a'));
      if (method === 'clsact')
        lab.onHost(
          `tc filter add dev ${a.pod.port} egress bpf direct-action pinned ${pin(a.pod, 'filters')}`,
        );
      mesh[Symbol.dispose]();
      assert.equal(escapes(a), true);
      if (method !== 'clsact') return;
      assert.match(lab.onHost(`tc filter show dev ${a.pod.port} egress`), /loam_guard/);
      assert.equal(lab.onHost(`tc filter show dev ${a.pod.port} ingress`), '');
    });
  });
}

describe('bpf: a guard beside others at the same hook', () => {
  it('is by tcx where the kernel has it: Linux 6.6 and newer do', () => {
    if (kernelSince(6, 6)) assert.ok(hasTcx());
    using lab = new Lab();
    using mesh = new TinyMesh(newInstanceName(), { hostNetnsFd: lab.hostNetnsFd });
    const a = mesh.enrol(lab.pod('a'));
    assert.equal(mesh.redirection.guard(a.pod, 'on')?.guarded[0]?.by, KERNEL_METHODS[0]);
  });

  if (hasTcx())
    it('is told of when another program comes before it, by tcx', () => {
      using lab = new Lab();
      using mesh = new TinyMesh(newInstanceName(), { hostNetnsFd: lab.hostNetnsFd, method: 'tcx' });
      const a = mesh.enrol(lab.pod('a'));
      const index = lab.portIndex(a.pod);
      using other = loadObject({ object: readObject('guard.bpf.o'), constants: cookieKey(1n) });
      const program = other.programs.get('loam_guard') ?? -1;
      const link = inNetns(lab.hostNetnsFd, () => attachTcx(program, index));
      assert.match(mesh.redirection.verify()[0]?.problem ?? '', /another program .* comes before its guard/);
      closeFd(link);
      assert.deepEqual(mesh.redirection.verify(), []);
    });
});
