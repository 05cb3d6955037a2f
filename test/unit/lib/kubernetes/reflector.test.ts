import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { pino } from 'pino';
import { KubeClient } from '../../../../lib/kubernetes/client.ts';
import { Reflector, type ReflectorOptions } from '../../../../lib/kubernetes/reflector.ts';
import type { KubeResource } from '../../../../lib/kubernetes/resource.ts';
import { FakeKubeApi } from '../../../support/fake-kube-api.ts';
import { until } from './until.ts';

const PODS = '/api/v1/pods';
const THINGS = '/apis/loam.dev/v1/things';
const TIMES = {
  silenceMs: 60_000,
  watchMs: 60_000,
  absentMs: 20,
  vanishedMs: 60_000,
  retryMs: 5,
  maxRetryMs: 50,
};

function pod(name: string, extra: object = {}) {
  return { metadata: { name, namespace: 'shop' }, ...extra };
}

describe('kubernetes/reflector', () => {
  let api: FakeKubeApi;
  let client: KubeClient;
  let changes: string[];
  let syncs: number;
  const running: Reflector[] = [];

  beforeEach(async () => {
    api = await FakeKubeApi.start();
    api.serve(PODS);
    client = new KubeClient(api.access, { timeoutMs: 5_000 });
    changes = [];
    syncs = 0;
  });
  afterEach(async () => {
    await Promise.all(running.splice(0).map((reflector) => reflector.close()));
    client.close();
    await api[Symbol.asyncDispose]();
  });

  function follow(options: Partial<ReflectorOptions<KubeResource>> & { path?: string } = {}): Reflector {
    const reflector = new Reflector({
      client,
      path: PODS,
      log: pino({ level: 'silent' }),
      onChange: (key, now, before) =>
        changes.push(`${before === undefined ? '+' : now === undefined ? '-' : '~'}${key}`),
      onSync: () => (syncs += 1),
      ...options,
      times: { ...TIMES, ...options.times },
    });
    running.push(reflector);
    reflector.start();
    return reflector;
  }

  async function watching(path = PODS): Promise<void> {
    await until(() => api.watchers(path) === 1);
  }

  const lists = (): number =>
    api.requests.filter((line) => !line.includes('watch=') && line.includes(PODS)).length;
  const watches = (): string[] => api.requests.filter((line) => line.includes('watch=true'));

  it('lists in pages, then follows what is added, changed and deleted', async () => {
    for (let i = 0; i < 7; i += 1) api.put(PODS, pod(`p${i}`));
    const reflector = follow({ pageSize: 3, query: { fieldSelector: 'spec.nodeName=n1' } });
    assert.equal(reflector.synced, false);
    await watching();
    assert.equal(reflector.synced, true);
    assert.equal(syncs, 1);
    assert.equal(reflector.objects.size, 7);
    assert.equal(lists(), 3);
    assert(api.requests.every((line) => line.includes('fieldSelector=spec.nodeName%3Dn1')));
    assert.match(watches()[0] ?? '', /allowWatchBookmarks=true/);
    changes = [];
    api.put(PODS, pod('new'));
    api.put(PODS, pod('p1', { spec: { nodeName: 'n1' } }));
    api.remove(PODS, 'shop/p2');
    await until(() => changes.length === 3);
    assert.deepEqual(changes, ['+shop/new', '~shop/p1', '-shop/p2']);
    assert.deepEqual(
      [...reflector.objects.keys()].sort(),
      ['new', 'p0', 'p1', 'p3', 'p4', 'p5', 'p6'].map((n) => `shop/${n}`),
    );
    assert.equal(reflector.problem, undefined);
  });

  it('keeps what `pick` says, and no more', async () => {
    api.put(PODS, pod('a', { spec: { nodeName: 'n1', containers: [] } }));
    const reflector = follow({ pick: ({ metadata }) => ({ metadata }) });
    await watching();
    assert.deepEqual(Object.keys(reflector.objects.get('shop/a') ?? {}), ['metadata']);
  });

  it('goes on after the end of a watch from where the last bookmark stood, without a list', async () => {
    api.put(PODS, pod('a'));
    follow();
    await watching();
    api.serve(THINGS);
    api.put(THINGS, { metadata: { name: 'elsewhere' } });
    api.bookmark(PODS);
    api.endWatches();
    await until(() => watches().length === 2);
    await watching();
    assert.match(watches()[1] ?? '', /resourceVersion=102/);
    api.put(PODS, pod('b'));
    await until(() => changes.includes('+shop/b'));
    assert.equal(lists(), 1);
  });

  it('lists anew after 410, tells only what differs, and calls it no problem', async () => {
    for (const name of ['a', 'b', 'c']) api.put(PODS, pod(name));
    const reflector = follow();
    await watching();
    changes = [];
    api.say(
      PODS,
      JSON.stringify({
        type: 'ERROR',
        object: { kind: 'Status', code: 410, reason: 'Expired', message: 'too old' },
      }),
    );
    await until(() => syncs === 2);
    assert.deepEqual(changes, []);
    await watching();
    // While it was away: changes and a deletion, whose history is no more.
    api.freeze(true);
    api.cut();
    api.put(PODS, pod('b', { spec: {} }));
    api.remove(PODS, 'shop/c');
    api.put(PODS, pod('d'));
    api.compact();
    api.freeze(false);
    await until(() => syncs >= 3 && reflector.problem === undefined);
    assert.deepEqual(changes.sort(), ['+shop/d', '-shop/c', '~shop/b']);
    api.failures.push({ status: 410, body: '{"reason":"Expired"}' });
    api.endWatches();
    await until(() => api.watchers(PODS) === 1 && syncs >= 4);
  });

  it('lists anew when the list itself grows too old', async () => {
    for (let i = 0; i < 4; i += 1) api.put(PODS, pod(`p${i}`));
    api.failures.push(
      {
        status: 200,
        body: JSON.stringify({
          metadata: { resourceVersion: '1', continue: 'x' },
          items: [pod('p0'), pod('ghost')],
        }),
      },
      { status: 410, body: '{"reason":"Expired"}' },
    );
    const reflector = follow();
    await until(() => reflector.synced);
    assert.deepEqual(changes, ['+shop/p0', '+shop/p1', '+shop/p2', '+shop/p3']);
  });

  it('asks for smaller pages where one is too large', async () => {
    for (let i = 0; i < 8; i += 1) api.put(PODS, pod(`p${i}`, { spec: { text: 'x'.repeat(1000) } }));
    client.close();
    client = new KubeClient(api.access, { maxBytes: 4000 });
    const reflector = follow({ pageSize: 8 });
    await until(() => reflector.synced);
    assert.equal(reflector.objects.size, 8);
  });

  it('holds what it knows while the server is away, says so, and catches up', async () => {
    api.put(PODS, pod('a'));
    api.put(PODS, pod('b'));
    const reflector = follow();
    await watching();
    changes = [];
    const { port } = api;
    await api.stop();
    await until(() => /ECONNREFUSED|no answer/.test(reflector.problem ?? ''));
    assert.equal(reflector.synced, true);
    assert.equal(reflector.objects.size, 2);
    api.remove(PODS, 'shop/a');
    await api.listen(port);
    await until(() => reflector.problem === undefined && changes.includes('-shop/a'));
    assert.deepEqual(changes, ['-shop/a']);
  });

  it('notices a connection that died without a word', async () => {
    api.put(PODS, pod('a'));
    const reflector = follow({ times: { silenceMs: 100 } });
    await watching();
    await until(() => syncs >= 2);
    assert.equal(reflector.problem, undefined, 'a collection in which nothing happens is silent too');
    // Bytes, be they a bookmark's, are a sign of life.
    api.freeze(true);
    client.close();
    await until(() => reflector.problem !== undefined);
    assert.equal(reflector.objects.size, 1);
  });

  it('outlives lines and objects that make no sense', async () => {
    api.put(PODS, pod('a'));
    api.put(PODS, pod('b'));
    const reflector = follow({
      pick: (object) => {
        if ('bad' in object) throw new Error('it is bad');
        return object;
      },
    });
    let expected = 1;
    for (const line of [
      '{"type":"ADDED","obj',
      'null',
      '{"type":"NEWS"}',
      '{"type":"ADDED","object":{"metadata":{}}}',
      '[]',
    ]) {
      await until(() => syncs === expected && api.watchers(PODS) === 1);
      api.say(PODS, line);
      expected += 1;
    }
    await until(() => syncs === expected && api.watchers(PODS) === 1);
    assert.deepEqual(changes, ['+shop/a', '+shop/b']);
    api.put(PODS, pod('a', { bad: true }));
    await until(() => /shop\/a is malformed: it is bad/.test(reflector.problem ?? ''));
    // What was known of it stays, also through a new list.
    api.cut();
    await until(() => syncs === expected + 1);
    assert.deepEqual([...reflector.objects.keys()], ['shop/a', 'shop/b']);
    assert.match(reflector.problem ?? '', /malformed/);
    api.put(PODS, pod('a'));
    await until(() => reflector.problem === undefined);
    api.put(PODS, pod('b', { bad: true }));
    await until(() => reflector.problem !== undefined);
    api.remove(PODS, 'shop/b');
    await until(() => reflector.problem === undefined && !reflector.objects.has('shop/b'));
  });

  it('is not ended by a listener that throws', async () => {
    const reflector = follow({
      onChange: () => {
        throw new Error('a bug');
      },
    });
    await watching();
    api.put(PODS, pod('a'));
    api.put(PODS, pod('b'));
    await until(() => reflector.objects.size === 2);
  });

  it('takes a kind that the cluster does not know for empty, and finds it when it comes', async () => {
    const reflector = follow({ path: THINGS });
    await until(() => reflector.synced);
    assert.equal(reflector.objects.size, 0);
    assert.equal(reflector.problem, undefined);
    api.serve(THINGS);
    api.put(THINGS, { metadata: { name: 'x' } });
    await until(() => reflector.objects.has('x'));
  });

  it('does not take a server that starts for one that knows no such kind', async () => {
    api.ready = false;
    const reflector = follow({ path: THINGS });
    await until(() => reflector.problem !== undefined);
    assert.equal(reflector.synced, false);
    api.ready = true;
    await until(() => reflector.synced);
  });

  it('keeps what was in force when a kind vanishes without its objects being deleted, for a while', async () => {
    api.serve(THINGS);
    api.put(THINGS, { metadata: { name: 'x' } });
    const reflector = follow({ path: THINGS, times: { vanishedMs: 300 } });
    await watching(THINGS);
    api.unserve(THINGS);
    await until(() => /does not know the kind any more/.test(reflector.problem ?? ''));
    assert(reflector.objects.has('x'));
    await until(() => !reflector.objects.has('x') && reflector.problem === undefined);
  });

  it('waits as long as a busy server asks', async () => {
    api.failures.push({ status: 429, body: '', headers: { 'retry-after': '1' } });
    const before = performance.now();
    const reflector = follow();
    await until(() => reflector.synced);
    assert(performance.now() - before > 900);
  });

  it('closes while it waits, while it lists and while it watches', async () => {
    api.freeze(true);
    const reflector = follow();
    await until(() => api.requests.length === 1);
    await reflector.close();
    assert.equal(reflector.synced, false);
    api.freeze(false);
    const second = follow({ path: THINGS, times: { absentMs: 60_000 } });
    await until(() => second.synced);
    await second.close();
    const third = follow();
    await watching();
    await third.close();
    await until(() => api.watchers(PODS) === 0);
  });
});
