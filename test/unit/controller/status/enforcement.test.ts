import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { Outcome } from '../../../../controller/compile/outcomes.ts';
import { withEnforcement } from '../../../../controller/status/enforcement.ts';
import type { ClientStream } from '../../../../controller/xds/service.ts';
import { ADDRESS_TYPE, EGRESS_TYPE, type TypeUrl } from '../../../../controller/xds/snapshot.ts';

const KEY = 'EgressPolicy/shop/p';
const OUTCOME: Outcome = { state: 'accepted', message: 'selects', compiledTo: [], conditions: [] };

function stream(
  node: string,
  types: Partial<Record<TypeUrl, number>>,
  changes: { nack?: string; since?: number } = {},
): ClientStream {
  return {
    principal: { kind: 'node', node },
    clientId: `ztunnel~${node}`,
    since: new Date(changes.since ?? 0),
    types: Object.entries(types).map(([typeUrl, ackedGeneration]) => ({
      typeUrl: typeUrl as TypeUrl,
      ackedGeneration,
      waitingForAck: false,
      ...(changes.nack !== undefined && { nack: changes.nack }),
    })),
  };
}

function enforced(nodes: readonly string[], streams: readonly ClientStream[], generation = 7) {
  const plan = { byNode: new Map(), enforcers: new Map([[KEY, new Set(nodes)]]) };
  const outcome = withEnforcement(new Map([[KEY, OUTCOME]]), plan, streams, generation).get(KEY);
  const [condition, ...more] = outcome?.conditions ?? [];
  assert.deepEqual(more, []);
  assert.equal(condition?.type, 'Enforced');
  return { condition, warnings: outcome?.warnings ?? [], message: outcome?.message };
}

const loam = { [ADDRESS_TYPE]: 7, [EGRESS_TYPE]: 7 };

describe('status/enforcement', () => {
  it('says that every node enforces it, when every one has the newest state', () => {
    const { condition, warnings } = enforced(
      ['b', 'a'],
      [stream('a', loam), stream('b', loam), stream('c', {})],
    );
    assert.deepEqual([condition.status, condition.reason], ['True', 'Enforced']);
    assert.equal(condition.message, 'enforced on a; enforced on b');
    assert.deepEqual(warnings, []);
  });

  it('names a node whose proxy did not ask for the rules, in condition, warning and message', () => {
    const { condition, warnings, message } = enforced(
      ['a', 'b'],
      [stream('a', loam), stream('b', { [ADDRESS_TYPE]: 7 })],
    );
    assert.deepEqual([condition.status, condition.reason], ['False', 'ProxyNotLoam']);
    assert.match(condition.message, /enforced on a; not enforced on b/);
    assert.match(warnings[0] ?? '', /not enforced on node b.*"ztunnel~b"/);
    assert.match(message ?? '', /^selects; not enforced on node b/);
  });

  it('tells apart who is away, who is behind, who has asked for nothing yet, and who refuses', () => {
    assert.equal(enforced(['a'], []).condition.reason, 'NotConnected');
    assert.equal(enforced(['a'], [stream('a', { ...loam, [EGRESS_TYPE]: 6 })]).condition.reason, 'Pending');
    assert.equal(enforced(['a'], [stream('a', {})]).condition.reason, 'Pending');
    const refusing = enforced(['a'], [stream('a', loam, { nack: 'it is odd' })]).condition;
    assert.equal(refusing.reason, 'Refused');
    assert.match(refusing.message, /refused by a.*it is odd/);
  });

  it('goes by the newest stream of a node', () => {
    const old = stream('a', { [ADDRESS_TYPE]: 7 }, { since: 1 });
    assert.equal(enforced(['a'], [stream('a', loam, { since: 2 }), old]).condition.reason, 'Enforced');
    assert.equal(enforced(['a'], [stream('a', loam), old]).condition.reason, 'ProxyNotLoam');
  });
});
