import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'mocha';
import { ConnectionRegistry } from '../../../../ztunnel/proxy/connection-registry.ts';
import { CONNECTION_BYTES, MemoryRelief } from '../../../../ztunnel/proxy/memory-relief.ts';

const MB = 2 ** 20;

describe('ztunnel/proxy/memory-relief', () => {
  let registry: ConnectionRegistry;
  let limit: number;
  /** By pod: what each connection held that was cut. */
  let cut: Record<string, number[]>;
  let told: [string, number][];
  let relief: MemoryRelief;

  beforeEach(() => {
    registry = new ConnectionRegistry();
    limit = 100 * MB;
    [cut, told] = [{}, []];
    relief = new MemoryRelief({
      registry,
      limit: () => limit,
      onCut: (pod, connections) => void told.push([pod, connections]),
    });
  });

  function open(podUid: string, ...held: number[]): void {
    for (const heldBytes of held) {
      const leave = registry.register({
        podUid,
        direction: 'outbound',
        heldBytes,
        recheck: () => undefined,
        terminate: (error) => {
          assert.equal(error.code, 'MEMORY_SCARCE');
          (cut[podUid] ??= []).push(heldBytes);
          leave();
        },
        describe: () => assert.fail('not asked for'),
      });
    }
  }
  const idle = (count: number): number[] => Array<number>(count).fill(CONNECTION_BYTES);

  it('gives a pod a connection for those of the greediest in which most waits', () => {
    open('hog', ...idle(10), 4 * MB, 9 * MB, 3 * MB);
    open('other', MB);
    assert.equal(relief.makeRoomFor('new'), true);
    assert.deepEqual(cut, { hog: [9 * MB] });
    assert.deepEqual(told, [['hog', 1]]);
  });

  it('takes as many as make room where nothing waits in any', () => {
    open('hog', ...idle(5_000));
    assert.equal(relief.makeRoomFor('new'), true);
    assert.equal(cut['hog']?.length, 16);
  });

  it('gives nothing to the greediest, however it asks', () => {
    open('hog', ...idle(5_000));
    open('other', ...idle(10));
    for (let i = 0; i < 100; i += 1) assert.equal(relief.makeRoomFor('hog'), false);
    assert.deepEqual(cut, {});
  });

  it('goes no further than an equal part for each, and ends there', () => {
    open('hog', ...idle(1_000));
    let given = 0;
    while (relief.makeRoomFor('new')) given += 1;
    const left = 1_000 - (cut['hog']?.length ?? 0);
    assert.ok(given > 0 && left >= given, `${given} given, ${left} left`);
    assert.equal(relief.makeRoomFor('hog'), false, 'nor is the other cut for it');
    assert.equal(cut['new'], undefined);
  });

  it('cuts nobody where no pod holds much of what is scarce', () => {
    open('some', 4 * MB, 5 * MB);
    assert.equal(relief.makeRoomFor('new'), false);
    limit = 80 * MB;
    assert.equal(relief.makeRoomFor('new'), true);
  });

  it('cuts nobody for the only pod of a node', () => {
    open('hog', 50 * MB);
    assert.equal(relief.makeRoomFor('hog'), false);
    assert.deepEqual(cut, {});
  });
});
