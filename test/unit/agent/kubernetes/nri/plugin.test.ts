import assert from 'node:assert/strict';
import { fromBinary } from '@bufbuild/protobuf';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { systemClock } from '../../../../../agent/clock.ts';
import { NriPlugin, type HeldPod } from '../../../../../agent/kubernetes/nri/plugin.ts';
import { Sandboxes } from '../../../../../agent/kubernetes/sandboxes.ts';
import {
  ConfigureRequestSchema,
  ConfigureResponseSchema,
  EmptySchema,
  Event,
  PodRequestSchema,
  StateChangeEventSchema,
  SynchronizeRequestSchema,
  SynchronizeResponseSchema,
} from '../../../../../proto/gen/nri/nri_pb.js';
import { FakeLog } from '../../fakes.ts';
import { ToyRuntime, trunkFrames } from './toy-runtime.ts';

const linux = (...types: string[]) => ({ namespaces: types.map((type) => ({ type, path: `/run/${type}` })) });
const podOf = (name: string) => ({
  id: `sandbox-${name}`,
  uid: `uid-${name}`,
  name,
  namespace: 'shop',
  labels: { app: name },
  pid: 41,
  ips: ['10.0.0.1'],
  linux: linux('network', 'ipc'),
});

describe('the plugin of the container runtime', () => {
  let folder: string;
  let runtime: ToyRuntime;
  let plugin: NriPlugin;
  let sandboxes: Sandboxes;
  let log: FakeLog;
  let hold: (pod: HeldPod, atMostMs: number) => Promise<void>;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'loam-nri-'));
    runtime = await ToyRuntime.listen(join(folder, 'nri.sock'));
    sandboxes = new Sandboxes(() => undefined);
    log = new FakeLog();
    hold = () => Promise.resolve();
    plugin = new NriPlugin({
      path: runtime.path,
      sandboxes,
      hold: (pod, atMostMs) => hold(pod, atMostMs),
      clock: { ...systemClock, after: (_ms, run) => systemClock.after(1, run) },
      log,
    });
  });
  afterEach(async () => {
    plugin.close();
    await runtime.close();
    rmSync(folder, { recursive: true });
  });

  async function connect(): Promise<void> {
    const registered = runtime.nextRegistration();
    plugin.start();
    await registered;
  }

  async function configure(requestTimeout = 2000n): Promise<number> {
    const answer = await runtime.call('Configure', ConfigureRequestSchema, {
      runtimeName: 'toy',
      runtimeVersion: '1',
      requestTimeout,
    });
    return fromBinary(ConfigureResponseSchema, answer.payload).events;
  }

  it('registers, and asks for what it needs to hear', async () => {
    await connect();
    assert.deepEqual(runtime.registered, { name: 'loam', index: '10' });
    // RunPodSandbox, StopPodSandbox, RemovePodSandbox, CreateContainer, StartContainer
    assert.equal(await configure(), 0b101111);
    assert.deepEqual(plugin.state, { state: 'connected', runtime: 'toy 1' });
  });

  it('learns of the sandboxes that there are, told in parts, and forgets those that are not', async () => {
    await connect();
    await configure();
    sandboxes.add({ id: 'old', pod: 'uid-old', pid: 1, ips: [] });
    const part = { pods: [podOf('a')], more: true };
    const first = await runtime.call('Synchronize', SynchronizeRequestSchema, part);
    assert.equal(fromBinary(SynchronizeResponseSchema, first.payload).more, true);
    assert.equal(sandboxes.ofPod('uid-a'), undefined);
    const many = Array.from({ length: 200 }, (_, i) => podOf(`pod-${i}-${'x'.repeat(60)}`));
    const last = await runtime.call('Synchronize', SynchronizeRequestSchema, { pods: many });
    assert.equal(fromBinary(SynchronizeResponseSchema, last.payload).more, false);
    assert.deepEqual(sandboxes.ofPod('uid-a'), { id: 'sandbox-a', pod: 'uid-a', pid: 41, ips: ['10.0.0.1'] });
    assert.ok(sandboxes.ofPod(many[199]?.uid ?? ''));
    assert.equal(sandboxes.ofPod('uid-old'), undefined);
  });

  it('follows sandboxes as they come and go, told in the newer way or the older', async () => {
    await connect();
    const pod = podOf('a');
    await runtime.call('RunPodSandbox', PodRequestSchema, { pod });
    assert.equal(sandboxes.ofPod('uid-a')?.pid, 41);
    await runtime.call('StopPodSandbox', PodRequestSchema, { pod });
    assert.equal(sandboxes.ofPod('uid-a'), undefined);
    await runtime.call('StateChange', StateChangeEventSchema, {
      event: Event.RUN_POD_SANDBOX,
      pod: { ...pod, pid: 0 },
    });
    assert.equal(sandboxes.ofPod('uid-a')?.pid, undefined);
    await runtime.call('StateChange', StateChangeEventSchema, { event: Event.REMOVE_POD_SANDBOX, pod });
    assert.equal(sandboxes.ofPod('uid-a'), undefined);
  });

  it('holds a container until the pod is enrolled', async () => {
    let release = (): void => undefined;
    let held: HeldPod | undefined;
    hold = (pod) => {
      held = pod;
      return new Promise((resolve) => (release = resolve));
    };
    await connect();
    let answered = false;
    const call = runtime.call('CreateContainer', PodRequestSchema, { pod: podOf('a') }).then((answer) => {
      answered = true;
      return answer;
    });
    // A later call is answered although this one is not: the connection is not held.
    await runtime.call('RunPodSandbox', PodRequestSchema, { pod: podOf('b') });
    assert.equal(answered, false);
    const { uid, namespace, name, labels } = podOf('a');
    assert.deepEqual(held, { uid, namespace, name, labels, hostNetwork: false, pid: 41 });
    release();
    assert.equal((await call).status, undefined);
  });

  it('says why a container may not be made', async () => {
    const long = `it is not to be: ${'x'.repeat(10_000)}`;
    hold = () => Promise.reject(new Error(long));
    await connect();
    for (const method of ['CreateContainer', 'StartContainer']) {
      const { status } = await runtime.call(method, PodRequestSchema, { pod: podOf('a') });
      assert.equal(status?.code, 2);
      assert.match(status.message, /^it is not to be: x+$/);
      assert.ok(status.message.length <= 1000);
    }
  });

  it("answers well within the runtime's time, as it is told and as each call says", async () => {
    const waits: number[] = [];
    hold = (_pod, atMostMs) => {
      waits.push(atMostMs);
      return Promise.resolve();
    };
    await connect();
    await configure(1000n);
    await runtime.call('CreateContainer', PodRequestSchema, { pod: podOf('a') });
    await configure(60_000n);
    await runtime.call('CreateContainer', PodRequestSchema, { pod: podOf('a') });
    assert.deepEqual(waits, [750, 1500]);
  });

  it("tells a pod on the node's network", async () => {
    const pods: boolean[] = [];
    hold = ({ hostNetwork }) => {
      pods.push(hostNetwork);
      return Promise.resolve();
    };
    await connect();
    for (const pod of [
      { ...podOf('a'), linux: linux('ipc', 'pid') },
      { ...podOf('a'), linux: linux() },
      podOf('a'),
    ])
      await runtime.call('CreateContainer', PodRequestSchema, { pod });
    assert.deepEqual(
      pods,
      [true, false, false],
      'a runtime that tells no namespaces at all has said nothing',
    );
  });

  it('reads what comes byte by byte, and does not know every method', async () => {
    await connect();
    await runtime.call('RunPodSandbox', PodRequestSchema, { pod: podOf('a') }, { bytewise: true });
    assert.ok(sandboxes.ofPod('uid-a'));
    const unknown = await runtime.call('PostCreateContainer', PodRequestSchema, { pod: podOf('a') });
    assert.equal(unknown.status?.code, 12);
    const foreign = await runtime.call('Shutdown', EmptySchema, {}, { service: 'another.Service' });
    assert.equal(foreign.status?.code, 12);
    assert.equal((await runtime.call('Shutdown', EmptySchema, {})).status, undefined);
    const { status } = await runtime.call('CreateContainer', PodRequestSchema, {});
    assert.equal(status, undefined);
  });

  for (const [what, bytes] of [
    ['a frame that is too long', Buffer.from('00000001ffffffff', 'hex')],
    ['a message that is too long', trunkFrames(1, Buffer.from('7fffffff000000010100', 'hex'))[0]],
    ['an answer in place of a call', trunkFrames(1, Buffer.from('00000000000000010200', 'hex'))[0]],
    ['a call that cannot be read', trunkFrames(1, Buffer.from('0000000200000001010007ff', 'hex'))[0]],
    ['an answer that nobody asked for', trunkFrames(2, Buffer.from('00000000000000090200', 'hex'))[0]],
  ] as const) {
    it(`gives a connection up for ${what}, and connects again`, async () => {
      await connect();
      await configure();
      const again = runtime.nextRegistration();
      runtime.write(bytes ?? Buffer.alloc(0));
      await again;
      assert.equal(log.count('not connected with the container runtime'), 1);
      assert.equal(await configure(), 0b101111);
    });
  }

  it('connects again when the runtime has been restarted, and says once that it is away', async () => {
    await connect();
    await configure();
    await runtime.close();
    const { path } = runtime;
    while (plugin.state.state !== 'connecting') await new Promise(setImmediate);
    runtime = await ToyRuntime.listen(path);
    await runtime.nextRegistration();
    await configure();
    assert.equal(plugin.state.state, 'connected');
    assert.ok(log.count('not connected') <= 2, log.lines.join('\n'));
  });

  it('says that the runtime does not take it', async () => {
    runtime.refusal = 'no plugins today';
    await connect();
    runtime.refusal = '';
    await runtime.nextRegistration();
    assert.equal(log.count('no plugins today'), 1);
  });
});
