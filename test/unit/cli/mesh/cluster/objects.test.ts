import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { ApiError } from '../../../../../cli/install/cluster/api.ts';
import { ClusterObjects } from '../../../../../cli/mesh/cluster/objects.ts';

describe('objects of a cluster, by rights', () => {
  /** An API server that lets one list these paths alone. */
  function server(allowed: Readonly<Record<string, readonly string[]>>): {
    readonly api: ConstructorParameters<typeof ClusterObjects>[0];
    readonly asked: string[];
  } {
    const asked: string[] = [];
    return {
      asked,
      api: {
        list: <T>(path: string): Promise<T[]> => {
          asked.push(path);
          const found = allowed[path];
          if (found === undefined) return Promise.reject(new ApiError(403, `GET ${path}: 403 forbidden`));
          return Promise.resolve([...found] as T[]);
        },
      },
    };
  }

  it('are all of them where the user may list all, asked for once', async () => {
    const { api, asked } = server({ '/api/v1/pods': ['a', 'b'] });
    const objects = new ClusterObjects(api, ['shop']);
    assert.deepEqual(await objects.list('v1/Pod'), ['a', 'b']);
    assert.deepEqual(await objects.list('v1/Pod'), ['a', 'b']);
    assert.deepEqual([asked, objects.missing], [['/api/v1/pods'], []]);
  });

  it('are those of the namespaces in which the user may, and the rest is said to be left out', async () => {
    const { api } = server({ '/api/v1/namespaces/shop/pods': ['a'] });
    const objects = new ClusterObjects(api, ['shop', 'loam-system']);
    assert.deepEqual(await objects.list('v1/Pod'), ['a']);
    assert.deepEqual(objects.missing, [
      'you have no right to list pods in all namespaces: only those of shop are shown',
    ]);
    assert.deepEqual(await objects.list('v1/Namespace'), []);
    assert.deepEqual(await objects.list('v1/Service'), []);
    assert.deepEqual(objects.missing.slice(1), [
      'you have no right to list namespaces',
      'you have no right to list services, neither in all namespaces nor in shop and loam-system; another namespace: -n',
    ]);
  });

  it('have one line for all kinds of which the same is left out', async () => {
    const objects = new ClusterObjects(server({ '/api/v1/namespaces/shop/pods': ['a'] }).api, ['shop']);
    for (const kind of ['v1/Service', 'v1/Namespace', 'v1/Pod', 'v1/Secret', 'v1/Event', 'v1/Node'])
      await objects.list(kind);
    const rest = 'neither in all namespaces nor in shop; another namespace: -n';
    assert.deepEqual(objects.missing, [
      `you have no right to list events, secrets and services, ${rest}`,
      'you have no right to list namespaces and nodes',
      'you have no right to list pods in all namespaces: only those of shop are shown',
    ]);
    assert.equal(objects.missingFor('v1/Secret'), `you have no right to list secrets, ${rest}`);
    assert.equal(objects.missingFor('v1/ConfigMap'), undefined);
  });

  it('are an error where it is no matter of rights', async () => {
    const api = { list: () => Promise.reject(new ApiError(0, 'the API server does not answer')) };
    await assert.rejects(new ClusterObjects(api, ['shop']).list('v1/Pod'), /does not answer/);
  });
});
