/** Programs of Loam that are replaced in good order, or killed, or away, under load. */
import { setTimeout as sleep } from 'node:timers/promises';
import { container, podSpec } from '../../test/cluster/support/apps.ts';
import type { TestCluster, TestPod } from '../../test/cluster/support/cluster.ts';
import { SYSTEM } from '../../test/cluster/support/installation.ts';
import { connections, NAMESPACE, only, processesOf, streams, underLoad, type Connections } from './scene.ts';
import { connectionsText, streamsText } from './text.ts';

type Say = (text: string) => void;
const WORKLOADS = `/apis/apps/v1/namespaces/${SYSTEM}`;
const MERGE = 'application/merge-patch+json';

/** `kubectl rollout restart` of the DaemonSet of ztunnel; then waits until the new ones serve. */
export async function rollOut(cluster: TestCluster, afterMs: number, say: Say): Promise<void> {
  const client = await only(cluster, 'client');
  const near = await streams(cluster, client, `near.${NAMESPACE}`);
  let took = 0;
  const path = `${WORKLOADS}/daemonsets/loam-ztunnel`;
  const seen = await underLoad(
    cluster,
    client,
    async () => {
      const before = await cluster.pods(SYSTEM, 'app.kubernetes.io/name=loam-ztunnel');
      const former = new Set(before.map(({ metadata }) => metadata.uid));
      const begun = Date.now();
      const annotations = { 'kubectl.kubernetes.io/restartedAt': new Date().toISOString() };
      await cluster.client.patch(path, { spec: { template: { metadata: { annotations } } } }, MERGE);
      // The DaemonSet counts of a node's pods the oldest, so it is not done before the former ones have ended, minutes later.
      await cluster.until('a new ztunnel is ready on each node', async () => {
        const ztunnels = await cluster.pods(SYSTEM, 'app.kubernetes.io/name=loam-ztunnel');
        const fresh = ztunnels.filter(
          ({ metadata, status }) =>
            !former.has(metadata.uid) &&
            status.conditions?.some((each) => each.type === 'Ready' && each.status === 'True') === true,
        );
        return fresh.length === cluster.nodes.length;
      });
      took = Date.now() - begun;
    },
    afterMs,
  );
  say(`rollout of ztunnel: took ${took} ms, watched for ${afterMs / 1000} s more`);
  say(
    `  other node: ${streamsText(seen.streams, seen.at)}; same node: ${streamsText(await near.stop(), seen.at)}`,
  );
  say(`  ${connectionsText(seen.connections, seen.at)}`);
}

/** `kill -9` of one program on one node; a new pod right after it, where asked. */
export async function kill(
  cluster: TestCluster,
  program: string,
  node: string | undefined,
  withPod: boolean,
  say: Say,
): Promise<void> {
  const client = await only(cluster, 'client');
  const [pid] = processesOf(cluster, program, node);
  if (pid === undefined) throw new Error(`no ${program} runs on ${node ?? 'any node'}`);
  let back = 0;
  let pod: NewPod | undefined;
  const seen = await underLoad(
    cluster,
    client,
    async () => {
      const begun = Date.now();
      const before = processesOf(cluster, program, node);
      process.kill(pid, 'SIGKILL');
      const late = withPod ? startPod(cluster, `late-${program}`) : undefined;
      await cluster.until('it is back', () => {
        const now = processesOf(cluster, program, node);
        return now.length >= before.length && !now.includes(pid);
      });
      back = Date.now() - begun;
      pod = await late;
    },
    15_000,
  );
  say(`kill -9 of ${program}${node === undefined ? '' : ` of ${node}`}: its next process after ${back} ms`);
  say(`  ${streamsText(seen.streams, seen.at)}; ${connectionsText(seen.connections, seen.at)}`);
  if (pod !== undefined) await sayPod(cluster, pod, say);
}

/** No controller at all for a while; a new pod of an identity that the node has, meanwhile. */
export async function noController(cluster: TestCluster, say: Say): Promise<void> {
  const client = await only(cluster, 'client');
  const path = `${WORKLOADS}/deployments/loam-controller`;
  const scale = (replicas: number): Promise<unknown> =>
    cluster.client.patch(path, { spec: { replicas } }, MERGE);
  let pod: NewPod | undefined;
  const seen = await underLoad(
    cluster,
    client,
    async () => {
      await scale(0);
      await cluster.until('no controller is left', () => processesOf(cluster, 'controller').length === 0);
      pod = await startPod(cluster, 'late-alone');
      await sleep(10_000);
    },
    0,
  ).finally(() => scale(2));
  say('no controller for some 15 s:');
  say(`  ${streamsText(seen.streams, seen.at)}; ${connectionsText(seen.connections, seen.at)}`);
  if (pod !== undefined) await sayPod(cluster, pod, say);
  await cluster.until('the controllers are ready', async () => {
    const { status } = await cluster.client.get<{ status: { readyReplicas?: number } }>(path);
    return status.readyReplicas === 2;
  });
}

interface NewPod {
  readonly pod: TestPod;
  readonly readyMs: number;
  readonly seen: Connections;
  readonly at: number;
}

/** A pod of the client's identity on its node, that dials as soon as it runs. */
async function startPod(cluster: TestCluster, name: string): Promise<NewPod> {
  const at = Date.now();
  const object = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: NAMESPACE, labels: { app: name } },
    spec: podSpec([container(['/usr/local/bin/node', '-e', 'setInterval(() => {}, 1 << 30)'])], {
      nodeName: 'node1',
    }),
  };
  await cluster.apply(object);
  const [pod] = await cluster.readyPods(NAMESPACE, `app=${name}`);
  if (pod === undefined) throw new Error(`no pod ${name}`);
  const readyMs = Date.now() - at;
  const load = await connections(cluster, pod, `server.${NAMESPACE}`, 50);
  await sleep(5000);
  return { pod, readyMs, at, seen: await load.stop() };
}

async function sayPod(cluster: TestCluster, { pod, readyMs, seen, at }: NewPod, say: Say): Promise<void> {
  say(`  a new pod: ready after ${readyMs} ms; ${connectionsText(seen, at)}`);
  await cluster.client.delete(`/api/v1/namespaces/${NAMESPACE}/pods/${pod.metadata.name}`, {
    gracePeriodSeconds: 0,
  });
}
