import assert from 'node:assert/strict';
import { container, deployment, idle, namespace, podSpec, script, service } from '../support/apps.ts';
import { TestCluster, type TestPod } from '../support/cluster.ts';
import { AMBIENT, installed, SYSTEM } from '../support/installation.ts';
import { inMesh } from '../support/node-agent.ts';
import { kill, processesOfNode, processesOfPod } from '../support/processes.ts';
import type { KubeObject } from '../support/resources.ts';
import { isHbone, onTheWire } from '../support/wire.ts';

const NODE = 'node2';
const SECRET = 'a-byte-that-must-not-be-seen';

/** What is labelled must be in the mesh by what the kernel has, whatever the machine went through (istio#60882). */
describe('a node that starts again', function () {
  this.timeout(900_000);
  const cluster = TestCluster.open();
  const ns = 'reboot';
  const first: KubeObject = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'first', namespace: ns, labels: { app: 'first' } },
    spec: podSpec([container(script('cluster/app/first-dial.mjs', '198.19.255.254', '9', 'stay'))], {
      nodeSelector: { 'kubernetes.io/hostname': NODE },
    }),
  };
  const objects = [
    namespace(ns, AMBIENT),
    deployment(ns, 'server', { node: NODE }),
    service(ns, 'server'),
    first,
    idle(ns, 'client', { node: 'node1' }),
  ];
  let client: TestPod;

  before(async () => {
    await installed(cluster);
    await cluster.apply(...objects);
    client = await one('client');
    await one('first');
    await verified(await one('server'));
  });
  after(() => cluster.remove(...objects));

  async function one(app: string): Promise<TestPod> {
    const [pod] = await cluster.readyPods(ns, `app=${app}`);
    assert.ok(pod);
    return pod;
  }

  /** Waits until the kernel shows it. @returns the cookie of its network namespace */
  async function verified(pod: TestPod): Promise<string> {
    let cookie: string | undefined;
    await cluster.until(`${pod.metadata.name} is in the mesh`, async () => {
      const status = await inMesh(cluster, pod);
      cookie = status?.netns.cookie;
      return status?.state === 'verified';
    });
    assert.ok(cookie);
    return cookie;
  }

  /** What the client posts comes back, and nothing between the two is anything but HBONE. */
  async function isMutual(server: TestPod): Promise<void> {
    const code = `fetch('http://server.${ns}/', { method: 'POST', body: '${SECRET}' }).then((r) => r.text()).then(console.log)`;
    const post = (): Promise<string> => cluster.inPod(client, ['/usr/local/bin/node', '-e', code]);
    await cluster.until('the server answers', async () => (await post()).trim() === SECRET);
    const { raw, segments } = await onTheWire(cluster, [client, server], post);
    assert.equal(raw.indexOf(SECRET), -1);
    assert.ok(segments.length > 0 && segments.every(isHbone));
  }

  it('with its pods kept, and nothing of the mesh in kernel or memory: they are in the mesh again', async () => {
    const before = await one('server');
    const cookie = await verified(before);
    const programs = (await cluster.pods(SYSTEM)).filter(({ spec }) => spec.nodeName === NODE);
    kill(...processesOfNode(cluster, NODE, 'kubelet', 'containerd'));
    for (const pod of programs)
      if (/^loam-(?:agent|ztunnel)-/.test(pod.metadata.name)) kill(...processesOfPod(pod));
    await cluster.onNode(NODE, ['sh', '-c', 'rm -rf /sys/fs/bpf/loam /run/loam/*']);
    assert.equal(await verified(before), cookie, 'it is the same network namespace');
    const after = await one('server');
    assert.deepEqual(after.status.containerStatuses, before.status.containerStatuses, 'nobody restarted it');
    await isMutual(after);
  });

  it('with its pods lost: what runs again is in the mesh, in namespaces of its own', async () => {
    const before = await one('server');
    const cookie = await verified(before);
    const { init } = cluster.node(NODE);
    const container = before.status.containerStatuses?.[0]?.containerID;
    kill(init);
    await cluster.until('the node has another first process', () => {
      const now = cluster.node(NODE).init;
      return now !== 0 && now !== init;
    });
    await cluster.until('the server runs again', async () => {
      const [pod] = await cluster.pods(ns, 'app=server');
      const [status] = pod?.status.containerStatuses ?? [];
      return status?.ready === true && status.containerID !== container;
    });
    const after = await one('server');
    assert.notEqual(await verified(after), cookie);
    await isMutual(after);
    for (const pod of await cluster.pods(ns)) await verified(pod);
    // A runtime that starts again starts the node's pods before anybody has told it whom to ask.
    assert.equal(await cluster.log(await one('first')), 'redirected\n');
  });
});
