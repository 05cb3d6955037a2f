import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'mocha';
import { AddressDemand } from '../../../../ztunnel/on-demand/address-demand.ts';

const LONG_MS = 60_000;

describe('ztunnel/on-demand/address-demand', () => {
  let asked: string[];
  let forgotten: string[];
  let nowMs: number;
  let demand: AddressDemand;

  beforeEach(() => {
    asked = [];
    forgotten = [];
    nowMs = 0;
    demand = new AddressDemand({
      ask: (names) => asked.push(...names),
      forget: (names) => forgotten.push(...names),
      now: () => nowMs,
    });
  });

  it('asks once however many wait, and never again while it is followed', async () => {
    const all = Array.from({ length: 50 }, () => demand.whenTold('pod', '/198.18.0.1', LONG_MS));
    assert.deepEqual(asked, ['/198.18.0.1']);
    demand.told(['/198.18.0.9', '/198.18.0.1']);
    assert.deepEqual(new Set(await Promise.all(all)), new Set(['told']));
    assert.equal(await demand.whenTold('pod', '/198.18.0.1', 0), 'told');
    assert.deepEqual(asked, ['/198.18.0.1']);
  });

  it('is late without an answer, and takes one that comes afterwards', async () => {
    assert.equal(await demand.whenTold('pod', 'a/b', 1), 'late');
    demand.told(['a/b']);
    assert.equal(await demand.whenTold('pod', 'a/b', 1), 'told');
    assert.deepEqual(asked, ['a/b']);
  });

  it('forgets what nobody uses, sooner where it leads nowhere, and asks anew then', async () => {
    for (const name of ['used', 'idle', 'nowhere']) {
      const told = demand.whenTold('pod', name, LONG_MS);
      demand.told([name]);
      assert.equal(await told, 'told');
      demand.used(name, name === 'nowhere');
    }
    nowMs = 2 * 60_000;
    demand.used('used', false);
    demand.sweep();
    assert.deepEqual(forgotten, ['nowhere']);
    nowMs = 11 * 60_000;
    demand.sweep();
    assert.deepEqual(forgotten, ['nowhere', 'idle']);
    void demand.whenTold('pod', 'nowhere', 0);
    assert.deepEqual(asked.slice(3), ['nowhere']);
  });

  it('forgets nothing that somebody waits for', async () => {
    const waiting = demand.whenTold('pod', 'slow', LONG_MS);
    nowMs = 60 * 60_000;
    demand.sweep();
    assert.deepEqual(forgotten, []);
    demand.told(['slow']);
    assert.equal(await waiting, 'told');
  });

  it('lets a pod that dials every address neither fill it nor keep another pod from asking', async () => {
    const answers = Array.from({ length: 5_000 }, (_, i) =>
      demand.whenTold('hostile', `/10.0.${i >> 8}.${i & 255}`, 0),
    );
    const refused = (await Promise.all(answers)).filter((answer) => answer === 'too-many');
    assert.equal(asked.length, 500);
    assert.equal(refused.length, 4_500);
    const other = demand.whenTold('other', '/198.18.0.1', LONG_MS);
    demand.told(['/198.18.0.1']);
    assert.equal(await other, 'told');
    // It may go on, at a pace.
    nowMs = 1_000;
    for (let i = 0; i < 500; i += 1) void demand.whenTold('hostile', `/10.9.${i >> 8}.${i & 255}`, 0);
    assert.equal(asked.length, 601);
  });

  it('is bounded, and drops what leads nowhere for what may lead somewhere', async () => {
    for (let pod = 0; pod < 20; pod += 1)
      for (let i = 0; i < 500; i += 1) void demand.whenTold(`pod-${pod}`, `/${pod}/${i}`, 0);
    assert.equal(demand.size, 10_000);
    assert.equal(await demand.whenTold('last', 'new', 0), 'too-many');
    demand.told(['/3/3']);
    await new Promise((resolve) => setTimeout(resolve, 20));
    demand.used('/3/3', true);
    void demand.whenTold('last', 'new', 0);
    assert.deepEqual(forgotten, ['/3/3']);
    assert.equal(asked.at(-1), 'new');
    assert.equal(demand.size, 10_000);
  });
});
