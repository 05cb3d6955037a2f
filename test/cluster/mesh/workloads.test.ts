import assert from 'node:assert/strict';
import { container, deployment, idle, namespace, podSpec, script, service } from '../support/apps.ts';
import { TestCluster, type TestPod } from '../support/cluster.ts';
import { AMBIENT, installed } from '../support/installation.ts';
import type { KubeObject } from '../support/resources.ts';
import { Load } from '../support/load.ts';
import { inMesh } from '../support/node-agent.ts';
import { kill, sandboxOf } from '../support/processes.ts';
import { isHbone, onTheWire } from '../support/wire.ts';

const MOMENT_MS = 2_000;

/** What Kubernetes runs beside Deployments, in a namespace that had its label before any pod. */
describe('kinds of workloads in the mesh', function () {
  this.timeout(600_000);
  const cluster = TestCluster.open();
  const ns = 'kinds';
  const server = script('mesh/app/server.mjs');
  const ready = { readinessProbe: { tcpSocket: { port: 7000 }, periodSeconds: 1 } };
  const objects: readonly KubeObject[] = [
    namespace(ns, AMBIENT),
    {
      apiVersion: 'apps/v1',
      kind: 'StatefulSet',
      metadata: { name: 'set', namespace: ns },
      spec: {
        serviceName: 'set',
        replicas: 2,
        podManagementPolicy: 'Parallel',
        selector: { matchLabels: { app: 'set' } },
        template: {
          metadata: { labels: { app: 'set' } },
          spec: podSpec([container(server, ready)], { nodeSelector: { 'kubernetes.io/hostname': 'node2' } }),
        },
      },
    },
    service(ns, 'set', { clusterIP: 'None', ports: [{ name: 'greeting', port: 7000 }] }),
    deployment(ns, 'server', { node: 'node2' }),
    service(ns, 'server'),
    {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'many', namespace: ns, labels: { app: 'many' } },
      spec: podSpec(
        [
          container(server, ready),
          container(script('mesh/app/upgrade-load.mjs', 'server', '7100'), {
            name: 'second',
            readinessProbe: { tcpSocket: { port: 7100 }, periodSeconds: 1 },
          }),
        ],
        { nodeSelector: { 'kubernetes.io/hostname': 'node2' } },
      ),
    },
    idle(ns, 'client', { node: 'node1' }),
  ];
  let client: TestPod;

  before(async () => {
    await installed(cluster);
    await cluster.apply(...objects);
    await cluster.readyPods(ns, 'app=set', 2);
    await cluster.readyPods(ns, 'app=server');
    const [pod] = await cluster.readyPods(ns, 'app=client');
    assert.ok(pod);
    client = pod;
  });
  after(() => cluster.remove(...objects));

  const hello = (host: string): Promise<string> =>
    cluster.inPod(client, script('mesh/app/client.mjs', 'listen', host, '7000', '5000'));

  it('reaches each pod of a StatefulSet by its own name, with mutual TLS and its address kept', async () => {
    for (const pod of await cluster.readyPods(ns, 'app=set', 2)) {
      const host = `${pod.metadata.name}.set.${ns}`;
      await cluster.until(`${host} answers`, async () => (await hello(host)).includes('HELLO'));
      const { segments } = await onTheWire(cluster, [client, pod], async () => {
        assert.ok((await hello(host)).includes(`${client.status.podIP}:`), host);
      });
      assert.ok(segments.length > 0 && segments.every(isHbone), host);
    }
  });

  it('reaches a headless Service by its name, at one of its pods', async () => {
    assert.ok((await hello(`set.${ns}`)).includes(`${client.status.podIP}:`));
  });

  it('carries connections to each of several containers', async () => {
    const [many] = await cluster.readyPods(ns, 'app=many');
    assert.ok(many?.status.podIP !== undefined);
    const host = many.status.podIP;
    const { segments } = await onTheWire(cluster, [client, many], async () => {
      assert.match(await hello(host), /HELLO/);
      const load = await Load.start(cluster, client, host, { streams: 1, pauseMs: 10 });
      await load.stopWhole(MOMENT_MS);
    });
    assert.ok(segments.length > 0 && segments.every(isHbone));
  });

  it('has a pod in the mesh whose sandbox was made anew, in its new network namespace', async () => {
    const [before] = await cluster.readyPods(ns, 'app=many');
    assert.ok(before);
    const cookie = (await inMesh(cluster, before))?.netns.cookie;
    assert.ok(cookie);
    kill(...sandboxOf(before));
    await cluster.until('it is in the mesh with another network namespace', async () => {
      const now = await inMesh(cluster, before);
      return now?.state === 'verified' && now.netns.cookie !== cookie;
    });
    await cluster.until('its containers run again', async () => {
      const [now] = await cluster.readyPods(ns, 'app=many');
      return now?.status.containerStatuses?.every(({ restartCount }) => restartCount > 0) === true;
    });
    const [after] = await cluster.readyPods(ns, 'app=many');
    assert.equal(after?.metadata.uid, before.metadata.uid);
    const host = after.status.podIP ?? '';
    await cluster.until('it answers', async () => (await hello(host)).includes('HELLO'));
    const { segments } = await onTheWire(cluster, [client, after], () => hello(host));
    assert.ok(segments.length > 0 && segments.every(isHbone));
  });

  it('lets a Job end, whose init container speaks first in the mesh', async () => {
    const call = script('mesh/app/client.mjs', 'listen', `server.${ns}`, '7000', '10000');
    const job: KubeObject = {
      apiVersion: 'batch/v1',
      kind: 'Job',
      metadata: { name: 'job', namespace: ns },
      spec: {
        backoffLimit: 0,
        template: {
          metadata: { labels: { app: 'job' } },
          spec: podSpec([container(call)], {
            initContainers: [container(call, { name: 'first' })],
            restartPolicy: 'Never',
            nodeSelector: { 'kubernetes.io/hostname': 'node1' },
          }),
        },
      },
    };
    await cluster.apply(job);
    try {
      await cluster.until('the Job is complete', async () => {
        const { status } = await cluster.client.get<{ status?: { succeeded?: number; failed?: number } }>(
          `/apis/batch/v1/namespaces/${ns}/jobs/job`,
        );
        assert.equal(status?.failed ?? 0, 0);
        return status?.succeeded === 1;
      });
      const [pod] = await cluster.pods(ns, 'app=job');
      assert.ok(pod);
      for (const name of ['first', 'app']) {
        const said = await cluster.log(pod, name);
        assert.match(said, /HELLO/, `what ${name} heard`);
        assert.ok(said.includes(`${pod.status.podIP}:`), `the server saw the pod's own address for ${name}`);
      }
    } finally {
      await cluster.remove(job);
    }
  });
});
