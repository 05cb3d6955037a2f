import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'mocha';
import { Reconciler, RESYNC_ADOPTED_MS, RESYNC_MS } from '../../../agent/reconciler.ts';
import type { PodRecord } from '../../../agent/pod-record.ts';
import { FakeClock, FakeHandover, FakeLog, FakeNode, FakeRedirection, FakeSource, pod } from './fakes.ts';

describe('reconciler', () => {
  let clock: FakeClock;
  let source: FakeSource;
  let node: FakeNode;
  let redirection: FakeRedirection;
  let handover: FakeHandover;
  let log: FakeLog;
  let reconciler: Reconciler;
  let enrolled: string[];

  function start(): void {
    const onEnrolled = ({ spec }: PodRecord): void => void enrolled.push(spec.name);
    reconciler = new Reconciler({ source, redirection, node, handover, clock, log, onEnrolled });
  }

  const state = (name: string): string | undefined => reconciler.records.get(`uid-${name}`)?.state;
  const problem = (name: string): string | undefined => reconciler.records.get(`uid-${name}`)?.problem?.code;
  const handedOver = (): string[] => [...handover.last.workloads.keys()];

  beforeEach(() => {
    clock = new FakeClock();
    source = new FakeSource();
    node = new FakeNode();
    redirection = new FakeRedirection();
    handover = new FakeHandover();
    log = new FakeLog();
    enrolled = [];
    node.netns.set('/run/netns/a', 7n);
    node.netns.set('/run/netns/b', 8n);
    start();
  });

  it('concludes nothing before the source was read: what is in force stays', () => {
    redirection.pods.set(9n, { cookie: 9n, ips: ['198.18.0.9'], steering: 'attached' });
    reconciler.reconcile();
    assert.deepEqual([...redirection.pods.keys()], [9n]);
    assert.equal(reconciler.passes, 0);
  });

  it('enrols what belongs in the mesh, after its listeners stand, and hands it over', () => {
    source.set(pod('a'), pod('b', { labels: { 'loam.dev/dataplane-mode': 'none' } }));
    reconciler.reconcile();
    assert.deepEqual(redirection.calls, ['enrol 7']);
    assert.equal(state('a'), 'verified');
    const record = reconciler.records.get('uid-a');
    assert.deepEqual(redirection.pods.get(7n)?.listeners, record?.listeners);
    assert.deepEqual(handedOver(), ['uid-a']);
    reconciler.reconcile();
    assert.deepEqual(redirection.calls, ['enrol 7'], 'nothing to do, nothing done');
  });

  it('tells the kernel where a pod is probed, and of a change', () => {
    source.set({ ...pod('a'), probePorts: [8080] });
    reconciler.reconcile();
    assert.deepEqual(redirection.probePorts.get(7n), [8080]);
    source.set(pod('a'));
    reconciler.reconcile();
    assert.deepEqual(redirection.probePorts.get(7n), []);
  });

  it('does not enrol a pod whose listeners cannot be made', () => {
    node.failListen = true;
    source.set(pod('a'));
    reconciler.reconcile();
    assert.deepEqual(redirection.calls, []);
    assert.equal(state('a'), 'waiting');
    node.failListen = false;
    clock.advance(RESYNC_MS);
    assert.equal(state('a'), 'verified');
    assert.equal(problem('a'), undefined);
  });

  it('tells of a pod that it enrols, and not again when it puts back what was lost', () => {
    source.set(pod('a'));
    reconciler.reconcile();
    assert.deepEqual(enrolled, ['a']);
    redirection.pods.clear();
    clock.advance(RESYNC_MS);
    assert.deepEqual(redirection.calls, ['enrol 7', 'enrol 7']);
    assert.deepEqual(enrolled, ['a'], 'what it is connected with now is the mesh’s');
  });

  it('repairs what was lost behind its back', () => {
    source.set(pod('a'));
    reconciler.reconcile();
    redirection.pods.clear();
    clock.advance(RESYNC_MS);
    assert.equal(state('a'), 'verified');
    redirection.pods.set(7n, { cookie: 7n, ips: ['198.18.0.1'], steering: 'missing' });
    clock.advance(RESYNC_MS);
    assert.deepEqual(redirection.calls, ['enrol 7', 'enrol 7', 'enrol 7']);
  });

  it('puts back, tells and counts what a pod has lost in the kernel, and follows its routes', () => {
    source.set(pod('a'));
    reconciler.reconcile();
    const repairs = (): Record<string, number> => reconciler.repairs;
    assert.deepEqual(repairs(), {}, 'a first enrolment repairs nothing');
    const lose = (lacks: string[], steering: 'attached' | 'missing' = 'attached'): void => {
      redirection.pods.set(7n, {
        cookie: 7n,
        ips: lacks.includes('pods') ? [] : ['198.18.0.1'],
        steering,
        lacks,
      });
      clock.advance(RESYNC_MS);
    };
    lose(['pods']);
    lose(['pod_uses', 'enrolled']);
    lose(['listeners']);
    lose([], 'missing');
    assert.deepEqual(redirection.calls, ['enrol 7', 'enrol 7', 'enrol 7', 'setListeners 7', 'enrol 7']);
    assert.deepEqual(repairs(), { pods: 1, pod_uses: 1, enrolled: 1, listeners: 1, sk_lookup: 1 });
    assert.equal(log.count('put back what somebody had taken away of a pod'), 5);
    redirection.detached.push('connect4');
    redirection.unguarded.push('eth0');
    clock.advance(RESYNC_MS);
    assert.equal(repairs()['connect4'], 1);
    assert.equal(repairs()['guard'], 1);
    assert.deepEqual(redirection.routed, Array(6).fill(7n), 'in every pass');
  });

  it('shows as claimed, and puts the listeners in again, what the kernel does not confirm', () => {
    source.set(pod('a'));
    reconciler.reconcile();
    redirection.problems.push({ cookie: 7n, message: 'it has no hbone listener' });
    clock.advance(RESYNC_MS);
    assert.equal(state('a'), 'claimed');
    assert.deepEqual(handedOver(), ['uid-a'], 'a doubt is no reason to end its connections');
    clock.advance(RESYNC_MS);
    assert.equal(redirection.calls.at(-1), 'setListeners 7');
    assert.equal(log.count('it has no hbone listener'), 1, 'logged once');
    redirection.problems.length = 0;
    clock.advance(RESYNC_MS);
    assert.equal(state('a'), 'verified');
  });

  it('takes over after a restart: other listeners, no gap', () => {
    redirection.pods.set(7n, { cookie: 7n, ips: ['198.18.0.1'], steering: 'attached' });
    source.set(pod('a'));
    reconciler.reconcile();
    assert.deepEqual(redirection.calls, [], 'those of the former agent serve until a proxy has the new ones');
    assert.equal(state('a'), 'verified');
    assert.deepEqual(handedOver(), ['uid-a']);
    handover.state = { state: 'acknowledged' };
    reconciler.progressed();
    clock.advance(RESYNC_ADOPTED_MS);
    assert.deepEqual(redirection.calls, ['setListeners 7']);
    assert.equal(state('a'), 'verified');
    handover.state = { state: 'no-proxy' };
    clock.advance(RESYNC_MS);
    assert.deepEqual(redirection.calls, ['setListeners 7'], 'its own stay');
  });

  it('holds connections itself where the proxy that had the former listeners is gone', () => {
    redirection.pods.set(7n, { cookie: 7n, ips: ['198.18.0.1'], steering: 'attached' });
    source.set(pod('a'));
    reconciler.reconcile();
    redirection.pods.set(7n, { cookie: 7n, ips: ['198.18.0.1'], steering: 'attached', lacks: ['listeners'] });
    clock.advance(RESYNC_ADOPTED_MS);
    assert.deepEqual(redirection.calls, ['setListeners 7']);
    assert.deepEqual(reconciler.repairs, {}, 'nobody took them away');
  });

  it('switches off what nobody wants, and leaves no descriptor open', () => {
    source.set(pod('a'), pod('b', { ips: ['198.18.0.2'] }));
    reconciler.reconcile();
    redirection.pods.set(9n, { cookie: 9n, ips: ['198.18.0.9'], steering: 'attached' });
    source.set(pod('b', { ips: ['198.18.0.2'] }));
    reconciler.reconcile();
    assert.deepEqual([...redirection.pods.keys()], [8n]);
    assert.deepEqual(handedOver(), ['uid-b']);
    source.set();
    reconciler.reconcile();
    assert.equal(redirection.pods.size, 0);
    assert.deepEqual([node.open.size, node.listeners.size], [0, 0]);
  });

  it('tries again when switching off fails, and says so meanwhile', () => {
    source.set(pod('a'));
    reconciler.reconcile();
    redirection.failing = 'unenrol';
    source.set();
    reconciler.reconcile();
    assert.match(reconciler.problems.join(), /cannot switch redirection of 198.18.0.1/);
    redirection.failing = undefined;
    clock.advance(RESYNC_MS);
    assert.deepEqual([redirection.pods.size, reconciler.problems.length], [0, 0]);
  });

  it('lets one bad pod fail by itself, with growing waits', () => {
    redirection.failing = 'enrol 7';
    source.set(pod('a'), pod('b', { ips: ['198.18.0.2'] }));
    reconciler.reconcile();
    assert.deepEqual([state('a'), state('b')], ['waiting', 'verified']);
    clock.advance(60_000);
    const tries = redirection.calls.filter((call) => call === 'enrol 7').length;
    assert.ok(tries > 5 && tries < 60, `${tries} tries in a minute`);
    assert.equal(log.count('refused by the test'), 1, 'logged once while it is the same');
    redirection.failing = undefined;
    clock.advance(RESYNC_MS * 2);
    assert.equal(state('a'), 'verified');
  });

  it('survives a kernel that cannot be read, without letting go of anything', () => {
    source.set(pod('a'));
    reconciler.reconcile();
    redirection.failing = 'enrolled';
    source.set();
    reconciler.reconcile();
    assert.match(reconciler.problems.join(), /enrolled: refused/);
    redirection.failing = undefined;
    clock.advance(RESYNC_MS);
    assert.deepEqual([redirection.pods.size, node.open.size, node.listeners.size], [0, 0, 0]);
  });

  it('closes nothing that a proxy may still be given, however the pass ends', () => {
    source.set(pod('a'));
    reconciler.reconcile();
    redirection.failing = 'enrolled';
    source.set();
    reconciler.reconcile();
    const given = handover.last.workloads.get('uid-a');
    assert.ok(given && node.open.has(given.netnsFd) && node.listeners.has(given.listeners.hbone));
  });

  it('makes new listeners for a pod that destroyed one, and hands them over', () => {
    source.set(pod('a'));
    reconciler.reconcile();
    const before = handover.last.workloads.get('uid-a');
    node.destroyed.add(before?.listeners.plaintext ?? 0);
    clock.advance(RESYNC_MS);
    const after = handover.last.workloads.get('uid-a');
    assert.notDeepEqual(after?.listeners, before?.listeners);
    assert.ok((after?.generation ?? 0) > (before?.generation ?? 0));
    assert.deepEqual(redirection.pods.get(7n)?.listeners, after?.listeners);
    assert.deepEqual([state('a'), node.listeners.size], ['verified', 3]);
  });

  it('has detached programs attached again, and goes on where that fails', () => {
    redirection.detached.push('connect4');
    redirection.failing = 'repair';
    source.set(pod('a'));
    reconciler.reconcile();
    assert.match(
      reconciler.problems.join(),
      /cannot put back what was detached or unpinned: repair: refused/,
    );
    assert.equal(state('a'), 'verified');
    redirection.failing = undefined;
    clock.advance(RESYNC_MS);
    assert.deepEqual(reconciler.problems, []);
    assert.equal(log.count('"what":"connect4"'), 1);
  });

  it('has a guard put back that somebody took away, and leaves out a pod that wants none', () => {
    source.set(pod('a'));
    reconciler.reconcile();
    assert.deepEqual(reconciler.records.get('uid-a')?.guard?.guarded, [{ name: 'eth0', by: 'tcx' }]);
    assert.deepEqual(redirection.guards.get(7n), 'on');
    redirection.unguarded.push('eth0');
    clock.advance(RESYNC_MS);
    assert.equal(log.count('"device":"eth0"'), 1);
    source.set(pod('a', { annotations: { 'loam.dev/guard': 'none' } }));
    reconciler.reconcile();
    assert.equal(reconciler.records.get('uid-a')?.guard, undefined);
    assert.deepEqual(redirection.guards.get(7n), 'none');
  });

  it('waits for a namespace that is not there yet', () => {
    node.netns.delete('/run/netns/a');
    source.set(pod('a'));
    reconciler.reconcile();
    assert.equal(problem('a'), 'NETNS_MISSING');
    assert.deepEqual([...handover.last.keep], ['uid-a']);
    node.netns.set('/run/netns/a', 7n);
    clock.advance(RESYNC_MS);
    assert.equal(state('a'), 'verified');
    assert.equal(handover.last.keep.size, 0);
  });

  it('cleans up when the namespace is deleted under it', () => {
    source.set(pod('a'));
    reconciler.reconcile();
    node.netns.delete('/run/netns/a');
    clock.advance(RESYNC_MS);
    assert.deepEqual([state('a'), problem('a')], ['waiting', 'NETNS_MISSING']);
    assert.deepEqual([redirection.pods.size, node.open.size, node.listeners.size], [0, 0, 0]);
    assert.deepEqual(handedOver(), []);
  });

  it('keeps a pod enrolled whose file is gone while processes live in the namespace', () => {
    source.set(pod('a'));
    reconciler.reconcile();
    node.netns.delete('/run/netns/a');
    node.inhabitants.set(7n, [4711]);
    clock.advance(RESYNC_MS);
    assert.deepEqual([problem('a'), redirection.pods.size], ['NETNS_LINGERS', 1]);
    assert.deepEqual(handedOver(), ['uid-a']);
    node.inhabitants.clear();
    clock.advance(RESYNC_MS);
    assert.equal(redirection.pods.size, 0);
  });

  it('moves to the namespace that replaced the first', () => {
    source.set(pod('a'));
    reconciler.reconcile();
    const before = handover.last.workloads.get('uid-a')?.generation ?? 0;
    node.netns.set('/run/netns/a', 17n);
    clock.advance(RESYNC_MS);
    assert.deepEqual([...redirection.pods.keys()], [17n]);
    assert.ok((handover.last.workloads.get('uid-a')?.generation ?? 0) > before);
    assert.equal(node.open.size, 1);
  });

  it('refuses a second pod in the same namespace, and lets it in when the first has gone', () => {
    source.set(pod('a'), pod('b', { netns: '/run/netns/a' }));
    reconciler.reconcile();
    assert.equal(problem('b'), 'NETNS_SHARED');
    source.set(pod('b', { netns: '/run/netns/a' }));
    clock.advance(1);
    reconciler.reconcile();
    assert.deepEqual([state('b'), node.open.size], ['verified', 1]);
    assert.deepEqual([...redirection.pods.keys()], [7n]);
  });

  it('follows a new address without a gap', () => {
    source.set(pod('a'));
    reconciler.reconcile();
    source.set(pod('a', { ips: ['198.18.0.99'] }));
    reconciler.reconcile();
    assert.deepEqual(redirection.calls, ['enrol 7', 'enrol 7']);
    assert.deepEqual(redirection.pods.get(7n)?.ips, ['198.18.0.99']);
  });

  it('enrols again a pod whose private sources somebody took away', () => {
    source.set(pod('a', { ips: ['198.18.0.1', 'fd00::1'] }));
    reconciler.reconcile();
    node.unrouted.add(7n);
    clock.advance(RESYNC_MS);
    node.unrouted.clear();
    clock.advance(RESYNC_MS);
    assert.deepEqual(
      redirection.calls.filter((call) => call.startsWith('enrol ')),
      ['enrol 7', 'enrol 7'],
    );
    assert.equal(state('a'), 'verified');
  });

  it('keeps in force, after a restart, what may be a pod that cannot be told just now', () => {
    redirection.pods.set(7n, { cookie: 7n, ips: ['198.18.0.1'], steering: 'attached' });
    redirection.pods.set(9n, { cookie: 9n, ips: ['198.18.0.9'], steering: 'attached' });
    node.netns.delete('/run/netns/a');
    source.set(pod('a'));
    reconciler.reconcile();
    assert.deepEqual([...redirection.pods.keys()], [7n], 'its address is a wanted pod’s');
    redirection.pods.set(7n, { cookie: 7n, ips: ['198.18.0.1'], steering: 'dead' });
    clock.advance(RESYNC_MS);
    assert.equal(redirection.pods.size, 0);
  });

  it('keeps in force, after a restart, what an unreadable entry of the source may stand for', () => {
    redirection.pods.set(9n, { cookie: 9n, ips: ['198.18.0.9'], steering: 'attached' });
    source.set(pod('a'));
    source.state = { ...source.state, complete: false };
    reconciler.reconcile();
    assert.deepEqual([...redirection.pods.keys()], [9n, 7n]);
    source.set();
    reconciler.reconcile();
    assert.deepEqual([...redirection.pods.keys()], [9n], 'what left by itself is let go of');
    source.state = { ...source.state, complete: true };
    reconciler.reconcile();
    assert.equal(redirection.pods.size, 0);
  });

  it('removes what is left in the kernel of namespaces that are not enrolled', () => {
    source.set(pod('a'));
    redirection.problems.push({ cookie: 99n, message: 'entries of a pod that is not enrolled' });
    reconciler.reconcile();
    assert.deepEqual(redirection.calls, ['enrol 7', 'unenrol 99']);
    assert.equal(state('a'), 'verified');
  });

  it('names processes that redirection does not cover, and problems of the whole', () => {
    node.uncovered.set(7n, [{ pid: 5, command: 'app', cgroup: '/..' }]);
    redirection.problems.push({ cookie: undefined, message: 'connect4: its link is detached' });
    source.set(pod('a'));
    reconciler.reconcile();
    assert.equal(reconciler.records.get('uid-a')?.uncovered[0]?.pid, 5);
    assert.deepEqual(reconciler.problems, ['connect4: its link is detached']);
  });

  it('does nothing any more after stop, and what is enrolled stays', () => {
    source.set(pod('a'));
    reconciler.reconcile();
    reconciler.stop();
    source.set();
    reconciler.trigger();
    clock.advance(60_000);
    assert.deepEqual([...redirection.pods.keys()], [7n]);
  });
});
