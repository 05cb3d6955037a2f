import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'mocha';
import { KubernetesPodSource } from '../../../../agent/kubernetes/kubernetes-pod-source.ts';
import type { KubeMetadata } from '../../../../lib/kubernetes/resource.ts';
import { isEnrolled } from '../../../../lib/enrolment.ts';
import { FakeClock } from '../fakes.ts';
import { Sandboxes } from '../../../../agent/kubernetes/sandboxes.ts';
import { FakeApi, FakeFinder } from './fakes.ts';

const PODS = '/api/v1/pods';
const NAMESPACES = '/api/v1/namespaces';
const MODE = 'loam.dev/dataplane-mode';

interface PodChange {
  readonly metadata?: Partial<KubeMetadata>;
  readonly spec?: object;
  readonly status?: object;
}

function apiPod(name: string, { metadata, spec, status }: PodChange = {}) {
  return {
    metadata: { name, namespace: 'shop', uid: `uid-${name}`, ...metadata },
    spec: { nodeName: 'n1', serviceAccountName: 'seller', ...spec },
    status: {
      phase: 'Running',
      podIP: '10.0.0.1',
      podIPs: [{ ip: '10.0.0.1' }, { ip: 'FD00::0:1' }],
      ...status,
    },
  };
}

const namespace = (labels: Record<string, string>) => ({ metadata: { name: 'shop', labels } });
const netns = (n: number, inhabited = true) => ({
  path: `/proc/self/fd/${n}`,
  inode: { dev: 4n, ino: BigInt(n) },
  inhabited,
});

describe('pods from the Kubernetes API', () => {
  let api: FakeApi;
  let finder: FakeFinder;
  let clock: FakeClock;
  let source: KubernetesPodSource;
  let sandboxes: Sandboxes;
  let changes: number;
  const settle = (ms = 1): void => clock.advance(ms);
  const names = (): string[] =>
    [...source.state.pods.values()]
      .filter(({ labels, namespaceLabels }) => isEnrolled(labels, namespaceLabels))
      .map((pod) => pod.name);

  beforeEach(() => {
    api = new FakeApi();
    finder = new FakeFinder();
    clock = new FakeClock();
    changes = 0;
    sandboxes = new Sandboxes(() => source.changed());
    source = new KubernetesPodSource({ node: 'n1', makeFeed: api.makeFeed, finder, clock, sandboxes });
    source.start(() => (changes += 1));
    settle();
  });

  function runs(name: string, change: PodChange = {}, n = 10): void {
    finder.found.set(`uid-${name}`, netns(n));
    api.set(PODS, apiPod(name, change));
  }

  function begin(): void {
    api.set(NAMESPACES, namespace({ [MODE]: 'ambient', team: 'a' }));
    runs('web');
    api.sync();
    settle();
  }

  it('asks for the pods of its node alone', () => {
    assert.deepEqual(api.feed(PODS).request.query, { fieldSelector: 'spec.nodeName=n1' });
    assert.equal(api.feed(PODS).started && api.feed(NAMESPACES).started, true);
  });

  it('gives a pod with all that is known of it', () => {
    begin();
    const { pods, ...rest } = source.state;
    assert.deepEqual(rest, { synced: true, complete: true, problems: [], leftAlone: [] });
    assert.deepEqual(
      [...pods.values()],
      [
        {
          uid: 'uid-web',
          name: 'web',
          namespace: 'shop',
          serviceAccount: 'seller',
          netns: '/proc/self/fd/10',
          ips: ['10.0.0.1', 'fd00::1'],
          labels: {},
          annotations: {},
          namespaceLabels: { [MODE]: 'ambient' },
        },
      ],
    );
  });

  it('concludes nothing before both kinds have been read', () => {
    api.set(PODS, apiPod('web'));
    api.problem(NAMESPACES, 'forbidden');
    api.feed(PODS).synced = true;
    settle();
    assert.equal(source.state.synced, false);
    assert.deepEqual(source.state.problems, [{ where: 'Kubernetes API', message: 'forbidden' }]);
  });

  it('holds what it knew while the API is away, and says so', () => {
    begin();
    const before = source.state.pods.get('uid-web');
    api.problem(PODS, 'connect: refused');
    settle();
    assert.equal(source.state.pods.get('uid-web'), before);
    assert.equal(source.state.synced && source.state.complete, true);
    assert.equal(source.state.problems[0]?.message, 'connect: refused');
  });

  it('follows the labels of namespace and pod', () => {
    begin();
    api.set(PODS, apiPod('web', { metadata: { labels: { [MODE]: 'none' } } }));
    settle();
    assert.deepEqual(names(), []);
    assert.equal(source.state.pods.size, 1, 'it lives on, with what it has open through the mesh');
    api.set(NAMESPACES, namespace({}));
    api.set(PODS, apiPod('web', { metadata: { labels: { [MODE]: 'ambient' } } }));
    settle();
    assert.deepEqual(names(), ['web']);
    api.set(PODS, apiPod('web'));
    settle();
    assert.deepEqual(names(), []);
    api.set(NAMESPACES, namespace({ [MODE]: 'ambient' }));
    settle();
    assert.deepEqual(names(), ['web']);
  });

  it('tells of a pod that has left the mesh until it ends, and of one that never was in it not at all', () => {
    begin();
    api.set(PODS, apiPod('web', { metadata: { labels: { [MODE]: 'none' } } }));
    api.set(PODS, apiPod('other', { metadata: { labels: { [MODE]: 'none' } } }));
    settle();
    assert.deepEqual([...source.state.pods.keys()], ['uid-web']);
    api.delete(PODS, 'shop/web');
    finder.found.set('uid-web', netns(10, false));
    settle(2000);
    assert.equal(source.state.pods.size, 0);
    settle(2000);
    assert.equal(finder.asked.size, 0, 'the namespace is let go of');
  });

  it('keeps the same object as long as nothing of it has changed', () => {
    begin();
    const before = source.state.pods.get('uid-web');
    const seen = changes;
    api.set(PODS, apiPod('web', { status: { conditions: [{ type: 'Ready' }] } }));
    settle();
    assert.equal(source.state.pods.get('uid-web'), before);
    assert.equal(changes, seen, 'nobody is woken for it');
    finder.found.set('uid-web', netns(11));
    settle(2000);
    assert.equal(source.state.pods.get('uid-web')?.netns, '/proc/self/fd/11');
    assert.equal(changes, seen + 1);
  });

  it('lists a pod whose namespace is not found, so that what the kernel has of its address is kept', () => {
    begin();
    api.set(PODS, apiPod('new', { status: { podIPs: [{ ip: '10.0.0.2' }] } }));
    settle();
    assert.equal(source.state.pods.get('uid-new')?.netns, undefined);
    finder.found.set('uid-new', netns(12));
    settle(2000);
    assert.equal(source.state.pods.get('uid-new')?.netns, '/proc/self/fd/12');
  });

  it('searches less and less often for what is not to be found, and not at all for what is', () => {
    begin();
    settle(20_000);
    assert.equal(finder.passes, 0);
    api.set(PODS, apiPod('new'));
    settle(1);
    const first: number = finder.passes;
    settle(60_000);
    const inAMinute = finder.passes - first;
    assert.equal(first, 1);
    assert.ok(inAMinute > 20 && inAMinute < 50, `${inAMinute} passes in a minute`);
  });

  it('waits for the address and for the namespace of a pod', () => {
    begin();
    api.set(PODS, apiPod('early', { status: { phase: 'Pending', podIP: undefined, podIPs: undefined } }));
    settle();
    assert.deepEqual(names(), ['web']);
    assert.equal(source.state.complete, true);
    api.set(PODS, apiPod('lost', { metadata: { namespace: 'later' } }));
    settle();
    assert.equal(source.state.complete, false, 'whether it is in the mesh cannot be told');
    api.set(NAMESPACES, { metadata: { name: 'later' } });
    settle();
    assert.equal(source.state.complete, true);
  });

  for (const [what, change] of [
    ['succeeded', { status: { phase: 'Succeeded' } }],
    ['failed', { status: { phase: 'Failed' } }],
    ['is being deleted', { metadata: { deletionTimestamp: '2026-01-01T00:00:00Z' } }],
  ] as const) {
    it(`lets a pod that ${what} go once no process of it is left`, () => {
      begin();
      api.set(PODS, apiPod('web', change));
      settle();
      assert.deepEqual(names(), ['web'], 'a process of it still runs');
      finder.found.set('uid-web', netns(10, false));
      settle(2000);
      assert.deepEqual(names(), []);
    });
  }

  it('keeps a pod that was deleted by force in the mesh while processes of it run', () => {
    begin();
    api.delete(PODS, 'shop/web');
    settle(5000);
    assert.deepEqual(names(), ['web']);
    finder.found.set('uid-web', netns(10, false));
    settle(2000);
    assert.deepEqual(names(), []);
    settle(2000);
    assert.equal(finder.asked.size, 0);
  });

  it('tells a pod from an earlier one of the same name', () => {
    begin();
    finder.found.set('uid-web', netns(10, false));
    finder.found.set('uid-2', netns(11));
    api.set(PODS, apiPod('web', { metadata: { uid: 'uid-2' } }));
    settle();
    assert.deepEqual([...source.state.pods.keys()], ['uid-2']);
  });

  it("leaves pods on the node's network and in sandboxes alone, and says why", () => {
    begin();
    runs('host', { spec: { hostNetwork: true } }, 20);
    const start = { start: 1, netns: { dev: 4n, ino: 21n } };
    finder.processes.set('uid-gvisor', [{ pid: 7, name: 'runsc-sandbox', ...start }]);
    runs('gvisor', { spec: { runtimeClassName: 'gvisor' } }, 21);
    finder.processes.set('uid-fast', [{ pid: 8, name: 'nginx', ...start }]);
    runs('fast', { spec: { runtimeClassName: 'fast' } }, 22);
    settle();
    assert.deepEqual(names(), ['web', 'fast']);
    assert.deepEqual(
      source.state.leftAlone?.map(({ pod }) => pod),
      ['shop/host', 'shop/gvisor'],
    );
    assert.match(source.state.leftAlone?.[0]?.why ?? '', /hostNetwork/);
    assert.match(source.state.leftAlone?.[1]?.why ?? '', /"gvisor" runs it in runsc-sandbox/);
    assert.equal(finder.asked.has('uid-host'), false);
  });

  it("knows a static pod's cgroup by the hash of its file", () => {
    const hash = '0123456789abcdef0123456789abcdef';
    begin();
    finder.found.set(hash, netns(30));
    const said = (value: string, mirror?: string): object => ({
      annotations: { 'kubernetes.io/config.hash': value, 'kubernetes.io/config.mirror': mirror },
    });
    api.set(PODS, apiPod('static', { metadata: said(hash, hash) }));
    api.set(PODS, apiPod('liar', { metadata: said('uid-web', 'uid-web') }));
    // An ordinary pod that says it would not be found, and so not be enrolled, or be taken for that one.
    finder.found.set('uid-claim', netns(31));
    api.set(PODS, apiPod('claim', { metadata: said(hash) }));
    settle();
    assert.equal(source.state.pods.get('uid-static')?.netns, '/proc/self/fd/30');
    assert.equal(source.state.pods.get('uid-liar')?.netns, undefined);
    assert.equal(source.state.pods.get('uid-claim')?.netns, '/proc/self/fd/31');
  });

  it('says where the kubelet probes a pod, as its specification has it', () => {
    begin();
    finder.found.set('uid-probed', netns(32));
    const containers = [
      { readinessProbe: { httpGet: { port: 8080 } }, livenessProbe: { tcpSocket: { port: 81 } } },
    ];
    api.set(PODS, apiPod('probed', { spec: { nodeName: 'node-a', containers } }));
    settle();
    assert.deepEqual(source.state.pods.get('uid-probed')?.probePorts, [81, 8080]);
  });

  it('has the address and the process of a sandbox from the runtime before the API has them', () => {
    begin();
    const early = { status: { phase: 'Pending', podIP: undefined, podIPs: undefined } };
    api.set(PODS, apiPod('early', early));
    settle();
    assert.deepEqual(names(), ['web']);
    sandboxes.add({ id: 's1', pod: 'uid-early', pid: 77, ips: ['10.0.0.7', 'nonsense', '10.0.0.8'] });
    finder.found.set('uid-early', netns(40));
    settle();
    assert.equal(finder.asked.get('uid-early'), 77);
    assert.deepEqual(source.state.pods.get('uid-early')?.ips, ['10.0.0.7']);
    sandboxes.add({ id: 's2', pod: 'uid-early', pid: 78, ips: ['10.0.0.9'] });
    settle();
    assert.deepEqual(source.state.pods.get('uid-early')?.ips, ['10.0.0.9'], 'of the newest sandbox');
    sandboxes.remove('s2');
    sandboxes.remove('s1');
    settle();
    assert.equal(source.state.pods.get('uid-early'), undefined);
  });

  describe('whether a pod that the runtime tells of belongs in the mesh', () => {
    const told = { uid: 'uid-x', namespace: 'shop', labels: {} };
    const kind = (pod: Partial<typeof told> & { labels?: Record<string, string> } = {}): string =>
      source.membership({ ...told, ...pod }).kind;

    it('is not known before the API was read, unless its own label says no', () => {
      assert.equal(kind(), 'unknown');
      assert.equal(kind({ labels: { [MODE]: 'none' } }), 'outside');
      assert.equal(kind({ labels: { [MODE]: 'ambient' } }), 'unknown');
      api.problem(PODS, 'connect: refused');
      assert.match(JSON.stringify(source.membership(told)), /cannot be read: connect: refused/);
    });

    it('is not known of a pod whose labels nobody tells, before the API does', () => {
      begin();
      api.set(NAMESPACES, namespace({}));
      const unlabelled = { ...told, labels: undefined };
      assert.equal(source.membership(unlabelled).kind, 'unknown', 'its own label may be ambient');
      runs('x', { metadata: { labels: { [MODE]: 'ambient' } } });
      assert.equal(source.membership(unlabelled).kind, 'member');
      runs('x', { metadata: { labels: {} } });
      assert.equal(source.membership(unlabelled).kind, 'outside');
      assert.ok(source.outsideNamespaces?.includes('shop'));
    });

    it('is known by the labels of the pod and of its namespace', () => {
      begin();
      assert.equal(kind(), 'unknown', 'it is to be in the mesh, and there is no pod yet');
      runs('x');
      settle();
      assert.deepEqual(source.membership(told), { kind: 'member', uid: 'uid-x' });
      runs('x', { metadata: { labels: { [MODE]: 'none' } } });
      assert.equal(kind(), 'outside');
      api.set(NAMESPACES, namespace({}));
      assert.equal(kind({ uid: 'uid-y' }), 'outside');
      assert.equal(kind({ uid: 'uid-y', namespace: 'unheard-of' }), 'unknown');
    });

    it('is no for a pod that is left alone', () => {
      begin();
      runs('x', { spec: { hostNetwork: true } });
      settle();
      assert.equal(kind(), 'outside');
    });
  });

  it('closes what it holds', () => {
    begin();
    source.close();
    assert.equal(finder.closed && api.feed(PODS).closed && api.feed(NAMESPACES).closed, true);
    const passes = finder.passes;
    settle(10_000);
    assert.equal(finder.passes, passes);
  });
});
