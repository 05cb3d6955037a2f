import { readdirSync } from 'node:fs';
import { familyOf } from '../../lib/ip-families.ts';
import { macOf, type Addresses, type AddressPlan, type NodeAddresses } from './addresses.ts';
import { netnsName, netnsPath, netnsPrefix, vethName, waypointVethName } from './names.ts';
import { ipBatch, runCommand, tryCommand } from './run-command.ts';

/**
 * No packet of the mesh ever leaves a veth, and the mesh adds no header to a packet (its tunnels end TCP
 * connections), so that the Ethernet default fits everywhere.
 */
const MTU = 1500;
const FABRIC_BRIDGE = 'fabric';
const PODS_BRIDGE = 'pods';

/** Sets sysctls of one network namespace only: below /proc/sys/net the kernel shows those of the reader. */
async function setSysctls(netns: string, values: Readonly<Record<string, string>>): Promise<void> {
  const script = Object.entries(values)
    .map(([name, value]) => `echo ${value} > /proc/sys/${name.replaceAll('.', '/')}`)
    .join('\n');
  await runCommand(['nsenter', `--net=${netnsPath(netns)}`, 'sh', '-e'], script);
}

async function addNetns(name: string): Promise<void> {
  await runCommand(['ip', 'netns', 'add', name]);
  await ipBatch(name, ['link set lo up']);
}

export async function deleteNetns(name: string): Promise<void> {
  const { code, stderr } = await tryCommand(['ip', 'netns', 'del', name]);
  if (code !== 0 && !/No such file/.test(stderr)) throw new Error(`ip netns del ${name}: ${stderr.trim()}`);
}

/** The network namespaces on this machine that belong to the mesh. */
export function netnsOfMesh(mesh: string): string[] {
  try {
    return readdirSync('/run/netns').filter((name) => name.startsWith(netnsPrefix(mesh)));
  } catch {
    return [];
  }
}

/** The wires of one mesh: all of them between its own namespaces, none in the machine's. */
export class MeshNetwork {
  readonly #mesh: string;
  readonly #plan: AddressPlan;
  readonly #nodes = new Map<string, NodeAddresses>();

  constructor(mesh: string, plan: AddressPlan) {
    this.#mesh = mesh;
    this.#plan = plan;
  }

  get fabric(): string {
    return netnsName(this.#mesh, { kind: 'fabric' });
  }

  get control(): string {
    return netnsName(this.#mesh, { kind: 'control' });
  }

  node(node: string): string {
    return netnsName(this.#mesh, { kind: 'node', node });
  }

  pod(namespace: string, name: string): string {
    return netnsName(this.#mesh, { kind: 'pod', namespace, name });
  }

  waypoint(namespace: string, name: string, index: number): string {
    return netnsName(this.#mesh, { kind: 'waypoint', namespace, name, index });
  }

  /** Makes the fabric, a bridge in a namespace of its own, and the control plane's namespace beside it. */
  async build(): Promise<void> {
    await addNetns(this.fabric);
    await setSysctls(this.fabric, { 'net.ipv6.conf.all.disable_ipv6': '1' });
    await ipBatch(this.fabric, [
      `link add ${FABRIC_BRIDGE} mtu ${MTU} type bridge`,
      `link set ${FABRIC_BRIDGE} up`,
    ]);
    await addNetns(this.control);
    await this.#join(this.control, 'control', this.#plan.control);
  }

  /** Makes a node: a router between its pods and the fabric. */
  async addNode(node: string): Promise<void> {
    const place = this.#plan.node(node);
    const netns = this.node(node);
    await addNetns(netns);
    await setSysctls(netns, { 'net.ipv4.ip_forward': '1', 'net.ipv6.conf.all.forwarding': '1' });
    await this.#join(netns, `node${place.index}`, place.fabric);
    await ipBatch(netns, [
      `link add ${PODS_BRIDGE} mtu ${MTU} type bridge`,
      `addr add ${place.gateway.ip4}/24 dev ${PODS_BRIDGE}`,
      `addr add ${place.gateway.ip6}/64 dev ${PODS_BRIDGE} nodad`,
      `link set ${PODS_BRIDGE} up`,
    ]);
    for (const [other, otherPlace] of this.#nodes) {
      await ipBatch(netns, routesTo(otherPlace));
      await ipBatch(this.node(other), routesTo(place));
    }
    this.#nodes.set(node, place);
  }

  /** Makes a pod's namespace with its addresses, joined to its node. @returns the namespace's name */
  async addPod(node: string, namespace: string, name: string, ips: readonly string[]): Promise<string> {
    const netns = this.pod(namespace, name);
    await this.#addToNode(netns, node, vethName(namespace, name), ips);
    return netns;
  }

  /**
   * Makes the namespace of an instance of a waypoint, joined to its node as a pod's is. Unlike a pod it has a way to the
   * control plane, which knows no way back to pods.
   *
   * @returns the namespace's name
   */
  async addWaypoint(
    node: string,
    namespace: string,
    name: string,
    index: number,
    addresses: Addresses,
  ): Promise<string> {
    const netns = this.waypoint(namespace, name, index);
    const ips = [addresses.ip4, addresses.ip6];
    await this.#addToNode(netns, node, waypointVethName(namespace, name, index), ips);
    const { fabric } = this.#plan.node(node);
    await ipBatch(this.control, [
      `route replace ${addresses.ip4}/32 via ${fabric.ip4}`,
      `route replace ${addresses.ip6}/128 via ${fabric.ip6}`,
    ]);
    return netns;
  }

  /** Removes what {@link addWaypoint} made; its addresses may be a pod's afterwards. */
  async removeWaypoint(netns: string, addresses: Addresses): Promise<void> {
    // Not there where the making of it failed halfway.
    for (const address of [`${addresses.ip4}/32`, `${addresses.ip6}/128`])
      await tryCommand(['ip', '-n', this.control, 'route', 'del', address]);
    await deleteNetns(netns);
  }

  /** A family of which `ips` has no address is absent: IPv6 as if it were switched off, IPv4 without an address. */
  async #addToNode(netns: string, node: string, port: string, ips: readonly string[]): Promise<void> {
    const { gateway } = this.#plan.node(node);
    await addNetns(netns);
    await this.#veth(netns, this.node(node), port, PODS_BRIDGE, macOf(ips[0] ?? ''));
    if (!ips.some(isV6)) await setSysctls(netns, { 'net.ipv6.conf.eth0.disable_ipv6': '1' });
    await ipBatch(netns, [
      ...ips.map((ip) => `addr add ${ip}/${isV6(ip) ? '64 dev eth0 nodad' : '24 dev eth0'}`),
      'link set eth0 up',
      ...ips.map((ip) => `route add default via ${isV6(ip) ? gateway.ip6 : gateway.ip4}`),
    ]);
  }

  async #join(netns: string, port: string, addresses: Addresses): Promise<void> {
    await this.#veth(netns, this.fabric, port, FABRIC_BRIDGE);
    await ipBatch(netns, [
      `addr add ${addresses.ip4}/24 dev eth0`,
      `addr add ${addresses.ip6}/64 dev eth0 nodad`,
      'link set eth0 up',
    ]);
  }

  /** A veth born inside `hub`, one end on its bridge, the other `eth0` of `netns`. */
  async #veth(netns: string, hub: string, port: string, bridge: string, mac?: string): Promise<void> {
    const address = mac === undefined ? '' : ` address ${mac}`;
    await ipBatch(hub, [
      `link add ${port} mtu ${MTU} type veth peer name eth0${address} mtu ${MTU} netns ${netns}`,
      `link set ${port} master ${bridge}`,
      `link set ${port} up`,
    ]);
  }
}

function isV6(ip: string): boolean {
  return familyOf(ip) === 'IPv6';
}

function routesTo(node: NodeAddresses): string[] {
  return [
    `route add ${node.podSubnet4} via ${node.fabric.ip4}`,
    `route add ${node.podSubnet6} via ${node.fabric.ip6}`,
  ];
}
