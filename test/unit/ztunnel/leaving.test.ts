import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, it } from 'mocha';
import { untilAgentHolds } from '../../../ztunnel/leaving.ts';

describe('ztunnel/leaving: a ztunnel that was asked to end', () => {
  /** Whether it has begun to leave, after some turns. */
  function leaving(sources: { serving: boolean; agentHolds: boolean; pods: number }, limitMs: number) {
    let left = false;
    const done = untilAgentHolds(
      { serving: () => sources.serving, agentHolds: () => sources.agentHolds, pods: () => sources.pods },
      limitMs,
    ).then(() => (left = true));
    return { done, left: () => left };
  }

  it('serves on while no agent holds the listeners, and leaves once one does', async () => {
    const sources = { serving: true, agentHolds: false, pods: 1 };
    const { done, left } = leaving(sources, 60_000);
    await sleep(1_500);
    assert.equal(left(), false);
    sources.agentHolds = true;
    await done;
  });

  it('does not wait where nothing would be lost: nobody is served, or another one serves', async () => {
    await leaving({ serving: true, agentHolds: false, pods: 0 }, 60_000).done;
    await leaving({ serving: false, agentHolds: false, pods: 9 }, 60_000).done;
  });

  it('leaves when another one takes over meanwhile, and when its time is over', async () => {
    const sources = { serving: true, agentHolds: false, pods: 1 };
    const { done } = leaving(sources, 60_000);
    sources.serving = false;
    await done;
    await leaving({ serving: true, agentHolds: false, pods: 1 }, 200).done;
  });
});
