import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { PeerBudget } from '../../../../../lib/mesh/hbone/peer-budget.ts';
import { Turn } from '../../../../../lib/mesh/hbone/turn.ts';

/** A turn of the event loop that lasts until it is moved. */
class HeldTurn extends Turn {
  at = 0;

  override get startMs(): number {
    return this.at;
  }
}

describe('lib/mesh/hbone/peer-budget', () => {
  function spendAll(budget: PeerBudget, peer: string): number {
    let spent = 0;
    while (budget.spend(peer)) spent += 1;
    return spent;
  }

  it('lets a peer waste 500 at once, and each peer by itself', () => {
    const budget = new PeerBudget(new HeldTurn());
    assert.equal(spendAll(budget, 'a'), 500);
    assert.ok(budget.isSpent('a'));
    assert.ok(!budget.isSpent('b'));
    assert.equal(spendAll(budget, 'b'), 500);
  });

  it('serves a peer that went over again when half of it is back', () => {
    const turn = new HeldTurn();
    const budget = new PeerBudget(turn);
    spendAll(budget, 'a');
    turn.at += 249;
    assert.ok(budget.isSpent('a'));
    turn.at += 1;
    assert.ok(!budget.isSpent('a'));
    assert.equal(spendAll(budget, 'a'), 250);
  });

  it('never bothers one that wastes 500 each second', () => {
    const turn = new HeldTurn();
    const budget = new PeerBudget(turn);
    for (let second = 0; second < 20; second += 1) {
      for (let i = 0; i < 500; i += 1) assert.ok(budget.spend('a'));
      turn.at += 1_000;
    }
  });

  it('takes the whole rest of one that wastes more than it has', () => {
    const budget = new PeerBudget(new HeldTurn());
    assert.ok(budget.spend('a', 495));
    assert.ok(!budget.spend('a', 10));
    assert.ok(!budget.spend('a'));
  });

  it('lets a peer owe what it wasted before it was noticed, up to ten seconds', () => {
    const turn = new HeldTurn();
    const budget = new PeerBudget(turn);
    assert.ok(!budget.spend('a', 1_501));
    turn.at += 1_249;
    assert.ok(budget.isSpent('a'));
    turn.at += 1;
    assert.ok(!budget.isSpent('a'));
    for (let i = 0; i < 5; i += 1) budget.spend('b', 1_000_000);
    turn.at += 10_249;
    assert.ok(budget.isSpent('b'));
    turn.at += 1;
    assert.ok(!budget.isSpent('b'));
  });

  it('does not forget one that owes', () => {
    const turn = new HeldTurn();
    const budget = new PeerBudget(turn);
    budget.spend('debtor', 10_500);
    for (let i = 0; i < 5_000; i += 1) {
      turn.at += 1;
      budget.spend(`198.18.${i >> 8}.${i & 255}`);
    }
    assert.ok(budget.size <= 2_048, String(budget.size));
    assert.ok(budget.isSpent('debtor'));
  });

  it('forgets peers whose budget is whole again', () => {
    const turn = new HeldTurn();
    const budget = new PeerBudget(turn);
    for (let i = 0; i < 20_000; i += 1) {
      turn.at += 1;
      budget.spend(`198.18.${i >> 8}.${i & 255}`);
    }
    assert.ok(budget.size <= 2_048, String(budget.size));
  });
});

describe('lib/mesh/hbone/turn', () => {
  it('is the same until something else had its turn', async () => {
    const turn = new Turn();
    const [number, startMs] = [turn.number, turn.startMs];
    await Promise.resolve();
    await new Promise<void>((resolve) => process.nextTick(resolve));
    assert.deepEqual([turn.number, turn.startMs], [number, startMs]);
    await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => setImmediate(resolve));
    assert.notEqual(turn.number, number);
  });
});
