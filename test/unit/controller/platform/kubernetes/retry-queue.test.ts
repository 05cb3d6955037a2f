import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { RetryQueue } from '../../../../../controller/platform/kubernetes/retry-queue.ts';
import { SILENT, until } from '../../harness.ts';

describe('platform/kubernetes/retry-queue', () => {
  let stop: AbortController;
  let done: string[];

  beforeEach(() => {
    stop = new AbortController();
    done = [];
  });
  afterEach(() => stop.abort());

  function queue(work: (key: string) => Promise<void>, intervalMs?: number): RetryQueue {
    const options = { work, signal: stop.signal, log: SILENT };
    return new RetryQueue(intervalMs === undefined ? options : { ...options, intervalMs });
  }

  it('makes no storm of a key that is added as soon as it is done, and holds up no other for it', async () => {
    const keys: RetryQueue = queue((key) => {
      done.push(key);
      // As when somebody undoes at once what was done, and the watch tells of it.
      if (key === 'fought') setImmediate(() => keys.add('fought'));
      return Promise.resolve();
    }, 3_600_000);
    keys.add('fought');
    await until(() => done.length >= 5);
    for (let i = 0; i < 50; i += 1) {
      keys.add(`other ${i}`);
      keys.add('fought');
      await new Promise(setImmediate);
    }
    await until(() => done.includes('other 49'));
    assert.equal(done.filter((key) => key === 'fought').length, 5);
    assert.equal(done.length, 55);
  });

  it('does what had to wait when its time has come', async () => {
    const keys = queue((key) => Promise.resolve(void done.push(key)), 50);
    for (let i = 0; i < 20; i += 1) {
      keys.add('often');
      await new Promise(setImmediate);
    }
    await until(() => done.length > 5);
  });

  it('tries again what failed', async () => {
    const keys = queue((key) => {
      done.push(key);
      return done.length < 2 ? Promise.reject(new Error('not yet')) : Promise.resolve();
    });
    keys.add('failing');
    await until(() => done.length === 2);
  });

  it('does nothing more after its signal', async () => {
    const keys = queue((key) => Promise.resolve(void done.push(key)));
    stop.abort();
    keys.add('late');
    await new Promise(setImmediate);
    assert.deepEqual(done, []);
  });
});
