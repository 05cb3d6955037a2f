import assert from 'node:assert/strict';
import { container, deployment, idle, namespace, podSpec, script, service } from '../support/apps.ts';
import { TestCluster, type TestPod } from '../support/cluster.ts';
import { AMBIENT, installed } from '../support/installation.ts';
import type { KubeObject } from '../support/resources.ts';
import { isHbone, onTheWire } from '../support/wire.ts';

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
