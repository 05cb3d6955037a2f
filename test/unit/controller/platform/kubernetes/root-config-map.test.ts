import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { pino } from 'pino';
import { RootConfigMap } from '../../../../../controller/platform/kubernetes/root-config-map.ts';

interface Applied {
  readonly metadata: { readonly name: string };
  readonly data: Readonly<Record<string, string>>;
}

describe('controller in Kubernetes: the roots as pods mount them', () => {
  function setUp(refuse: number, resyncMs?: number): { map: RootConfigMap; applied: [string, Applied][] } {
    const applied: [string, Applied][] = [];
    let left = refuse;
    const patch = <T>(path: string, body: unknown): Promise<T> => {
      if ((left -= 1) >= 0) return Promise.reject(new Error('the API server is away'));
      applied.push([path, body as Applied]);
      return Promise.resolve(body as T);
    };
    const log = pino({ level: 'silent' });
    const resync = resyncMs !== undefined && { resyncMs };
    return {
      map: new RootConfigMap({ client: { patch }, namespace: 'loam-system', log, ...resync }),
      applied,
    };
  }
  const until = async (holds: () => boolean): Promise<void> => {
    while (!holds()) await new Promise((resolve) => setTimeout(resolve, 10));
  };

  it('are applied under the name and key that the chart mounts, again when there are others', async () => {
    const { map, applied } = setUp(0);
    map.publish({ rootsPem: 'first' });
    await until(() => applied.length === 1);
    map.publish({ rootsPem: 'second' });
    await until(() => applied.length === 2);
    await map.close();
    for (const [path, { metadata }] of applied) {
      assert.equal(path, '/api/v1/namespaces/loam-system/configmaps/loam-ca-root-cert');
      assert.equal(metadata.name, 'loam-ca-root-cert');
    }
    assert.deepEqual(
      applied.map(([, { data }]) => data),
      [{ 'root-cert.pem': 'first' }, { 'root-cert.pem': 'second' }],
    );
  });

  it('are applied again and again, for whoever deleted or edited them', async () => {
    const { map, applied } = setUp(0, 5);
    map.publish({ rootsPem: 'first' });
    map.publish({ rootsPem: 'second' });
    await until(() => applied.length >= 4);
    await map.close();
    assert.deepEqual(
      new Set(applied.slice(-2).map(([, { data }]) => data['root-cert.pem'])),
      new Set(['second']),
    );
    const { length } = applied;
    await new Promise((resolve) => setTimeout(resolve, 30));
    assert.equal(applied.length, length);
  });

  it('are tried again while the API server is away, but not those that others have replaced, nor after the end', async () => {
    const { map, applied } = setUp(1);
    map.publish({ rootsPem: 'old' });
    await new Promise((resolve) => setImmediate(resolve));
    map.publish({ rootsPem: 'new' });
    await until(() => applied.length === 1);
    await map.close();
    assert.deepEqual(applied[0]?.[1].data, { 'root-cert.pem': 'new' });

    const away = setUp(Infinity);
    away.map.publish({ rootsPem: 'never' });
    await away.map.close();
    assert.equal(away.applied.length, 0);
  });
});
