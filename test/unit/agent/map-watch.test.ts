import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { MapWatch } from '../../../agent/map-watch.ts';
import { COUNTERS } from '../../../lib/linux/bpf/layout.ts';

describe('agent/map-watch', () => {
  const fill: Record<string, { entries: number; capacity: number }> = {};
  const counters: Record<string, number> = {};
  const lines: string[] = [];
  const say =
    (level: string) =>
    (fields: object, text: string): void =>
      void lines.push(`${level} ${JSON.stringify(fields)} ${text}`);
  const log = {
    info: say('info'),
    warn: say('warn'),
    error: say('error'),
  } as unknown as ConstructorParameters<typeof MapWatch>[1];
  const newWatch = (): MapWatch => new MapWatch({ fill: () => fill, stats: () => counters }, log);
  const told = (): string[] => lines.splice(0);

  it('names a map that is nearly full, once, and says when it has room again', () => {
    const watch = newWatch();
    const has = (entries: number): string[] => {
      fill['records'] = { entries, capacity: 1000 };
      watch.look(0);
      return told();
    };
    assert.deepEqual(has(899), []);
    assert.match(
      has(900).join('\n'),
      /^warn \{"map":"records","entries":900,"capacity":1000\}.*nearly full$/,
    );
    assert.deepEqual([has(1000), has(850)], [[], []]);
    assert.match(has(799).join('\n'), /^info .*room again$/);
    assert.deepEqual(has(799), []);
    delete fill['records'];
  });

  it('names the map for which connections are refused, and does not flood', () => {
    counters['recordsFull'] = 5;
    const watch = newWatch();
    watch.look(0);
    assert.deepEqual(told(), [], 'what was before is not told again');
    counters['recordsFull'] = 8;
    watch.look(2000);
    assert.match(
      told().join('\n'),
      /^error \{"map":"records","counter":"recordsFull","refused":3,"inAll":8\}/,
    );
    counters['recordsFull'] = 9;
    watch.look(4000);
    assert.deepEqual(told(), []);
    watch.look(62_000);
    assert.match(told().join('\n'), /"refused":1,"inAll":9/);
    watch.look(200_000);
    assert.deepEqual(told(), []);
    delete counters['recordsFull'];
  });

  it('knows the counters of refusals by the names that the kernel part has', () => {
    const watch = newWatch();
    for (const each of COUNTERS) counters[each] = 0;
    watch.look(0);
    for (const each of COUNTERS) counters[each] = 1;
    watch.look(1);
    const refusals = [
      'recordsFull',
      'recordCap',
      'refusedCap',
      'refusedStorage',
      'consumeStorageFailed',
      'refusedEntry',
    ];
    assert.deepEqual(
      told().map((line) => /"counter":"(\w+)"/.exec(line)?.[1]),
      refusals,
    );
  });
});
