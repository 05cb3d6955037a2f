import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { Readiness } from '../../../lib/admin/readiness.ts';
import { addGates, type GateSources } from '../../../ztunnel/gates.ts';

type Zds = GateSources['zds'];

describe('ztunnel: readiness', () => {
  function blockedBy(zds: Zds): readonly string[] {
    const readiness = new Readiness();
    addGates(readiness, {
      config: { zds: '/run/loam/zds.sock', state: { from: 'file' } } as unknown as GateSources['config'],
      feed: () => undefined,
      heldInForce: () => false,
      zds,
      pods: { rows: () => [] },
      takeover: { serving: true, reason: 'accepts connections' },
      draining: () => false,
    });
    return readiness.report().blockedBy.filter((name) => name.startsWith('zds'));
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
});
