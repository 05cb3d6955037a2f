import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { WorkerHost } from '../../../../../lib/mesh/worker/worker-host.ts';
import { siblingModule } from '../../../../../lib/package-root.ts';
import { eventually } from '../../../ztunnel/support/streams.ts';
import type { ToyFromWorker, ToyRequests, ToyToWorker } from './toy-worker.ts';

type Told = Extract<ToyFromWorker, { readonly type: 'told' }>;

describe('lib/mesh/worker/worker-host', () => {
  let host: WorkerHost<ToyRequests, ToyToWorker, Told, { readonly load: number }>;
  let heard: unknown[];
  let failures: string[];

  beforeEach(() => {
    heard = [];
    failures = [];
    host = new WorkerHost(
      { module: siblingModule(import.meta.url, './toy-worker'), name: 'toy', start: {}, heapMb: 64 },
      {
        own: { told: ({ what }) => heard.push(['told', what]) },
        status: ({ load }) => heard.push(['status', load]),
        log: (level, message, fields) => heard.push(['log', level, message, fields]),
        certificateWanted: (identity) => heard.push(['certificate', identity]),
        stalled: (isStalled) => heard.push(['stalled', isStalled]),
        failed: (error) => failures.push(error.message),
      },
    );
  });
  afterEach(() => host.stop());

  it('tells the worker, and hands on what it tells, its own messages too', async () => {
    host.post({ type: 'say', what: 'x' });
    host.post({ type: 'first-state' });
    await eventually(() => heard.length === 5);
    assert.deepEqual(heard, [
      ['told', 'x'],
      ['status', 1],
      ['log', 'warn', 'x', { a: 1 }],
      ['certificate', 'x'],
      ['told', 'first-state'],
    ]);
  });

  it('brings each answer, or failure, to its question', async () => {
    const [a, failed, b] = [
      host.request('echo', 'a'),
      host.request('fail', 'why'),
      host.request('echo', 'b'),
    ];
    await assert.rejects(failed, /^Error: why$/);
    assert.deepEqual([await a, await b], ['a', 'b']);
  });

  it('drains, and says how many were cut', async () => {
    assert.equal(await host.drain(1_000), 2);
  });

  it('does not wait for the drain of a worker that ended', async () => {
    assert.equal(await host.drain(0), undefined);
  });

  for (const [how, says] of [
    ['exit', ['the connection worker ended with code 3']],
    ['throw', ['broken', 'the connection worker ended with code 1']],
  ] as const) {
    it(`fails what waits, and says that the worker ended, by ${how}`, async () => {
      await assert.rejects(host.request('end', how), /the connection worker ended/);
      await eventually(() => failures.length === says.length);
      assert.deepEqual(failures, says);
    });
  }

  it('is not a failure when it is stopped', async () => {
    const asked = host.request('echo', 'a');
    await asked;
    await host.stop();
    assert.deepEqual(failures, []);
  });
});
