import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'mocha';
import { spiffeUri, type Identity } from '../../../../lib/spiffe.ts';
import type { Workload } from '../../../../lib/mesh/state/model.ts';
import { ExpectedPods } from '../../../../ztunnel/pods/expected-pods.ts';
import { workload } from '../../lib/mesh/state/mesh.ts';

const HERE = { node: 'here', tunnelProtocol: 'hbone', uid: 'Kubernetes//Pod/default/a' } as const;

describe('ztunnel/pods/expected-pods', () => {
  const users = new Map<string, number>();
  const timers = new Set<() => void>();
  let expected: ExpectedPods;
  const count = (by: number) => (identity: Identity) => {
    const uri = spiffeUri(identity);
    const now = (users.get(uri) ?? 0) + by;
    if (now === 0) users.delete(uri);
    else users.set(uri, now);
  };
  const came = (...upserts: Workload[]): void => expected.came({ upserts, removed: [] });
  const made = (more: Partial<Workload> = {}): Workload => workload('a', '10.0.0.1', { ...HERE, ...more });
  const nobody = (): void => {
    assert.deepEqual([...users], []);
    assert.equal(timers.size, 0);
  };

  beforeEach(() => {
    users.clear();
    timers.clear();
    expected = new ExpectedPods({
      node: 'here',
      identities: { acquire: count(1), release: count(-1) },
      after: (_, callback) => {
        const due = (): void => {
          timers.delete(due);
          callback();
        };
        timers.add(due);
        return () => timers.delete(due);
      },
    });
  });

  it('asks for the certificate of a pod of this node once, however often it is told of it', () => {
    came(made());
    came(made({ healthy: false }));
    assert.deepEqual([...users], [[spiffeUri(made().identity), 1]]);
    assert.equal(timers.size, 1);
  });

  it('holds nothing for a pod that is not given within its time', () => {
    came(made());
    for (const due of timers) due();
    nobody();
  });

  it('lets go of one that goes, leaves the mesh or this node', () => {
    for (const change of [{ tunnelProtocol: 'none' }, { node: 'there' }] as const) {
      came(made());
      came(made(change));
      nobody();
    }
    came(made());
    expected.came({ upserts: [], removed: [HERE.uid] });
    nobody();
  });

  it('follows a pod of the same name to another identity', () => {
    came(made());
    const identity = { ...made().identity, serviceAccount: 'other' };
    came(made({ identity }));
    assert.deepEqual([...users], [[spiffeUri(identity), 1]]);
  });

  it('asks for none that the agent cannot give', () => {
    const standIn = {};
    came(made({ node: 'there' }), made({ tunnelProtocol: 'none' }), made({ hostNetwork: true }));
    came(made({ nativeTunnel: true }), made({ standIn }), made({ uid: 'Kubernetes//WorkloadEntry/a/b' }));
    nobody();
  });

  it('is bounded, and takes none any more once it has ended', () => {
    came(...Array.from({ length: 600 }, (_, i) => made({ uid: `Kubernetes//Pod/default/${i}` })));
    assert.equal(timers.size, 500);
    expected.stop();
    nobody();
    came(made());
    nobody();
  });
});
