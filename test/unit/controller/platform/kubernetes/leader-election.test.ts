import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { LeaderElection } from '../../../../../controller/platform/kubernetes/leader-election.ts';
import { KubeApiError } from '../../../../../lib/kubernetes/errors.ts';
import { SILENT, until } from '../../harness.ts';

interface Lease {
  readonly metadata: { readonly resourceVersion?: string };
  readonly spec: {
    readonly holderIdentity: string;
    readonly leaseTransitions: number;
    readonly renewTime: string;
  };
}

const failure = (status: number): KubeApiError => new KubeApiError('KUBE_STATUS', 'no', { path: '', status });
const TIMES = { leaseMs: 1_000, deadlineMs: 700, retryMs: 50 };

/** One Lease, with the API server's rule that of two writers of one state the second fails. */
class FakeLeases {
  lease: Lease | undefined;
  #version = 0;
  /** By replica: it cannot be reached. */
  readonly cutOff = new Set<string>();

  for(replica: string) {
    const reach = async (): Promise<void> => {
      await new Promise((resolve) => setImmediate(resolve));
      if (this.cutOff.has(replica)) throw new KubeApiError('KUBE_CONNECT', 'no route', { path: '' });
    };
    return {
      get: async <T>(): Promise<T> => {
        await reach();
        if (this.lease === undefined) throw failure(404);
        return this.lease as T;
      },
      create: async <T>(_: string, object: unknown): Promise<T> => {
        await reach();
        if (this.lease !== undefined) throw failure(409);
        return this.#put(object as Lease) as T;
      },
      replace: async <T>(_: string, object: unknown): Promise<T> => {
        await reach();
        if ((object as Lease).metadata.resourceVersion !== this.lease?.metadata.resourceVersion)
          throw failure(409);
        return this.#put(object as Lease) as T;
      },
    };
  }

  #put(lease: Lease): Lease {
    this.#version += 1;
    this.lease = { ...lease, metadata: { ...lease.metadata, resourceVersion: String(this.#version) } };
    return this.lease;
  }
}

describe('platform/kubernetes/leader-election', () => {
  let leases: FakeLeases;
  let leading: Set<string>;
  let most: number;
  const running: LeaderElection[] = [];

  beforeEach(() => {
    leases = new FakeLeases();
    leading = new Set();
    most = 0;
  });
  afterEach(async () => {
    await Promise.all(running.splice(0).map((each) => each.close()));
  });

  function run(replica: string): LeaderElection {
    const election = new LeaderElection({
      ...{
        client: leases.for(replica),
        namespace: 'mesh',
        name: 'lease',
        replica,
        log: SILENT,
        times: TIMES,
      },
      onLead: (signal) => {
        leading.add(replica);
        most = Math.max(most, leading.size);
        signal.addEventListener('abort', () => leading.delete(replica));
      },
    });
    running.push(election);
    election.start();
    return election;
  }

  it('of several that begin at once one leads, and another when that one stops', async () => {
    const all = new Map(['a', 'b', 'c'].map((replica) => [replica, run(replica)]));
    const first = await until(() => [...leading][0]);
    await all.get(first)?.close();
    assert.equal(leases.lease?.spec.holderIdentity, '', 'it is given back');
    const second = await until(() => [...leading][0]);
    assert.notEqual(second, first);
    assert.equal(most, 1);
    assert.equal(leases.lease?.spec.holderIdentity, second);
  });

  it('who cannot renew leads no more before another begins', async () => {
    run('a');
    await until(() => leading.has('a'));
    run('b');
    leases.cutOff.add('a');
    await until(() => leading.has('b'));
    assert.equal(most, 1, 'never two at a time');
    leases.cutOff.delete('a');
    await new Promise((resolve) => setTimeout(resolve, 4 * TIMES.retryMs));
    assert.deepEqual([...leading], ['b']);
  });

  it('takes no clock but its own: a Lease from another time is waited for, and then taken', async () => {
    leases.lease = {
      metadata: { resourceVersion: '0' },
      spec: { holderIdentity: 'gone', leaseTransitions: 4, renewTime: '2099-01-01T00:00:00.000000Z' },
    };
    run('a');
    await until(() => leading.has('a'));
    assert.equal(leases.lease.spec.leaseTransitions, 5);
  });
});
