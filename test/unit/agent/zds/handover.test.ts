import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { HELD_STATE_MAX_BYTES } from '../../../../agent/zds/held-state.ts';
import { ZdsServer } from '../../../../agent/zds/server.ts';
import { readSealed, sealedMemory } from '../../../../lib/linux/memfd.ts';
import { FakeClock, FakeLog } from '../fakes.ts';
import { ToyProxy, until } from './toy-proxy.ts';

const READY = { case: 'loamReady', value: {} } as const;
const STATE = { case: 'loamState', value: {} } as const;

describe('ZDS server: one proxy after another', () => {
  let dir: string;
  let path: string;
  let clock: FakeClock;
  let log: FakeLog;
  let server: ZdsServer;
  let maps: number;
  let proxies: ToyProxy[];

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'lah-'));
    path = join(dir, 'zds');
    proxies = [];
    clock = new FakeClock();
    log = new FakeLog();
    maps = openSync('/dev/null', 'r');
    server = ZdsServer.listen({
      ...{ path, clock, log, maps: { ownSockets: maps, originalDst: maps } },
      onProgress: () => undefined,
      onFailure: (error) => assert.fail(error),
    });
    server.sync({ workloads: new Map(), keep: new Set(), released: new Set() });
  });
  afterEach(async () => {
    for (const proxy of proxies) proxy.close();
    await server.close();
    closeSync(maps);
    rmSync(dir, { recursive: true });
  });

  /** A proxy that has its snapshot. */
  async function live(started: bigint): Promise<ToyProxy> {
    clock.advance(1000);
    const proxy = await ToyProxy.greet(path, { started });
    proxies.push(proxy);
    await until(() => proxy.texts().includes('snapshotSent'));
    return proxy;
  }
  const roles = (): string[] => server.describe().map(({ role }) => role);
  const told = (proxy: ToyProxy): string[] =>
    proxy.texts().filter((text) => text === 'loamServe' || text === 'loamYield');

  it('lets the youngest serve once it is ready, whatever the order in which they connect', async () => {
    const old = await live(1n);
    await until(() => told(old).length === 1);
    const young = await live(3n);
    const middle = await live(2n);
    await until(() => roles().join() === 'serving,getting ready,getting ready');
    assert.deepEqual([told(old), told(middle), told(young)], [['loamServe'], [], []]);
    await middle.say(READY);
    await until(() => told(old).length === 2);
    assert.deepEqual([told(old), told(middle), told(young)], [['loamServe', 'loamYield'], ['loamServe'], []]);
    await young.say(READY);
    await until(() => roles().join() === 'getting ready,standing by,serving');
    assert.deepEqual(told(middle), ['loamServe', 'loamYield']);
  });

  it('tells the old one to yield only when the new one accepts', async () => {
    const old = await live(1n);
    await until(() => told(old).length === 1);
    const young = await live(2n);
    young.answer = () => 'silent';
    await young.say(READY);
    await until(() => told(young).length === 1);
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.deepEqual(told(old), ['loamServe']);
    await young.ack();
    await until(() => told(old).length === 2);
  });

  it('lets the old one serve again when the new one is gone, and asks no more of one that cannot serve', async () => {
    const old = await live(1n);
    await old.say(READY);
    const young = await live(2n);
    await young.say(READY);
    await until(() => told(old).at(-1) === 'loamYield');
    young.connection.close();
    await until(() => told(old).length === 3);
    assert.equal(told(old).at(-1), 'loamServe');
    const unable = await live(3n);
    unable.answer = (text) => (text === 'loamServe' ? 'the port is taken' : '');
    await unable.say(READY);
    await until(() => unable.closed);
    assert.match(log.lines.join(), /the proxy refused to serve: the port is taken/);
    assert.deepEqual(told(old).slice(3), [], 'it never stopped');
  });

  it('gives nothing to one that leaves, and takes no other for it', async () => {
    const old = await live(1n);
    await until(() => told(old).length === 1);
    await old.say({ case: 'loamLeaving', value: {} });
    const young = await live(2n);
    await until(() => told(young).length === 1);
    await until(() => roles().join() === 'leaving,serving');
  });

  describe('holds the state of the one that serves', () => {
    const held = (proxy: ToyProxy) => proxy.received.find(({ text }) => text === 'loamState');
    const textOf = (proxy: ToyProxy): string | undefined => {
      const fd = held(proxy)?.fds[0];
      return fd === undefined ? undefined : readSealed(fd, 1000).toString();
    };
    const ageOf = (proxy: ToyProxy): number => {
      const payload = held(proxy)?.message?.payload;
      return payload?.case === 'loamState' ? Number(payload.value.ageMs) : NaN;
    };
    async function serving(started: bigint): Promise<ToyProxy> {
      const proxy = await live(started);
      await proxy.say(READY);
      await until(() => told(proxy).at(-1) === 'loamServe');
      return proxy;
    }
    async function leave(proxy: ToyProxy, text: string): Promise<void> {
      const fd = sealedMemory('test', Buffer.from(text));
      await proxy.say(STATE, [fd]);
      closeSync(fd);
    }
    const memoryHeld = (): number =>
      readdirSync('/proc/self/fd').filter((fd) => {
        try {
          return readlinkSync(`/proc/self/fd/${fd}`).startsWith('/memfd:test');
        } catch {
          return false;
        }
      }).length;

    it('and gives it to the next, with its age, counted from the end of who kept it', async () => {
      const first = await serving(1n);
      assert.equal(textOf(first), undefined);
      await leave(first, 'one');
      await leave(first, 'two');
      const beside = await live(2n);
      assert.deepEqual([textOf(beside), ageOf(beside)], ['two', 0]);
      first.close();
      beside.close();
      await until(() => server.describe().length === 0);
      clock.advance(7_000);
      const later = await live(3n);
      assert.deepEqual([textOf(later), ageOf(later)], ['two', 8_000]);
    });

    it('not that of one that does not, and none that may still change or is too large', async () => {
      const first = await serving(1n);
      await leave(first, 'good');
      const beside = await live(2n);
      await leave(beside, 'of no account');
      const third = await live(3n);
      assert.equal(textOf(third), 'good');
      const file = openSync('/dev/null', 'r');
      await first.say(STATE, [file]);
      closeSync(file);
      await until(() => first.closed);
      assert.match(log.lines.join(), /a state to hold is no sealed memory/);
      const second = await serving(4n);
      const large = sealedMemory('test', Buffer.alloc(HELD_STATE_MAX_BYTES + 1));
      await second.say(STATE, [large]);
      closeSync(large);
      await until(() => second.closed);
      assert.match(log.lines.join(), /a state to hold is 67108865 bytes/);
    });

    it('until it is told to hold none, and with one descriptor at most', async () => {
      const first = await serving(1n);
      for (let i = 0; i < 5; i += 1) await leave(first, `state ${i}`);
      await first.say(READY);
      await until(() => roles().join() === 'serving');
      await until(() => memoryHeld() === 1);
      await first.say(STATE);
      await until(() => memoryHeld() === 0);
      const next = await live(2n);
      assert.equal(textOf(next), undefined);
    });
  });
});
