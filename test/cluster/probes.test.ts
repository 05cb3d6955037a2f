import assert from 'node:assert/strict';
import { container, namespace, podSpec, script } from './support/apps.ts';
import { TestCluster, type TestPod } from './support/cluster.ts';
import { AMBIENT, installed } from './support/installation.ts';
import { agentStatus } from './support/node-agent.ts';
import { kill, processesOfNode } from './support/processes.ts';
import type { KubeObject } from './support/resources.ts';

const NS = 'probes';
const OFTEN = { periodSeconds: 1, failureThreshold: 3 };

/** Nobody may come in plaintext, and nobody at all. */
const STRICT: KubeObject[] = [
  {
    apiVersion: 'security.istio.io/v1',
    kind: 'PeerAuthentication',
    metadata: { name: 'strict', namespace: NS },
    spec: { mtls: { mode: 'STRICT' } },
  },
  {
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: 'nobody', namespace: NS },
    spec: {},
  },
];

describe("the kubelet's probes under STRICT, with everybody denied", function () {
  this.timeout(600_000);
  const cluster = TestCluster.open();
  const probed: KubeObject = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'probed', namespace: NS, labels: { app: 'probed' } },
    spec: podSpec([
      container(script('cluster/app/probed.mjs'), {
        startupProbe: { httpGet: { port: 8080, path: '/start' }, ...OFTEN, failureThreshold: 60 },
        livenessProbe: { httpGet: { port: 8080, path: '/live' }, ...OFTEN },
        readinessProbe: { grpc: { port: 9090 }, ...OFTEN },
      }),
      container(script('cluster/app/ticker.mjs', 'serve', '7200'), {
        name: 'second',
        livenessProbe: { tcpSocket: { port: 7200 }, ...OFTEN },
        readinessProbe: {
          exec: { command: ['/usr/local/bin/node', '-e', '0'] },
          periodSeconds: 5,
          timeoutSeconds: 5,
        },
      }),
    ]),
  };
  const space = namespace(NS, AMBIENT);
  let pod: TestPod;

  before(async () => {
    await installed(cluster);
    await cluster.apply(space, ...STRICT, probed);
    const [found] = await cluster.readyPods(NS, 'app=probed');
    assert.ok(found);
    pod = found;
  });
  after(() => cluster.remove(probed, ...STRICT, space));

  const count = async (pattern: RegExp): Promise<number> =>
    [...(await cluster.log(pod)).matchAll(pattern)].length;

  /** How many probes of the pod its kubelet told of as failed. */
  const unhealthy = async (): Promise<number> => {
    const fieldSelector = 'involvedObject.name=probed,reason=Unhealthy';
    const { items } = await cluster.client.get<{ items: readonly { readonly count?: number }[] }>(
      `/api/v1/namespaces/${NS}/events`,
      { fieldSelector },
    );
    return items.reduce((sum, { count: times = 1 }) => sum + times, 0);
  };

  it('reach the application by HTTP, gRPC, TCP and exec, again and again', async () => {
    await cluster.until('each has come ten times', async () => {
      const [http, grpc] = [await count(/^http \/live kube-probe/gm), await count(/^grpc \/grpc.health/gm)];
      return http >= 10 && grpc >= 10;
    });
    const [now] = await cluster.readyPods(NS, 'app=probed');
    assert.deepEqual(
      now?.status.containerStatuses?.map(({ name, ready, restartCount }) => [name, ready, restartCount]),
      [
        ['app', true, 0],
        ['second', true, 0],
      ],
    );
  });

  it('come from the address of the node, which nobody has changed', async () => {
    const [from = ''] = /(?<=^http \/live kube-probe\S* ).*$/m.exec(await cluster.log(pod)) ?? [];
    const { name } = cluster.node(pod.spec.nodeName);
    const own = await cluster.onNode(name, ['ip', '-o', 'addr']);
    assert.ok(own.includes(` ${from.replace('::ffff:', '')}/`), from);
  });

  it('are those of the kubelet alone: another process of the node reaches nothing', async () => {
    const { name } = cluster.node(pod.spec.nodeName);
    const url = `http://${pod.status.podIP}:8080/another`;
    await assert.rejects(cluster.onNode(name, ['curl', '-sS', '--fail', '--max-time', '3', url]));
    assert.equal(await count(/another/g), 0);
    const { kernel, kubernetes } = await agentStatus(cluster, name);
    assert.ok(kubernetes?.kubeletPid !== undefined);
    assert.ok('passedProbe' in kernel && Number(kernel['passedProbe']) > 0);
  });

  it('go on after the kubelet was killed, and none fails for it', async () => {
    const { name } = cluster.node(pod.spec.nodeName);
    const passing = async (): Promise<number | undefined> =>
      (await agentStatus(cluster, name)).kubernetes?.kubeletPid;
    const [former, refused] = [await passing(), await unhealthy()];
    kill(...processesOfNode(cluster, name, 'kubelet'));
    await cluster.until('the probes of another kubelet pass', async () => {
      const now = await passing();
      return now !== undefined && now !== former;
    });
    const come = (): Promise<number[]> =>
      Promise.all([count(/^http \/live kube-probe/gm), count(/^grpc \/grpc.health/gm)]);
    // A kubelet shows no log of a pod before it has heard of the pod.
    let before: number[] | undefined;
    await cluster.until('each has come five times more', async () => {
      const now = await come();
      before ??= now;
      return now.every((times, i) => times >= (before?.[i] ?? 0) + 5);
    });
    const [now] = await cluster.readyPods(NS, 'app=probed');
    assert.deepEqual(
      now?.status.containerStatuses?.map(({ restartCount }) => restartCount),
      [0, 0],
    );
    assert.equal(await unhealthy(), refused);
  });

  it('of a neighbour that names this pod as its host reach no port where this one is not probed', async () => {
    const host = pod.status.podIP;
    const neighbour: KubeObject = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'neighbour', namespace: NS },
      spec: {
        ...podSpec([
          container(script('cluster/app/ticker.mjs', 'serve', '7200'), {
            // The control: the kubelet does dial whomever a probe names.
            livenessProbe: { httpGet: { host, port: 8080, path: '/neighbour' }, ...OFTEN },
            readinessProbe: { httpGet: { host, port: 8081, path: '/elsewhere' }, ...OFTEN },
          }),
        ]),
        nodeName: pod.spec.nodeName,
      },
    };
    await cluster.apply(neighbour);
    try {
      await cluster.until('the kubelet has asked on the behalf of the neighbour', async () => {
        return (await count(/^http \/neighbour kube-probe/gm)) >= 10;
      });
      assert.equal(await count(/elsewhere/g), 0);
    } finally {
      await cluster.remove(neighbour);
    }
  });
});
