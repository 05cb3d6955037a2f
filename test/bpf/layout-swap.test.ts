import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { describe, it } from 'mocha';
import { OffSwitches, originalDst, Redirection, type GuardMethod } from '../../lib/linux/bpf/index.ts';
import { markOwnSocket } from '../../lib/linux/bpf/own-sockets.ts';
import { libbpf } from '../../lib/linux/bpf/libbpf.ts';
import { closeFd } from '../../lib/linux/libc.ts';
import { siblingModule } from '../../lib/package-root.ts';
import { nextLayout } from '../support/next-layout/next-layout.ts';
import { KERNEL_METHODS } from './support/guard-methods.ts';
import { fails, pinned } from './support/kernel-objects.ts';
import { Lab, type Pod } from './support/lab.ts';
import { sendForgedSyn } from './support/raw.ts';
import { dial, Sock } from './support/socket.ts';
import { inSteps } from './support/steps.ts';
import { listenerFds, newInstanceName, TinyMesh, type MeshPod } from './support/tiny-mesh.ts';

const SERVICE = { ip: '198.19.0.10', port: 80 };
const CLIENT = { ip: '192.0.2.7', port: 40007 };
const APP_PORT = 9300;
const OUTSIDE_PORT = 9301;

/** A pod to enrol, and one outside of the mesh. */
class Stage {
  readonly lab = new Lab();
  readonly pod = this.lab.pod('a');
  readonly outsider = this.lab.pod('c');
}

/** An instance of this version's layout with a pod, and all kinds of connections from it and to it. */
class Scene implements Disposable {
  readonly lab: Lab;
  readonly outsider: Pod;
  readonly mesh: TinyMesh;
  readonly a: MeshPod;
  readonly #app: Sock;
  readonly #outside: Sock;
  readonly #open: Disposable[] = [];
  readonly #maps: { readonly own: number; readonly dst: number };
  readonly #ownLab: boolean;
  readonly #guard: { readonly hostNetnsFd: number; readonly method: GuardMethod };

  /** @param stage what stays from scene to scene, and is not taken down with one */
  constructor(method = KERNEL_METHODS[0] ?? 'clsact', stage?: Stage) {
    const { lab, pod, outsider } = stage ?? new Stage();
    this.lab = lab;
    this.outsider = outsider;
    this.#ownLab = stage === undefined;
    this.#guard = { hostNetnsFd: this.lab.hostNetnsFd, method };
    this.mesh = new TinyMesh(newInstanceName(), this.#guard);
    this.a = this.mesh.enrol(pod);
    this.#app = Sock.listen(this.a.pod.netnsFd, '0.0.0.0', APP_PORT);
    this.#outside = Sock.listen(this.outsider.netnsFd, '0.0.0.0', OUTSIDE_PORT);
    // As a ztunnel has them, which no agent's end takes away.
    this.#maps = {
      own: libbpf().openPin(pinned(this.mesh, 'maps', 'own_sockets')),
      dst: libbpf().openPin(pinned(this.mesh, 'maps', 'original_dst')),
    };
  }

  /** The former agent ends, and the one of the next layout takes over. */
  swap(): void {
    this.mesh.redirection = Redirection.open({
      ...{ instance: this.mesh.instance, guard: this.#guard, layout: nextLayout() },
    });
  }

  #own(truePeer?: typeof CLIENT): Sock {
    const socket = Sock.open(this.a.pod.netnsFd);
    markOwnSocket(this.#maps.own, socket.fd, truePeer);
    return socket;
  }

  #accepted(
    listener: Sock,
    what: string,
  ): { readonly socket: Sock; readonly peer: typeof CLIENT } & Disposable {
    const accepted = listener.accept();
    assert.ok(accepted, what);
    return accepted;
  }

  /** Makes a connection of each kind, and holds them where they are to be kept. */
  probe(what: string, keep = false): void {
    const { pod, listeners } = this.a;
    const client = Sock.open(pod.netnsFd);
    assert.equal(client.connect(SERVICE.ip, SERVICE.port), 'ok', what);
    const captured = this.#accepted(listeners.outbound, what);
    assert.deepEqual(originalDst(this.#maps.dst, captured.socket.fd), SERVICE, what);
    assert.deepEqual(client.peer(), SERVICE, what);

    const caller = Sock.open(this.outsider.netnsFd);
    assert.equal(caller.connect(pod.ip, APP_PORT), 'ok', what);
    const plaintext = this.#accepted(listeners.plaintext, what);

    const toApp = this.#own(CLIENT).bind('127.9.9.9', 0);
    assert.equal(toApp.connect(pod.ip, APP_PORT), 'ok', what);
    const served = this.#accepted(this.#app, what);
    assert.deepEqual(served.peer, CLIENT, what);

    const tunnel = this.#own();
    assert.equal(tunnel.connect(this.outsider.ip, OUTSIDE_PORT), 'ok', what);
    const far = this.#accepted(this.#outside, what);

    // And nothing else comes out, or in past the listeners.
    sendForgedSyn(
      pod,
      this.outsider,
      { ip: pod.ip, port: 41000 },
      { ip: this.outsider.ip, port: OUTSIDE_PORT },
    );
    assert.equal(this.#app.accept(0), undefined, what);
    assert.equal(this.#outside.accept(0), undefined, what);
    const all = [client, captured, caller, plaintext, toApp, served, tunnel, far];
    if (keep) {
      this.#open.push(...all);
      this.#streams.push([client, captured.socket], [served.socket, toApp]);
    } else for (const each of all) each[Symbol.dispose]();
  }

  /** An end of the application's, and the other, ztunnel's. */
  readonly #streams: [Sock, Sock][] = [];

  /** What was open before is as it was. */
  streamsLive(): void {
    assert.ok(this.#streams.length > 0);
    for (const [application, other] of this.#streams) {
      application.send('there');
      assert.equal(other.receive(), 'there');
      other.send('back');
      assert.equal(application.receive(), 'back');
      assert.ok([SERVICE.ip, CLIENT.ip].includes(application.peer().ip), application.peer().ip);
    }
  }

  /** Path of the namespace where the pods' veths end. */
  get hostNetns(): string {
    return `/run/netns/${this.lab.hostNetns}`;
  }

  originalDst(accepted: Sock): ReturnType<typeof originalDst> {
    return originalDst(this.#maps.dst, accepted.fd);
  }

  mapPins(): string[] {
    return readdirSync(dirname(pinned(this.mesh, 'maps', 'x'))).sort();
  }

  [Symbol.dispose](): void {
    for (const each of this.#open) each[Symbol.dispose]();
    this.#app.close();
    this.#outside.close();
    for (const fd of [this.#maps.own, this.#maps.dst]) closeFd(fd);
    this.mesh[Symbol.dispose]();
    if (this.#ownLab) this.lab[Symbol.dispose]();
  }
}

/** Steps before which it makes a difference to end: each program's exchange, and where one kind of change follows another. */
function turningPoints(steps: readonly string[]): number[] {
  return steps.flatMap((name, i) => (name === 'linkUpdate' || name !== steps[i - 1] ? [i + 1] : []));
}

describe('bpf: an agent with another layout of the maps takes over', function () {
  this.timeout(240_000);
  for (const method of KERNEL_METHODS) {
    it(`and between any two of its steps all connections are carried, and none escapes (${method})`, () => {
      using scene = new Scene(method);
      scene.probe('before', true);
      scene.mesh.redirection.close();
      const steps = inSteps(
        () => scene.swap(),
        (step, name) => scene.probe(`before step ${step}, ${name}`),
      );
      assert.ok(steps.filter((name) => name === 'linkUpdate').length >= 6, steps.join());
      scene.probe('after');
      scene.streamsLive();
      assert.deepEqual(scene.mesh.redirection.verify(), []);
      const pins = scene.mapPins();
      for (const name of ['pods', 'pod_uses', 'guards', 'guard_drops'])
        assert.ok(pins.includes(`${name}-2`) && !pins.includes(`${name}-1`), pins.join());
      assert.ok(pins.includes('counters-4') && !pins.includes('counters-3'), pins.join());
      assert.ok(pins.includes('records-1') && pins.includes('records-2'), pins.join());
    });
  }

  it('and finishes what another began that ended half way', () => {
    const stage = new Stage();
    using _lab = stage.lab;
    let steps: readonly string[];
    {
      using scene = new Scene(undefined, stage);
      scene.mesh.redirection.close();
      steps = inSteps(
        () => scene.swap(),
        () => undefined,
      );
    }
    const ends = turningPoints(steps);
    assert.ok(ends.length >= 10, `${ends.join()} of ${steps.join()}`);
    for (const end of ends) {
      using scene = new Scene(undefined, stage);
      const what = `ended before step ${end} of ${steps.length}`;
      scene.mesh.redirection.close();
      assert.throws(
        () =>
          inSteps(
            () => scene.swap(),
            (step) => {
              if (step === end) throw new Error('as if killed');
            },
          ),
        /as if killed/,
      );
      scene.probe(what);
      scene.swap();
      scene.probe(`finished, ${what}`);
      assert.deepEqual(scene.mesh.redirection.verify(), [], what);
    }
  });

  it('and is killed again and again while connections come: none fails, none is cut', async () => {
    using scene = new Scene();
    scene.probe('before', true);
    scene.mesh.redirection.close();
    const script = fileURLToPath(siblingModule(import.meta.url, './support/next-agent-process'));
    let said = '';
    let killed = 0;
    for (let step = 1; said === ''; step += 7) {
      const args = [script, scene.mesh.instance, scene.hostNetns, String(step)];
      const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
      child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
      const ended = once(child, 'close');
      while (child.exitCode === null && child.signalCode === null) {
        scene.probe(`while the agent runs that is killed before step ${step}`);
        await turn();
      }
      await ended;
      if (child.signalCode === 'SIGKILL') killed += 1;
      else assert.equal(child.exitCode, 0);
    }
    assert.ok(killed >= 3, `killed ${killed} times; the last one had these steps: ${said}`);
    scene.swap();
    scene.probe('after');
    scene.streamsLive();
    assert.deepEqual(scene.mesh.redirection.verify(), []);
  });

  it('and carries a connection on whose record the former program wrote, and withdraws another', () => {
    using scene = new Scene();
    const { a, mesh } = scene;
    const full = Sock.listen(a.pod.netnsFd, '::ffff:127.77.0.1', 0, { family: 6, backlog: 0 });
    mesh.redirection.setListeners(a.handle, { ...listenerFds(a.listeners), outbound: full.fd });
    const waiting = Array.from({ length: 4 }, () => Sock.open(a.pod.netnsFd));
    for (const socket of waiting) assert.equal(socket.connectLater(SERVICE.ip, SERVICE.port), 'EINPROGRESS');
    const recorded = mesh.redirection.stats().records;
    assert.ok(recorded >= 2, `${recorded} records`);
    mesh.redirection.close();
    scene.swap();
    assert.equal(mesh.redirection.stats().records, recorded);
    mesh.redirection.setListeners(a.handle, listenerFds(a.listeners));
    for (const role of ['outbound', 'toApplication', 'hairpin'] as const)
      assert.equal(mesh.redirection.enrolled()[0]?.use.outstanding[role], 0);
    waiting.pop()?.close();
    assert.equal(mesh.redirection.stats().records, recorded - 1);
    // Its SYN comes once more within a second or two.
    using carried = a.listeners.outbound.accept(10_000);
    assert.ok(carried);
    assert.deepEqual(scene.originalDst(carried.socket), SERVICE);
    for (const socket of [...waiting, full]) socket.close();
    assert.equal(mesh.redirection.stats().records, 0);
    assert.deepEqual(mesh.redirection.enrolled()[0]?.use.outstanding, {
      ...{ outbound: 0, toApplication: 0, hairpin: 0 },
    });
  });

  it('and finds what is switched off, counted and refused as it was; then forgets a pod whole', () => {
    using scene = new Scene();
    const { a, mesh } = scene;
    const before = mesh.redirection.enrolled();
    assert.ok((before[0]?.guardDrops?.syn ?? 0) === 0);
    scene.probe('before');
    const drops = mesh.redirection.enrolled()[0]?.guardDrops;
    assert.equal(drops?.syn, 1);
    using switches = OffSwitches.open(mesh.instance);
    switches?.turnOff(a.pod.cookie);
    mesh.redirection.close();
    scene.swap();
    const [known] = mesh.redirection.enrolled();
    assert.deepEqual(known, { ...before[0], guardDrops: drops });
    assert.ok(mesh.redirection.switchedOff().pods.has(a.pod.cookie));
    switches?.turnOn(a.pod.cookie);
    const b = mesh.enrol(scene.lab.pod('b'));
    assert.equal(dial(b.pod.netnsFd, SERVICE.ip, SERVICE.port), 'ok');
    mesh.redirection.unenrol(a.handle);
    assert.deepEqual(mesh.redirection.verify(), []);
    assert.equal(mesh.redirection.stats().records, 0);
  });

  it('and the one before does not take it back: it is refused by name, whether or not all was brought over', () => {
    using scene = new Scene();
    const { mesh } = scene;
    mesh.redirection.close();
    assert.throws(() =>
      inSteps(
        () => scene.swap(),
        (step) => {
          if (step === 3) throw new Error('as if killed');
        },
      ),
    );
    fails('BPF_LAYOUT', () => Redirection.open({ instance: mesh.instance }));
    scene.probe('half way');
    scene.swap();
    mesh.redirection.close();
    fails('BPF_LAYOUT', () => Redirection.open({ instance: mesh.instance }));
    scene.probe('all the way');
    scene.swap();
  });
});
