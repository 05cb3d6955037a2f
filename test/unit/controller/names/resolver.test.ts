import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { pino } from 'pino';
import { dnsLookUp, isDialled } from '../../../../controller/names/look-up.ts';
import { MAX_LATELY, MAX_NAMES, NameResolver } from '../../../../controller/names/resolver.ts';
import { layOutShop, runController, temporaryDir, until as seen } from '../harness.ts';
import { until } from '../../lib/kubernetes/until.ts';
import { DnsServer } from './dns-server.ts';

describe('controller: names that entries lead to', () => {
  let server: DnsServer;
  let resolver: NameResolver;
  let changes: number;

  function make(keepMs = 60_000): NameResolver {
    changes = 0;
    return new NameResolver({
      lookUp: dnsLookUp([server.address]),
      onChange: () => (changes += 1),
      log: pino({ level: 'silent' }),
      times: { leastMs: 10, mostMs: 20, retryMs: 10, keepMs, settleMs: 60_000, tellMs: 1 },
    });
  }
  const now = (name: string): readonly string[] | undefined => resolver.current.get(name)?.now;

  beforeEach(async () => {
    server = await DnsServer.start();
    resolver = make();
  });
  afterEach(async () => {
    resolver.close();
    await server[Symbol.asyncDispose]();
  });

  it('are looked up, and again; what was said before is remembered for a while', async () => {
    server.set('a.example', '192.0.2.1');
    resolver.want(new Set(['a.example', 'none.example']));
    await until(() => resolver.settled && resolver.current.size === 2);
    assert.deepEqual(now('a.example'), ['192.0.2.1']);
    assert.deepEqual(now('none.example'), []);
    server.set('a.example', '192.0.2.9', '192.0.2.2');
    await until(() => now('a.example')?.length === 2);
    assert.deepEqual(resolver.current.get('a.example'), {
      now: ['192.0.2.2', '192.0.2.9'],
      lately: ['192.0.2.1', '192.0.2.2', '192.0.2.9'],
    });
    const before = resolver.current;
    resolver.want(new Set(['a.example', 'none.example']));
    assert.equal(resolver.current, before, 'the same map where nothing has changed');
    resolver.want(new Set(['a.example']));
    assert.deepEqual([...resolver.current.keys()], ['a.example']);
  });

  it('keep their addresses while nobody answers, for a while', async () => {
    resolver = make(150);
    server.set('a.example', '192.0.2.1');
    resolver.want(new Set(['a.example']));
    await until(() => now('a.example')?.length === 1);
    server.failing = true;
    const asked = server.asked.length;
    await until(() => server.asked.length > asked + 2);
    await until(() => !resolver.current.has('a.example'));
    server.failing = false;
    await until(() => now('a.example')?.length === 1);
  });

  it('hold up whoever waits until each was asked for once, answered or not', async () => {
    server.failing = true;
    resolver.want(new Set(['a.example']));
    assert.equal(resolver.settled, false);
    await until(() => resolver.settled && changes > 0);
    resolver.want(new Set(['a.example', 'b.example']));
    assert.equal(resolver.settled, true, 'a later one holds nobody up');
    const nothing = make();
    nothing.want(new Set());
    assert.equal(nothing.settled, true);
    nothing.close();
  });

  it('lead to no address of this machine, its link, or everybody', async () => {
    server.set(
      'evil.example',
      '127.0.0.1',
      '169.254.169.254',
      '0.0.0.0',
      '224.0.0.1',
      '255.255.255.255',
      '192.0.2.1',
    );
    resolver.want(new Set(['evil.example']));
    await until(() => now('evil.example') !== undefined);
    assert.deepEqual(now('evil.example'), ['192.0.2.1']);
    for (const address of ['::', '::1', 'fe80::1', 'ff02::1', '::ffff:127.0.0.1', '::127.0.0.1'])
      assert.equal(isDialled(address), false, address);
    for (const address of ['2001:db8::1', '10.0.0.1', 'fd00::1', '::ffff:192.0.2.1'])
      assert.equal(isDialled(address), true, address);
  });

  it('are looked up as many as that, and no more', async () => {
    const many = new NameResolver({
      lookUp: () => Promise.resolve({ addresses: ['192.0.2.1'], ttlMs: 60_000 }),
      onChange: () => undefined,
      log: pino({ level: 'silent' }),
    });
    many.want(new Set(Array.from({ length: MAX_NAMES + 5 }, (_, i) => `n${i}.example`)));
    await until(() => many.settled);
    assert.equal(many.current.size, MAX_NAMES);
    assert.equal(many.current.size, MAX_NAMES);
    many.want(new Set(['first.example', ...Array.from({ length: MAX_NAMES }, (_, i) => `n${i}.example`)]));
    await until(() => many.current.has('first.example'));
    assert.equal(many.current.size, MAX_NAMES, 'what comes first in the set counts');
    many.close();
  });

  it('have so many addresses, however often others are said', async () => {
    let asked = 0;
    const flood = new NameResolver({
      lookUp: () => {
        const ask = asked++;
        const addresses = Array.from({ length: 64 }, (_, i) => `10.${ask >> 8}.${ask & 255}.${i}`);
        return Promise.resolve({ addresses, ttlMs: 0 });
      },
      onChange: () => undefined,
      log: pino({ level: 'silent' }),
      times: { leastMs: 1, mostMs: 1, tellMs: 1 },
    });
    flood.want(new Set(['a.example']));
    const known = (): readonly string[] => flood.current.get('a.example')?.lately ?? [];
    await until(() => asked > 10 && known().length >= MAX_LATELY);
    const lately = known();
    const last = flood.current.get('a.example')?.now ?? [];
    flood.close();
    assert.equal(lately.length, MAX_LATELY);
    for (const address of last) assert(lately.includes(address), 'the latest are kept');
  });

  it('are told of together, however many change', async () => {
    let asked = 0;
    let told = 0;
    const names = Array.from({ length: 50 }, (_, i) => `n${i}.example`);
    const flood = new NameResolver({
      lookUp: () => Promise.resolve({ addresses: [`10.1.${(asked >> 8) & 255}.${asked++ & 255}`], ttlMs: 0 }),
      onChange: () => (told += 1),
      log: pino({ level: 'silent' }),
      times: { leastMs: 1, mostMs: 1, tellMs: 3_600_000 },
    });
    flood.want(new Set(names));
    // Once that they are settled, and once that something has changed since.
    await until(() => told === 2);
    const { current } = flood;
    await until(() => asked > 10 * names.length);
    assert.equal(told, 2);
    assert.equal(
      flood.current,
      current,
      'what is not told is not shown either: it would be another compilation',
    );
    flood.close();
  });

  it('that nobody answers for hold nobody up for ever', async () => {
    const never = new NameResolver({
      lookUp: () => new Promise(() => undefined),
      onChange: () => (changes += 1),
      log: pino({ level: 'silent' }),
      times: { settleMs: 20 },
    });
    never.want(new Set(['dead.example']));
    assert.equal(never.settled, false);
    await until(() => never.settled && changes > 0);
    never.close();
  });

  it('are asked for once at a time, however often they were wanted and not', async () => {
    const running = new Map<string, number>();
    let most = 0;
    const release: (() => void)[] = [];
    const flapping = new NameResolver({
      lookUp: async (name) => {
        const count = (running.get(name) ?? 0) + 1;
        running.set(name, count);
        if (name === 'a.example') most = Math.max(most, count);
        await new Promise<void>((resolve) => release.push(resolve));
        running.set(name, (running.get(name) ?? 1) - 1);
        return { addresses: ['192.0.2.1'], ttlMs: 60_000 };
      },
      onChange: () => undefined,
      log: pino({ level: 'silent' }),
    });
    const busy = Array.from({ length: 100 }, (_, i) => `n${i}.example`);
    for (let i = 0; i < 3; i += 1) {
      flapping.want(new Set(busy));
      flapping.want(new Set([...busy, 'a.example']));
    }
    for (let i = 0; i < 10; i += 1) {
      for (const each of release.splice(0)) each();
      await new Promise((resolve) => setImmediate(resolve));
    }
    flapping.close();
    assert.equal(most, 1);
  });

  it('are in force in a controller: told once they are known, and followed', async () => {
    await using dir = await temporaryDir();
    await layOutShop(dir.path);
    server.set('api.example', '192.0.2.7');
    await using controller = await runController(dir.path, ['--dns-servers', server.address]);
    await controller.manifest(
      'entry.yaml',
      `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api, namespace: shop}
spec: {hosts: [api.example], ports: [{number: 443, name: tls}], resolution: DNS}
`,
    );
    const stateOf = async (): Promise<string> => {
      const { objects } = await controller.report();
      return JSON.stringify(objects.find(({ kind }) => kind === 'ServiceEntry')) ?? '';
    };
    await seen(async () => (await stateOf()).includes('ServiceEntry/shop/api/192.0.2.7'));
    server.set('api.example', '192.0.2.8');
    await seen(async () => (await stateOf()).includes('ServiceEntry/shop/api/192.0.2.8'), 30_000);
  });
});
