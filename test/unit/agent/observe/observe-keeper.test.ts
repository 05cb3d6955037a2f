import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'mocha';
import { ObserveKeeper } from '../../../../agent/observe/observe-keeper.ts';
import type { ObservePort } from '../../../../agent/observe/observe-port.ts';
import type { PodSpec } from '../../../../agent/pod-source.ts';
import { FakeLog, FakeNode, FakeSource } from '../fakes.ts';

function pod(name: string, mode: string, own?: string): PodSpec {
  return {
    ...{ uid: name, name, namespace: 'shop', serviceAccount: name, netns: `/run/netns/${name}` },
    ...{ ips: ['198.18.1.2'], annotations: {} },
    labels: own === undefined ? {} : { 'loam.dev/dataplane-mode': own },
    namespaceLabels: { 'loam.dev/dataplane-mode': mode },
  };
}

class FakePort implements ObservePort {
  readonly cookies = new Set<bigint>();
  inForce = false;
  broken = false;

  observe(cookie: bigint): boolean {
    if (this.broken) throw new Error('the verifier says no');
    this.inForce = true;
    const isNew = !this.cookies.has(cookie);
    this.cookies.add(cookie);
    return isNew;
  }
  forget(cookie: bigint): boolean {
    return this.cookies.delete(cookie);
  }
  observed(): bigint[] {
    return [...this.cookies];
  }
  read(): [] {
    return [];
  }
  refused(): Map<bigint, number> {
    return new Map();
  }
  fill(): Record<string, never> {
    return {};
  }
  repair(): string[] {
    return [];
  }
  end(): void {
    this.inForce = false;
    this.cookies.clear();
  }
}

describe('agent observe keeper', () => {
  let source: FakeSource;
  let port: FakePort;
  let node: FakeNode;
  let keeper: ObserveKeeper;
  beforeEach(() => {
    source = new FakeSource();
    port = new FakePort();
    node = new FakeNode();
    keeper = new ObserveKeeper({ source, port, node, log: new FakeLog() });
    node.netns.set('/run/netns/a', 1n).set('/run/netns/b', 2n).set('/run/netns/c', 3n);
  });

  it("observes what the labels say, a pod's own before its namespace's", () => {
    source.set(pod('a', 'observe'), pod('b', 'observe', 'ambient'), pod('c', 'none', 'observe'));
    keeper.look();
    assert.deepEqual([...port.cookies], [1n, 3n]);
    assert.equal(node.open.size, 0);
  });

  it('forgets a pod that changes its mode, and leaves nothing when none is left', () => {
    source.set(pod('a', 'observe'), pod('b', 'observe'));
    keeper.look();
    source.set(pod('a', 'ambient'), pod('b', 'observe'));
    keeper.look();
    assert.deepEqual([...port.cookies], [2n]);
    source.set(pod('a', 'ambient'), pod('b', 'none'));
    keeper.look();
    assert.equal(port.inForce, false);
  });

  it('takes nothing away while the source cannot be read in full, nor before it was', () => {
    port.observe(1n);
    keeper.look();
    assert.deepEqual([...port.cookies], [1n]);
    source.set();
    source.state = { ...source.state, complete: false };
    keeper.look();
    assert.deepEqual([...port.cookies], [1n]);
  });

  it('says what is wrong, and tries again', () => {
    source.set(pod('a', 'observe'), pod('gone', 'observe'));
    port.broken = true;
    keeper.look();
    assert.match(keeper.problem ?? '', /the verifier says no/);
    port.broken = false;
    keeper.look();
    assert.equal(keeper.problem, undefined);
    assert.match(keeper.pods.get('gone')?.problem ?? '', /no network namespace/);
  });
});
