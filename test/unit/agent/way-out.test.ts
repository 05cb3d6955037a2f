import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'mocha';
import { Reconciler, RESYNC_MS } from '../../../agent/reconciler.ts';
import { LEAVE_MS } from '../../../agent/way-out.ts';
import { FakeClock, FakeHandover, FakeLog, FakeNode, FakeRedirection, FakeSource, pod } from './fakes.ts';

describe('a pod that leaves by its label', () => {
  const out = pod('a', { labels: { 'loam.dev/dataplane-mode': 'none' } });
  let clock: FakeClock;
  let source: FakeSource;
  let node: FakeNode;
  let redirection: FakeRedirection;
  let handover: FakeHandover;
  let reconciler: Reconciler;

  function start(): void {
    reconciler = new Reconciler({ source, redirection, node, handover, clock, log: new FakeLog() });
  }
  const state = (name: string): string | undefined => reconciler.records.get(`uid-${name}`)?.state;
  const handedOver = (): string[] => [...handover.last.workloads.keys()];

  beforeEach(() => {
    clock = new FakeClock();
    source = new FakeSource();
    node = new FakeNode();
    redirection = new FakeRedirection();
    handover = new FakeHandover();
    node.netns.set('/run/netns/a', 7n);
    start();
    source.set(pod('a'));
    reconciler.reconcile();
    redirection.calls.length = 0;
    source.set(out);
    reconciler.reconcile();
  });

  it('has plain networking at once, and is reached by its peers until they know', () => {
    assert.deepEqual(redirection.calls, ['leave 7']);
    assert.deepEqual([state('a'), handedOver(), redirection.pods.size], ['leaving', ['uid-a'], 1]);
    clock.advance(LEAVE_MS + RESYNC_MS);
    assert.deepEqual(redirection.calls, ['leave 7', 'unenrol 7']);
    assert.deepEqual([state('a'), handedOver()], [undefined, []]);
    assert.deepEqual([...handover.last.released], ['uid-a'], 'what it has open is not to be cut');
    assert.deepEqual([node.open.size, node.listeners.size], [0, 0]);
  });

  it('is forgotten when it ends', () => {
    clock.advance(LEAVE_MS + RESYNC_MS);
    source.set();
    reconciler.reconcile();
    assert.deepEqual([...handover.last.released], []);
  });

  it('stays when its label is back', () => {
    source.set(pod('a'));
    reconciler.reconcile();
    clock.advance(LEAVE_MS + RESYNC_MS);
    assert.deepEqual(redirection.calls, ['leave 7', 'stay 7']);
    assert.deepEqual([state('a'), handedOver(), [...handover.last.released]], ['verified', ['uid-a'], []]);
  });

  it('is cut from the mesh at once when it ends meanwhile', () => {
    source.set();
    reconciler.reconcile();
    assert.deepEqual(redirection.calls, ['leave 7', 'unenrol 7']);
    assert.deepEqual([...handover.last.released], []);
  });

  it('is taken for what its label says by an agent that finds it on its way out', () => {
    reconciler.stop();
    source.set(pod('a'));
    handover.state = { state: 'acknowledged' };
    start();
    reconciler.reconcile();
    assert.equal(redirection.pods.get(7n)?.leaving, false);
  });

  it('keeps the routes of its private sources as long as something goes on over them', () => {
    node.usingSources.add(7n);
    clock.advance(LEAVE_MS + RESYNC_MS);
    assert.deepEqual(redirection.calls, ['leave 7', 'unenrol 7, but its routes']);
    assert.deepEqual([node.unrouted.size, node.open.size], [0, 1]);
    node.usingSources.clear();
    clock.advance(RESYNC_MS);
    assert.deepEqual([[...node.unrouted], node.open.size], [[7n], 0]);
  });
});
