import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { PolicyStore } from '../../../../../lib/mesh/state/policy-store.ts';
import { waitForState } from '../../../../../lib/mesh/state/wait.ts';
import { policy } from './mesh.ts';

describe('policy store', () => {
  const target = (namespace: string, ...authorizationPolicies: string[]) => ({
    namespace,
    authorizationPolicies,
  });
  const names = (store: PolicyStore, to: ReturnType<typeof target>) =>
    store
      .applicable(to)
      .policies.map((p) => p.key)
      .sort();

  it('applies a policy to the mesh, its namespace, or those that list it', () => {
    const store = new PolicyStore();
    store.upsert(policy('root/mesh', { scope: 'global' }));
    store.upsert(policy('shop/all'));
    store.upsert(policy('shop/some', { scope: 'workload' }));
    assert.deepEqual(names(store, target('shop')), ['root/mesh', 'shop/all']);
    assert.deepEqual(names(store, target('shop', 'shop/some', 'shop/all')), [
      'root/mesh',
      'shop/all',
      'shop/some',
    ]);
    assert.deepEqual(names(store, target('other')), ['root/mesh']);
    assert.deepEqual(store.applicable(target('shop', 'shop/x', 'shop/x')).missing, ['shop/x']);
  });

  it('follows a change of scope and removal', () => {
    const store = new PolicyStore();
    store.upsert(policy('shop/p', { scope: 'global' }));
    store.upsert(policy('shop/p'));
    assert.deepEqual(names(store, target('other')), []);
    assert.deepEqual(names(store, target('shop')), ['shop/p']);
    store.remove('shop/p');
    store.remove('shop/never');
    assert.deepEqual(names(store, target('shop')), []);
    assert.equal(store.size, 0);
  });
});

describe('waiting for state', () => {
  const wait = (store: PolicyStore, ms: number, signal?: AbortSignal) =>
    waitForState([store], () => store.get('shop/p'), ms, signal);

  it('ends with what was found, at once or on a change', async () => {
    const store = new PolicyStore();
    const waiting = wait(store, 60_000);
    store.upsert(policy('shop/other'));
    store.upsert(policy('shop/p'));
    assert.equal((await waiting)?.key, 'shop/p');
    assert.equal((await wait(store, 0))?.key, 'shop/p');
  });

  it('ends with nothing when time or the signal says so', async () => {
    const store = new PolicyStore();
    assert.equal(await wait(store, 0), undefined);
    assert.equal(await wait(store, 5), undefined);
    const stop = new AbortController();
    const waiting = wait(store, 60_000, stop.signal);
    stop.abort();
    assert.equal(await waiting, undefined);
  });
});
