import assert from 'node:assert/strict';
import { closeSync, fstatSync, mkdtempSync, openSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { MAX_PROXIES, ZdsServer } from '../../../../agent/zds/server.ts';
import { ACK_DEADLINE_MS, HELLO_DEADLINE_MS } from '../../../../agent/zds/session.ts';
import type { Workload } from '../../../../agent/zds/workload.ts';
import { FakeClock, FakeLog } from '../fakes.ts';
import { ToyProxy, until } from './toy-proxy.ts';

describe('ZDS server', () => {
  let dir: string;
  let path: string;
  let clock: FakeClock;
  let log: FakeLog;
  let server: ZdsServer;
  let files: Map<string, number>;
  let proxies: ToyProxy[];

  /** A descriptor that can be told from others: of a file of that name. */
  function descriptor(name: string): number {
    const fd = files.get(name) ?? openSync(join(dir, name), 'w');
    files.set(name, fd);
    return fd;
  }

  function workload(name: string, generation = 1): Workload {
    const [netnsFd, outbound, plaintext, hbone] = ['netns', 'outbound', 'plaintext', 'hbone'].map((what) =>
      descriptor(`${name}-${what}-${generation}`),
    ) as [number, number, number, number];
    const listeners = { outbound, plaintext, hbone };
    const uid = `uid-${name}`;
    const ips = ['198.18.0.1'];
    return { uid, name, namespace: 'shop', serviceAccount: 'default', ips, netnsFd, listeners, generation };
  }

  function sync(workloads: Workload[], keep: string[] = [], released: string[] = []): void {
    server.sync({
      workloads: new Map(workloads.map((each) => [each.uid, each])),
      keep: new Set(keep),
      released: new Set(released),
    });
  }

  async function greet(options: Parameters<typeof ToyProxy.greet>[1] = {}): Promise<ToyProxy> {
    clock.advance(1000); // not to be slowed down as one that connects too often
    const proxy = await ToyProxy.greet(path, options);
    proxies.push(proxy);
    return proxy;
  }

  async function connect(): Promise<ToyProxy> {
    const proxy = await ToyProxy.connect(path);
    proxies.push(proxy);
    return proxy;
  }

  /** Greets and takes the whole snapshot. */
  async function live(): Promise<ToyProxy> {
    const before = server.describe().length;
    const proxy = await greet();
    await until(() => server.describe().length > before && server.live);
    return proxy;
  }

  const listen = (): ZdsServer =>
    ZdsServer.listen({
      path,
      maps: { ownSockets: descriptor('own-sockets'), originalDst: descriptor('original-dst') },
      clock,
      log,
      onProgress: () => undefined,
      onFailure: (error) => assert.fail(error),
    });

  const fileOf = (fd: number): string => readlinkSync(`/proc/self/fd/${fd}`).slice(dir.length + 1);

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'lau-'));
    path = join(dir, 'zds');
    files = new Map();
    proxies = [];
    clock = new FakeClock();
    log = new FakeLog();
    server = listen();
    sync([]);
  });

  afterEach(async () => {
    for (const proxy of proxies) proxy.close();
    await server.close();
    for (const fd of files.values()) closeSync(fd);
    rmSync(dir, { recursive: true });
  });

  it('says nothing of pods before it knows which there are: a proxy that serves some keeps them', async () => {
    await server.close();
    server = listen();
    const proxy = await greet();
    await until(() => proxy.texts().includes('loamMaps'));
    const other = await greet({ loamHandover: false });
    // Whatever was to come for those before has come when another one was answered.
    await until(() => server.describe().length === 2);
    assert.deepEqual([proxy.texts(), other.texts(), server.live], [['loamMaps'], [], false]);
    sync([workload('a')]);
    await until(() => server.live);
    assert.deepEqual(proxy.texts(), ['loamMaps', 'add uid-a', 'snapshotSent']);
  });

  it('sends maps, workloads with their descriptors, what to keep, and the end of the snapshot', async () => {
    sync([workload('a'), workload('b')], ['uid-c']);
    const proxy = await live();
    assert.deepEqual(proxy.texts(), ['loamMaps', 'add uid-a', 'add uid-b', 'keep uid-c', 'snapshotSent']);
    assert.deepEqual(proxy.received[0]?.fds.map(fileOf), ['own-sockets', 'original-dst']);
    assert.deepEqual(proxy.received[1]?.fds.map(fileOf), [
      'a-netns-1',
      'a-outbound-1',
      'a-plaintext-1',
      'a-hbone-1',
    ]);
    assert.deepEqual(server.stateOf('uid-a'), { state: 'acknowledged' });
  });

  it('gives a proxy that did not ask for more Istio’s own messages: the namespace alone, no maps', async () => {
    sync([workload('a')]);
    const proxy = await greet({ loamHandover: false });
    await until(() => server.live);
    assert.deepEqual(proxy.texts(), ['add uid-a', 'snapshotSent']);
    assert.deepEqual(proxy.received[0]?.fds.map(fileOf), ['a-netns-1']);
  });

  it('follows changes: new, replaced, gone; nothing twice', async () => {
    sync([workload('a')]);
    const proxy = await live();
    proxy.received.splice(0).forEach(({ fds }) => fds.forEach((fd) => closeSync(fd)));
    sync([workload('a'), workload('b')]);
    await until(() => server.stateOf('uid-b').state === 'acknowledged');
    sync([workload('a', 2), workload('b')]);
    await until(() => server.stateOf('uid-a').state === 'acknowledged');
    assert.deepEqual(proxy.received[1]?.fds.map(fileOf)[1], 'a-outbound-2');
    sync([workload('b')]);
    await until(() => proxy.received.length === 3);
    sync([workload('b')]);
    sync([]);
    await until(() => proxy.received.length === 4);
    assert.deepEqual(proxy.texts(), ['add uid-b', 'add uid-a', 'del uid-a', 'del uid-b']);
  });

  it('tells of a pod that leaves the mesh and lives on', async () => {
    sync([workload('a')]);
    const proxy = await live();
    proxy.received.splice(0).forEach(({ fds }) => fds.forEach((fd) => closeSync(fd)));
    sync([], [], ['uid-a']);
    await until(() => proxy.received.length === 1);
    sync([]);
    sync([workload('a')]);
    await until(() => proxy.received.length === 2);
    assert.deepEqual(proxy.texts(), ['del uid-a, which lives on', 'add uid-a']);
  });

  it('has one message in flight', async () => {
    sync([workload('a'), workload('b')]);
    const proxy = await greet({ answer: () => 'silent' });
    for (let count = 1; count <= 4; count += 1) {
      await until(() => proxy.received.length === count);
      sync([workload('a'), workload('b')]);
      await new Promise((resolve) => setTimeout(resolve, 20));
      assert.equal(proxy.received.length, count);
      await proxy.ack();
    }
    await until(() => server.live);
  });

  it('asks again for what a proxy refused, and goes on with the others meanwhile', async () => {
    let refuse = true;
    sync([workload('a'), workload('b')]);
    const proxy = await greet({ answer: (text) => (text === 'add uid-a' && refuse ? 'no room' : '') });
    await until(() => server.live);
    assert.deepEqual(server.stateOf('uid-a'), { state: 'refused', message: 'no room' });
    assert.deepEqual(server.stateOf('uid-b'), { state: 'acknowledged' });
    assert.equal(log.count('the proxy refused a workload'), 1);
    clock.advance(6000);
    await until(() => proxy.texts().filter((text) => text === 'add uid-a').length === 2);
    await until(() => server.stateOf('uid-a').state === 'refused');
    refuse = false;
    clock.advance(6000);
    await until(() => server.stateOf('uid-a').state === 'acknowledged');
  });

  it('gives new workloads to the latest proxy, removals to all, and falls back when the latest goes', async () => {
    sync([workload('a')]);
    const old = await live();
    const young = await live();
    assert.deepEqual([old.texts().at(-1), young.texts().at(-1)], ['snapshotSent', 'snapshotSent']);
    sync([workload('a'), workload('b')]);
    await until(() => server.stateOf('uid-b').state === 'acknowledged');
    sync([workload('b')]);
    await until(() => old.texts().at(-1) === 'del uid-a' && young.texts().at(-1) === 'del uid-a');
    assert.ok(!old.texts().includes('add uid-b'));
    young.close();
    await until(() => old.texts().at(-1) === 'add uid-b');
  });

  it('gives a whole snapshot also to a proxy that another overtakes meanwhile', async () => {
    sync([workload('a'), workload('b')]);
    const first = await greet({ answer: () => 'silent' });
    await until(() => first.received.length === 1);
    await live();
    for (let count = 1; count <= 4; count += 1) {
      await until(() => first.received.length === count);
      await first.ack();
    }
    assert.deepEqual(first.texts(), ['loamMaps', 'add uid-a', 'add uid-b', 'snapshotSent']);
  });

  it('says that there is no proxy, or that an answer is due', async () => {
    sync([workload('a')]);
    assert.deepEqual(server.stateOf('uid-a'), { state: 'no-proxy' });
    const proxy = await greet({ answer: (text) => (text === 'loamMaps' ? '' : 'silent') });
    await until(() => proxy.received.length === 2);
    assert.deepEqual(server.stateOf('uid-a'), { state: 'pending' });
    assert.equal(server.live, false);
    proxy.close();
    await until(() => server.describe().length === 0);
  });

  describe('with a hostile proxy', () => {
    /** Does something wrong as a new proxy; the server must end that connection, say why, and serve the next. */
    async function refusedFor(reason: RegExp, attack: (proxy: ToyProxy) => Promise<void>): Promise<void> {
      sync([workload('a')]);
      const proxy = await connect();
      await attack(proxy);
      await until(() => proxy.closed);
      assert.match(log.lines.join('\n'), reason);
      clock.advance(1000);
      await live();
    }

    const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);

    it('ends garbage in place of a hello', () =>
      refusedFor(/what should be a hello cannot be read/, (proxy) =>
        proxy.connection.send(bytes(0xff, 0xff, 0xff)),
      ));

    it('ends a version that it does not know', () =>
      refusedFor(/hello of version 9; only 1 is known/, (proxy) => proxy.hello(true, 9)));

    it('ends garbage in place of an acknowledgement', () =>
      refusedFor(/what should be an acknowledgement cannot be read/, async (proxy) => {
        proxy.answer = () => 'silent';
        await proxy.hello();
        await until(() => proxy.received.length === 1);
        await proxy.connection.send(bytes(0x0a, 0x7f, 1));
      }));

    it('ends an answer without an acknowledgement', () =>
      refusedFor(/an answer without an acknowledgement/, async (proxy) => {
        proxy.answer = () => 'silent';
        await proxy.hello();
        await until(() => proxy.received.length === 1);
        await proxy.connection.send(bytes(0x78, 1)); // an unknown field, nothing else
      }));

    it('ends an acknowledgement that nothing asked for', () =>
      refusedFor(/acknowledgement while nothing was to be acknowledged/, async (proxy) => {
        await proxy.hello();
        await until(() => proxy.texts().includes('snapshotSent'));
        await proxy.ack();
      }));

    it('ends a packet that is too big', () =>
      refusedFor(/a packet has more than 65536 bytes/, async (proxy) => {
        const { execFileSync } = await import('node:child_process');
        const script = `import socket,sys
s=socket.socket(socket.AF_UNIX,socket.SOCK_SEQPACKET); s.connect(sys.argv[1]); s.send(b'x'*70000); print(s.recv(9))`;
        assert.equal(execFileSync('python3', ['-c', script, path], { encoding: 'utf8' }).trim(), "b''");
        proxy.close();
      }));

    it('ends a refusal of the maps or of the end of the snapshot', async () => {
      await refusedFor(/the proxy refused the maps: never/, async (proxy) => {
        proxy.answer = () => 'never';
        await proxy.hello();
      });
      await refusedFor(/the proxy refused the snapshot: not now/, async (proxy) => {
        proxy.answer = (text) => (text === 'snapshotSent' ? 'not now' : '');
        await proxy.hello();
      });
    });

    it('ends one that says nothing, by a deadline', () =>
      refusedFor(/no hello in 5 s/, async () => {
        await until(() => log.count('a node proxy connected') === 1);
        clock.advance(HELLO_DEADLINE_MS);
      }));

    it('ends one that does not acknowledge, by a deadline, and gives all to the next', () =>
      refusedFor(/no acknowledgement of add in 10 s/, async (proxy) => {
        proxy.answer = (text) => (text === 'add uid-a' ? 'silent' : '');
        await proxy.hello();
        await until(() => proxy.texts().includes('add uid-a'));
        clock.advance(ACK_DEADLINE_MS);
      }));

    it('closes descriptors that a proxy sends', async () => {
      const gift = descriptor('gift');
      const proxy = await connect();
      await proxy.connection.send(bytes(0x08, 1), [gift, gift]);
      await until(() => server.live);
      const held = readdirSync('/proc/self/fd').filter((fd) => {
        try {
          return fstatSync(Number(fd)).ino === fstatSync(gift).ino;
        } catch {
          return false;
        }
      });
      assert.deepEqual(held, [String(gift)]);
    });

    it('turns away too many at once, and too many in a short time, with few lines in the log', async () => {
      for (let i = 0; i < MAX_PROXIES; i += 1) {
        if (i % 4 === 0) clock.advance(1001);
        await connect();
        await until(() => log.count('a node proxy connected') === i + 1);
      }
      const over = await connect();
      await until(() => over.closed);
      assert.equal(log.count('8 connections are open already'), 1);
      for (const proxy of proxies.splice(0)) proxy.close();
      await until(() => log.count('a node proxy has gone') === MAX_PROXIES);
      clock.advance(2000);
      const hasty = await Promise.all([1, 2, 3, 4, 5, 6, 7].map(() => connect()));
      await until(() => hasty.filter(({ closed }) => closed).length === 2);
      assert.equal(log.count('turned away'), 2, 'once for each kind of trouble');
      clock.advance(1000);
      assert.equal(log.count('and more were turned away {"more":1}'), 1);
      await live();
    });
  });
});
