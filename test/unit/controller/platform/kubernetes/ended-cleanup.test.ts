import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { pino } from 'pino';
import { EndedCleanup } from '../../../../../controller/platform/kubernetes/ended-cleanup.ts';
import { KubeApiError } from '../../../../../lib/kubernetes/errors.ts';

const FOLDER = '/apis/apps/v1/namespaces/loam-system/daemonsets';
const absent = (path: string): KubeApiError =>
  new KubeApiError('KUBE_STATUS', `${path}: 404`, { status: 404, path });

describe('controller in Kubernetes: an uninstall that was begun and not ended', () => {
  /** @param there DaemonSets that are there @returns what was deleted after some looks */
  async function deleted(there: Map<string, object>): Promise<[path: string, options: object][]> {
    const done: [string, object][] = [];
    let looks = 0;
    const stop = new AbortController();
    const several = Promise.withResolvers<void>();
    const client = {
      get: <T>(path: string): Promise<T> => {
        if (path.endsWith('cleanup') && (looks += 1) === 4) several.resolve();
        const metadata = there.get(path.slice(FOLDER.length + 1));
        return metadata === undefined ? Promise.reject(absent(path)) : Promise.resolve({ metadata } as T);
      },
      delete: <T>(path: string, options = {}): Promise<T> => {
        done.push([path, options]);
        there.delete(path.slice(FOLDER.length + 1));
        return Promise.resolve({} as T);
      },
    };
    new EndedCleanup({ client, namespace: 'loam-system', log: pino({ level: 'silent' }), lookMs: 1 }).run(
      stop.signal,
    );
    await several.promise;
    stop.abort();
    return done;
  }
  const cleanup = { name: 'loam-cleanup', uid: 'u', resourceVersion: '7' };

  it('is taken away where agents are installed, and only as it was seen', async () => {
    const there = new Map<string, object>([
      ['loam-cleanup', cleanup],
      ['loam-agent', { name: 'loam-agent' }],
    ]);
    assert.deepEqual(await deleted(there), [
      [
        `${FOLDER}/loam-cleanup`,
        { propagationPolicy: 'Background', preconditions: { uid: 'u', resourceVersion: '7' } },
      ],
    ]);
  });

  it('is left alone while it goes on: the agents are gone, or about to go', async () => {
    assert.deepEqual(await deleted(new Map([['loam-cleanup', cleanup]])), []);
    const ending = { name: 'loam-agent', deletionTimestamp: '2026-01-01T00:00:00Z' };
    assert.deepEqual(
      await deleted(
        new Map<string, object>([
          ['loam-cleanup', cleanup],
          ['loam-agent', ending],
        ]),
      ),
      [],
    );
  });
});
