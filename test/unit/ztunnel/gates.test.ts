import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { Readiness } from '../../../lib/admin/readiness.ts';
import { addGates, missingForTakeover, type GateSources } from '../../../ztunnel/gates.ts';

type Zds = GateSources['zds'];

describe('ztunnel: readiness', () => {
  function blockedBy(zds: Zds): readonly string[] {
    return readinessOf(zds, [])
      .report()
      .blockedBy.filter((name) => name.startsWith('zds'));
  }

  function readinessOf(zds: Zds, rows: readonly object[]): Readiness {
    const readiness = new Readiness();
    addGates(readiness, {
      config: { zds: '/run/loam/zds.sock', state: { from: 'file' } } as unknown as GateSources['config'],
      feed: () => undefined,
      heldInForce: () => false,
      zds,
      pods: { rows: () => rows as ReturnType<GateSources['pods']['rows']> },
      takeover: { serving: true, reason: 'accepts connections' },
      draining: () => false,
    });
    return readiness;
  }

  it('waits for what the first agent tells', () => {
    assert.deepEqual(blockedBy({ status: { state: 'connecting', lastError: undefined }, everLive: false }), [
      'zds-snapshot',
    ]);
    assert.deepEqual(blockedBy({ status: { state: 'snapshot' }, everLive: false }), ['zds-snapshot']);
    assert.deepEqual(blockedBy({ status: { state: 'live' }, everLive: true }), []);
  });

  it('stays while an agent is replaced: its pods are served on', () => {
    assert.deepEqual(
      blockedBy({ status: { state: 'connecting', lastError: undefined }, everLive: true }),
      [],
    );
    assert.deepEqual(blockedBy({ status: { state: 'snapshot' }, everLive: true }), []);
  });

  it('waits for pods that are about to be served; one that cannot be is said and keeps the others from nothing', () => {
    const listeners = (...states: object[]): { ready: boolean; reason: string } | undefined =>
      readinessOf(
        { status: { state: 'live' }, everLive: true },
        states.map((state, i) => ({ namespace: 'shop', name: `web-${i}`, state })),
      )
        .report()
        .gates.find(({ name }) => name === 'listeners');
    const served = { kind: 'served' };
    const failed = { kind: 'failed', error: 'ENOENT' };
    assert.equal(listeners(served, { kind: 'starting' })?.ready, false);
    assert.equal(listeners(served, failed, { kind: 'starting' })?.ready, false);
    assert.equal(listeners(served, failed)?.ready, true);
    assert.equal(listeners(served, failed)?.reason, '1 pods served, 1 cannot be, shop/web-1: ENOENT');
  });

  it('takes over without certificates of pods that nobody gave, and not without those of its own', () => {
    const identity = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'web' };
    const readiness = new Readiness();
    const missing = (account: string): string | undefined =>
      missingForTakeover(
        readiness,
        [{ identity: `spiffe://cluster.local/ns/shop/sa/${account}`, state: 'pending', users: 1 }],
        [{ identity }],
      );
    assert.equal(missing('expected'), undefined);
    assert.match(missing('web') ?? '', /certificate of .*\/web$/);
  });
});
