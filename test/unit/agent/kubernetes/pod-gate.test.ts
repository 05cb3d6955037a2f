import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'mocha';
import type { Membership } from '../../../../agent/kubernetes/kubernetes-pod-source.ts';
import { PodGate } from '../../../../agent/kubernetes/pod-gate.ts';
import { newRecord, type PodRecord } from '../../../../agent/pod-record.ts';
import { FakeClock, FakeLog, pod as podSpec } from '../fakes.ts';

const HELD = { uid: 'uid-a', namespace: 'shop', name: 'a', labels: {}, hostNetwork: false, pid: 41 };
const NETNS = { fd: 9, inode: { dev: 4n, ino: 41n }, cookie: 41n };

describe('the gate that pods wait at until they are enrolled', () => {
  let clock: FakeClock;
  let membership: Membership;
  let records: Map<string, PodRecord>;
  let refused: string[];
  let gate: PodGate;

  beforeEach(() => {
    clock = new FakeClock();
    membership = { kind: 'member', uid: 'uid-a' };
    records = new Map();
    refused = [];
    gate = new PodGate({
      source: { membership: () => membership },
      records: () => records,
      clock,
      log: new FakeLog(),
      onRefused: (pod, reason) => refused.push(`${pod.name}: ${reason}`),
      netnsOf: (pid) => ({ dev: 4n, ino: BigInt(pid) }),
    });
  });

  function record(change: Partial<PodRecord>): void {
    records.set('uid-a', { ...newRecord(podSpec('a'), clock.now()), netns: NETNS, ...change });
  }

  /** Time goes on as long as the gate waits. */
  async function hold(pod = HELD, atMostMs = 1000): Promise<string> {
    let ended: string | undefined;
    gate.hold(pod, atMostMs).then(
      () => (ended = 'passed'),
      (error: Error) => (ended = error.message),
    );
    for (let turns = 0; ended === undefined && turns < 2000; turns += 1) {
      await new Promise(setImmediate);
      clock.advance(5);
    }
    return ended ?? 'held for ever';
  }

  it('lets a pod that is not in the mesh pass at once', async () => {
    membership = { kind: 'outside' };
    const began = clock.now();
    await gate.hold(HELD, 1000);
    assert.equal(clock.now(), began);
  });

  it("lets a pod on the node's network pass, whatever is known of it", async () => {
    membership = { kind: 'unknown', why: 'the API is away' };
    await gate.hold({ ...HELD, hostNetwork: true }, 1000);
  });

  it('lets a pod pass that the kernel redirects', async () => {
    record({ state: 'verified' });
    await gate.hold(HELD, 1000);
    assert.deepEqual(gate.counts, { passed: 1, refused: 0, heldMs: 0 });
  });

  it('holds a pod until the kernel redirects it', async () => {
    membership = { kind: 'unknown', why: 'the API has not told of the pod yet' };
    clock.after(50, () => (membership = { kind: 'member', uid: 'uid-a' }));
    clock.after(100, () => record({ state: 'waiting' }));
    clock.after(200, () => record({ state: 'verified' }));
    const began = clock.now();
    assert.equal(await hold(), 'passed');
    assert.ok(clock.now() - began >= 200 && gate.counts.heldMs >= 200);
  });

  const cases: [why: string, set: () => void, message: RegExp][] = [
    [
      'nobody knows',
      () => (membership = { kind: 'unknown', why: 'the API is away' }),
      /until it is in the mesh: the API is away$/,
    ],
    ['nobody found its namespace', () => undefined, /network namespace was not found yet/],
    [
      'it cannot be enrolled',
      () => record({ netns: undefined, problem: { code: 'X', message: 'no room for it' } }),
      /in the mesh: no room for it/,
    ],
    [
      'the kernel does not show it',
      () => record({ state: 'claimed' }),
      /the kernel does not redirect it yet/,
    ],
    [
      'the kernel redirects an earlier sandbox of it',
      () => record({ state: 'verified', netns: { ...NETNS, inode: { dev: 4n, ino: 40n } } }),
      /its new network namespace was not entered yet/,
    ],
  ];
  for (const [why, set, message] of cases) {
    it(`refuses a pod in time, with the reason: ${why}`, async () => {
      set();
      const began = clock.now();
      assert.match(await hold(HELD, 750), message);
      assert.ok(clock.now() - began < 800, `${clock.now() - began} ms`);
      assert.equal(refused.length, 1);
      assert.match(refused[0] ?? '', message);
      assert.equal(gate.counts.refused, 1);
    });
  }
});
