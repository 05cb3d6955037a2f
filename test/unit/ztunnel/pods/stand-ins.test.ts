import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'mocha';
import { EgressStore } from '../../../../lib/mesh/egress/egress-store.ts';
import type { Policy, Workload } from '../../../../lib/mesh/state/model.ts';
import { PolicyStore } from '../../../../lib/mesh/state/policy-store.ts';
import { WorkloadStore } from '../../../../lib/mesh/state/workload-store.ts';
import type { PodRow } from '../../../../ztunnel/pods/pod-directory.ts';
import { StandIns, type StandInOptions } from '../../../../ztunnel/pods/stand-ins.ts';

const UID = 'Kubernetes//Pod/shop/late';
const QUIET = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
const IDENTITY = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'default' };

function pod(name = 'late', ips: readonly string[] = ['198.18.1.9']): PodRow {
  return {
    ...{ uid: `uid-${name}`, name, namespace: 'shop', serviceAccount: 'default', identity: IDENTITY, ips },
    state: { kind: 'served' },
  };
}

function policy(key: string, action: 'allow' | 'deny', scope: Policy['scope'] = 'workload'): Policy {
  return { key, namespace: key.split('/')[0] ?? '', scope, action, dryRun: false, rules: [] };
}

describe('ztunnel/pods/stand-ins', () => {
  let now: number;
  let away: boolean;
  let rows: PodRow[];
  let workloads: WorkloadStore;
  let policies: PolicyStore;
  let egress: EgressStore;

  beforeEach(() => {
    now = 0;
    away = true;
    rows = [pod()];
    workloads = new WorkloadStore();
    policies = new PolicyStore();
    egress = new EgressStore();
    tellEgress('sibling', 'allow');
  });

  function tellEgress(name: string, unknownDestinations: 'allow' | 'refuse', selected: string[] = []): void {
    const uid = `Kubernetes//Pod/shop/${name}`;
    egress.apply({
      upserts: [{ kind: 'workload', uid, policies: selected, unknownDestinations }],
      removed: [],
    });
  }

  function tellEgressPolicy(key: string): void {
    egress.apply({ upserts: [{ kind: 'policy', key, rules: [] }], removed: [] });
  }

  function make(change: Partial<StandInOptions> = {}): StandIns {
    return new StandIns({
      ...{ node: 'node1', clusterId: 'Kubernetes', network: '', rootNamespace: 'loam-system' },
      followsAll: true,
      ...{ workloads, policies, egress, log: QUIET, now: () => now },
      pods: () => rows,
      isAway: () => away,
      apply: (addresses, rules) => {
        workloads.apply(addresses);
        egress.apply(rules);
      },
      ...change,
    });
  }

  /** What stands in once the control plane has been away for long enough. */
  function standIn(change: Partial<StandInOptions> = {}): Workload | undefined {
    const all = make(change);
    all.look();
    now += 1_000;
    all.look();
    return workloads.byUid(UID);
  }

  it('makes of a pod what its agent says of it, and lets HBONE come in', () => {
    const made = standIn();
    assert.deepEqual(made?.identity, IDENTITY);
    assert.deepEqual([made?.addresses, made?.tunnelProtocol, made?.node], [['198.18.1.9'], 'hbone', 'node1']);
    assert.deepEqual(made?.standIn, {});
    assert.equal(workloads.workloadAt('', '198.18.1.9'), made);
  });

  it('makes none while the control plane can be asked, nor right after it went', () => {
    const all = make();
    all.look();
    now += 900;
    all.look();
    assert.equal(workloads.byUid(UID), undefined);
    away = false;
    all.look();
    now += 60_000;
    all.look();
    assert.equal(workloads.byUid(UID), undefined);
  });

  it('makes none of a pod that the control plane told of, nor of one whose addresses are not told', () => {
    const told = standIn();
    assert.ok(told);
    const { standIn: _, ...real } = told;
    workloads.apply({ upserts: [real], removed: [] });
    rows = [pod(), pod('other', [])];
    standIn();
    assert.equal(workloads.byUid(UID), real);
    assert.equal(workloads.size.workloads, 1);
  });

  it('withdraws what the pod leaves behind, and leaves alone what the control plane has told since', () => {
    const all = make();
    all.look();
    now += 1_000;
    all.look();
    const made = workloads.byUid(UID);
    assert.ok(made);
    rows = [];
    all.look();
    assert.equal(workloads.byUid(UID), undefined);
    assert.equal(egress.applicable(UID), undefined);

    rows = [pod()];
    all.look();
    const { standIn: _, ...real } = made;
    workloads.apply({ upserts: [real], removed: [] });
    rows = [];
    all.look();
    assert.equal(workloads.byUid(UID), real);
  });

  it('withdraws it when the control plane is back and does not tell of the pod', () => {
    const all = make();
    all.look();
    now += 1_000;
    all.look();
    away = false;
    all.look();
    now += 4_000;
    all.look();
    assert.ok(workloads.byUid(UID));
    now += 2_000;
    all.look();
    assert.equal(workloads.byUid(UID), undefined);
  });

  describe('what may come in', () => {
    it('every DENY of its namespace and the root namespace that selects by labels counts', () => {
      for (const each of [
        policy('shop/no', 'deny'),
        policy('loam-system/istio_converted_static_strict', 'deny'),
        policy('bank/no', 'deny'),
        policy('shop/all', 'deny', 'namespace'),
      ])
        policies.upsert(each);
      assert.deepEqual(standIn()?.authorizationPolicies, [
        'shop/no',
        'loam-system/istio_converted_static_strict',
      ]);
    });

    for (const key of ['shop/some', 'loam-system/some'])
      it(`nothing, where ALLOW policy ${key} may select it or not`, () => {
        policies.upsert(policy(key, 'allow'));
        assert.match(standIn()?.standIn?.unsure ?? '', new RegExp(`which of the policies ${key} select it`));
      });

    it('HBONE, where an ALLOW policy is of the whole namespace, of another one, or on trial', () => {
      policies.upsert(policy('shop/all', 'allow', 'namespace'));
      policies.upsert(policy('bank/some', 'allow'));
      policies.upsert({ ...policy('shop/trial', 'allow'), dryRun: true });
      assert.deepEqual(standIn()?.standIn, {});
    });

    it('nothing, where another namespace may be the root, or not all services are known', () => {
      policies.upsert(policy('bank/some', 'allow'));
      assert.ok(standIn({ rootNamespace: undefined })?.standIn?.unsure);
      workloads.apply({ upserts: [], removed: [UID] });
      assert.match(standIn({ followsAll: false })?.standIn?.unsure ?? '', /does not know all services/);
    });

    it('nothing, where a waypoint stands before others of its namespace', () => {
      const made = standIn();
      assert.ok(made);
      const { standIn: _, ...real } = made;
      const waypoint = { by: 'hostname', service: 'shop/gate', hboneMtlsPort: 15008 } as const;
      const uid = 'Kubernetes//Pod/shop/behind';
      workloads.apply({ upserts: [{ ...real, uid, name: 'behind', waypoint }], removed: [UID] });
      assert.match(standIn()?.standIn?.unsure ?? '', /a waypoint of its namespace/);
    });

    for (const [text, namespace, unsure] of [
      [
        'nothing, where a waypoint runs in its namespace that nobody has named yet',
        'shop',
        /of its namespace/,
      ],
      [
        'nothing, where there are waypoints, and nothing of its namespace is known',
        'bank',
        /nothing is known/,
      ],
    ] as const)
      it(text, () => {
        const made = standIn();
        assert.ok(made);
        const { standIn: _, ...real } = made;
        const uid = `Kubernetes//Pod/${namespace}/gate-0`;
        const gate = { ...real, uid, name: 'gate-0', namespace, nativeTunnel: true };
        workloads.apply({ upserts: [gate], removed: [UID] });
        assert.match(standIn()?.standIn?.unsure ?? '', unsure);
        workloads.apply({
          upserts: [{ ...real, uid: 'Kubernetes//Pod/shop/sibling', name: 'sibling' }],
          removed: [UID],
        });
        assert.equal(standIn()?.standIn?.unsure === undefined, namespace === 'bank');
      });
  });

  it('follows what a control plane tells that comes for a moment again and again', () => {
    const all = make();
    all.look();
    now += 1_000;
    all.look();
    const made = workloads.byUid(UID);
    policies.upsert(policy('shop/no', 'deny'));
    tellEgressPolicy('shop/some');
    all.look();
    assert.deepEqual(workloads.byUid(UID)?.authorizationPolicies, ['shop/no']);
    assert.equal(egress.applicable(UID), undefined);
    policies.upsert(policy('shop/some', 'allow'));
    all.look();
    assert.ok(workloads.byUid(UID)?.standIn?.unsure);
    assert.notEqual(workloads.byUid(UID), made);
    tellEgress('late', 'refuse', ['shop/some']);
    const told = egress.applicable(UID)?.workload;
    all.look();
    rows = [];
    all.look();
    assert.equal(workloads.byUid(UID), undefined);
    assert.equal(egress.applicable(UID)?.workload, told, 'it is not ours');
  });

  describe('what it may call', () => {
    it('is as its namespace has it, where no policy may select it', () => {
      standIn();
      assert.deepEqual(egress.applicable(UID)?.workload.unknownDestinations, 'allow');
      tellEgressPolicy('bank/some');
      workloads.apply({ upserts: [], removed: [UID] });
      egress.apply({ upserts: [], removed: [`workload/${UID}`] });
      tellEgress('sibling', 'refuse');
      standIn();
      assert.deepEqual(egress.applicable(UID)?.workload.unknownDestinations, 'refuse');
    });

    for (const key of ['shop/some', 'loam-system/some'])
      it(`is not known, where policy ${key} may select it: nothing`, () => {
        tellEgressPolicy(key);
        assert.ok(standIn());
        assert.equal(egress.applicable(UID), undefined);
      });

    it('is what the mesh knows, where nothing is known of its namespace', () => {
      egress.apply({ upserts: [], removed: ['workload/Kubernetes//Pod/shop/sibling'] });
      standIn();
      assert.deepEqual(egress.applicable(UID)?.workload.unknownDestinations, 'refuse');
    });
  });
});
