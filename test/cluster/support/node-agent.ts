/** What the agent of a node shows of itself. */
import type { Status, PodStatus } from '../../../agent/status.ts';
import type { TestCluster, TestPod } from './cluster.ts';

const SOCKET = '/run/loam/agent.sock';

export async function agentStatus(cluster: TestCluster, node: string | undefined): Promise<Status> {
  const command = ['curl', '-s', '--unix-socket', SOCKET, 'http://agent/status'];
  return JSON.parse(await cluster.onNode(cluster.node(node).name, command)) as Status;
}

/** A pod as its node's agent has it; undefined: it is not in the mesh. */
export async function inMesh(
  cluster: TestCluster,
  { metadata, spec }: TestPod,
): Promise<PodStatus | undefined> {
  const { pods } = await agentStatus(cluster, spec.nodeName);
  return pods.find(({ uid }) => uid === metadata.uid);
}
