/** The wires of a test cluster: a bridge in a namespace of its own, with the control plane and every node on it. */
import { readdirSync } from 'node:fs';
import { deleteNetns } from '../../local/network.ts';
import { ipBatch, runCommand } from '../../local/run-command.ts';
import { ADDRESSES, type ClusterPlan } from './plan.ts';

const BRIDGE = 'fabric';
/** The device of the control plane and of each node; tests listen at it. */
export const DEVICE = 'eth0';

async function addNetns(name: string): Promise<void> {
  await runCommand(['ip', 'netns', 'add', name]);
  await ipBatch(name, ['link set lo up']);
}

/** Nothing has a default route: no packet leaves the range. @throws LocalMeshError when a command fails */
export async function buildNetwork(plan: ClusterPlan): Promise<void> {
  await addNetns(plan.fabric);
  await ipBatch(plan.fabric, [
    `link add ${BRIDGE} type bridge`,
    `addr add ${ADDRESSES.fabric}/24 dev ${BRIDGE}`,
    `link set ${BRIDGE} up`,
  ]);
  await join(plan, plan.control, 'control', ADDRESSES.control);
  for (const { netns, name, ip } of plan.nodes) await join(plan, netns, name, ip);
}

async function join(plan: ClusterPlan, netns: string, port: string, ip: string): Promise<void> {
  await addNetns(netns);
  await ipBatch(netns, [`link add ${DEVICE} type veth peer name ${port} netns ${plan.fabric}`]);
  await ipBatch(plan.fabric, [`link set ${port} master ${BRIDGE} up`]);
  await ipBatch(netns, [
    `addr add ${ip}/24 dev ${DEVICE}`,
    `link set ${DEVICE} up`,
    `route add ${ADDRESSES.all} via ${ADDRESSES.fabric}`,
  ]);
}

/** Makes a node's pods reachable from everywhere else in the cluster. @param pods the node's range of addresses */
export async function routeToPods(plan: ClusterPlan, node: string, pods: string): Promise<void> {
  const via = plan.nodes.find(({ name }) => name === node)?.ip ?? '';
  const others = plan.nodes.filter(({ name }) => name !== node).map(({ netns }) => netns);
  for (const netns of [plan.control, ...others]) await ipBatch(netns, [`route replace ${pods} via ${via}`]);
}

/** Removes every namespace of the cluster, also one that a killed run left. @returns how many there were */
export async function removeNetwork(plan: ClusterPlan): Promise<number> {
  let names: string[];
  try {
    names = readdirSync('/run/netns').filter((name) => name.startsWith(plan.netnsPrefix));
  } catch {
    names = [];
  }
  await Promise.all(names.map((name) => deleteNetns(name)));
  return names.length;
}
