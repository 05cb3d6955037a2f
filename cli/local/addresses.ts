import { familyOf, type IpFamily } from '../../lib/ip-families.ts';
import { LocalMeshError } from './errors.ts';

/**
 * Addresses of the local meshes: 198.18.0.0/15, the range for benchmarks (RFC 2544, RFC 6890), cut into 16 slots
 * of a /19, one for each mesh of the machine; beside it a unique local IPv6 /48 (RFC 4193) for each slot.
 *
 * Inside a slot: the first /24 (and /64) joins the nodes and the control plane, the next 23 belong to the nodes' pods,
 * the last eight (one /64) are the Services' virtual addresses.
 */
export const SLOTS = 16;
const FIRST_ADDRESS = (198 << 24) | (18 << 16);
const FIRST_ADDRESS_UNSIGNED = FIRST_ADDRESS >>> 0;
const SLOT_SIZE = 1 << 13;
const SUBNET_SIZE = 256;
const MAX_NODES = 23;
const VIP_SUBNET = 24;
const VIPS = 8 * SUBNET_SIZE;
const CONTROL_HOST = 2;
const FIRST_NODE_HOST = 10;
/** In each pod subnet .1 is the node itself, so pods have .2 to .254. */
const FIRST_POD_HOST = 2;
const LAST_POD_HOST = 254;

/** One interface's addresses. */
export interface Addresses {
  readonly ip4: string;
  readonly ip6: string;
}

/** The addresses of these families, in their order. */
export function addressesOf({ ip4, ip6 }: Addresses, families: readonly IpFamily[]): string[] {
  return families.map((family) => (family === 'IPv4' ? ip4 : ip6));
}

/**
 * A Service's virtual addresses: those that its manifest gives, the allotted ones for its other families.
 *
 * @param families of the Service, the primary first
 */
export function clusterIpsOf(
  families: readonly IpFamily[],
  given: readonly string[],
  allotted: () => Addresses,
): string[] {
  return families.flatMap(
    (family) => given.find((ip) => familyOf(ip) === family) ?? addressesOf(allotted(), [family]),
  );
}

/**
 * The link-layer address of whoever has an address: the same for the next pod that gets it, of whichever family. Neighbours
 * remember it for up to a minute, and would send what is for the new pod to the former, which nobody has any more.
 */
export function macOf(ip: string): string {
  const bytes = familyOf(ip) === 'IPv4' ? placeOfIp4(ip) : placeOfIp6(ip);
  return ['02', '4c', ...bytes.map((byte) => byte.toString(16).padStart(2, '0'))].join(':');
}

/** Slot, subnet, and host in two bytes. */
function placeOfIp4(ip: string): number[] {
  const address = ip.split('.').reduce((sum, part) => sum * 256 + Number(part), 0) - FIRST_ADDRESS_UNSIGNED;
  return [
    Math.floor(address / SLOT_SIZE),
    Math.floor((address % SLOT_SIZE) / SUBNET_SIZE),
    0,
    address % SUBNET_SIZE,
  ];
}

function placeOfIp6(ip: string): number[] {
  const [, , slot = '0', subnet = '0', , host = '0'] = ip.split(':');
  const number = parseInt(host, 16);
  return [parseInt(slot, 16) & 0xff, parseInt(subnet, 16) & 0xff, number >> 8, number & 0xff];
}

/** What a node of the local mesh needs to know of its place. */
export interface NodeAddresses {
  readonly index: number;
  /** On the fabric, towards the other nodes. */
  readonly fabric: Addresses;
  /** The node's own address in its pods' subnet: their gateway. */
  readonly gateway: Addresses;
  readonly podSubnet4: string;
  readonly podSubnet6: string;
}

function dotted(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join('.');
}

/** The address plan of one slot; hands out pods' and Services' addresses. */
export class AddressPlan {
  readonly slot: number;
  readonly #base: number;
  readonly #nodes = new Map<string, NodeAddresses>();
  /** Last host number handed out in a node's subnet: addresses are reused as late as possible. */
  readonly #lastHost = new Map<number, number>();
  readonly #podIps = new Map<string, Addresses>();
  /** Host numbers, by Service. */
  readonly #vips = new Map<string, number>();
  #lastVip = 0;

  constructor(slot: number) {
    if (!Number.isInteger(slot) || slot < 0 || slot >= SLOTS)
      throw new LocalMeshError('LOCAL_MESH_INPUT', `address slot ${slot} is not one of 0 to ${SLOTS - 1}`);
    this.slot = slot;
    this.#base = FIRST_ADDRESS + slot * SLOT_SIZE;
  }

  /** The mesh's whole range. */
  get range(): string {
    return `${dotted(this.#base)}/19`;
  }

  /** The controller's address on the fabric. */
  get control(): Addresses {
    return { ip4: this.#ip4(0, CONTROL_HOST), ip6: this.#ip6(0, CONTROL_HOST) };
  }

  /** The place of a node; the same for each call with the same name. */
  node(name: string): NodeAddresses {
    const known = this.#nodes.get(name);
    if (known) return known;
    const index = this.#nodes.size + 1;
    if (index > MAX_NODES)
      throw new LocalMeshError(
        'LOCAL_MESH_FULL',
        `node ${name}: a local mesh has at most ${MAX_NODES} nodes`,
      );
    const host = FIRST_NODE_HOST + index - 1;
    const node: NodeAddresses = {
      index,
      fabric: { ip4: this.#ip4(0, host), ip6: this.#ip6(0, host) },
      gateway: { ip4: this.#ip4(index, 1), ip6: this.#ip6(index, 1) },
      podSubnet4: `${this.#ip4(index, 0)}/24`,
      podSubnet6: `${this.#prefix6(index)}::/64`,
    };
    this.#nodes.set(name, node);
    return node;
  }

  /**
   * A fresh address in the node's subnet for one life of a pod.
   *
   * @param wish an IPv4 address that it gets, with the IPv6 one beside it, where the subnet has it and it is free
   */
  allocatePod(key: string, node: string, wish?: string): Addresses {
    const { index } = this.node(node);
    const used = new Set([...this.#podIps.values()].map((a) => a.ip4));
    const span = LAST_POD_HOST - FIRST_POD_HOST + 1;
    const start = this.#lastHost.get(index) ?? FIRST_POD_HOST - 1;
    for (let host = FIRST_POD_HOST; host <= LAST_POD_HOST && wish !== undefined; host++) {
      const addresses = { ip4: this.#ip4(index, host), ip6: this.#ip6(index, host) };
      if (addresses.ip4 !== wish || used.has(wish)) continue;
      this.#podIps.set(key, addresses);
      return addresses;
    }
    for (let step = 1; step <= span; step++) {
      const host = FIRST_POD_HOST + ((start - FIRST_POD_HOST + step + span) % span);
      const addresses = { ip4: this.#ip4(index, host), ip6: this.#ip6(index, host) };
      if (used.has(addresses.ip4)) continue;
      this.#lastHost.set(index, host);
      this.#podIps.set(key, addresses);
      return addresses;
    }
    throw new LocalMeshError('LOCAL_MESH_FULL', `node ${node} has ${span} pods already, no address is left`);
  }

  releasePod(key: string): void {
    this.#podIps.delete(key);
  }

  /** The virtual addresses of a Service, the same as long as it is not released. */
  vip(service: string): Addresses {
    const known = this.#vips.get(service);
    if (known !== undefined) return this.#vipAt(known);
    const used = new Set(this.#vips.values());
    for (let step = 1; step < VIPS; step++) {
      const host = 1 + ((this.#lastVip - 1 + step + (VIPS - 1)) % (VIPS - 1));
      if (used.has(host)) continue;
      this.#lastVip = host;
      this.#vips.set(service, host);
      return this.#vipAt(host);
    }
    throw new LocalMeshError('LOCAL_MESH_FULL', `service ${service}: no virtual address is left`);
  }

  /** Forgets the virtual addresses of all Services but the given. */
  keepVips(services: ReadonlySet<string>): void {
    for (const service of this.#vips.keys()) if (!services.has(service)) this.#vips.delete(service);
  }

  #vipAt(host: number): Addresses {
    return { ip4: this.#ip4(VIP_SUBNET, host), ip6: this.#ip6(VIP_SUBNET, host) };
  }

  #ip4(subnet: number, host: number): string {
    return dotted(this.#base + subnet * SUBNET_SIZE + host);
  }

  #prefix6(subnet: number): string {
    // 4c6f616d spells "Loam" in ASCII.
    return `fd4c:6f61:6d${this.slot.toString(16).padStart(2, '0')}:${subnet.toString(16)}`;
  }

  #ip6(subnet: number, host: number): string {
    return `${this.#prefix6(subnet)}::${host.toString(16)}`;
  }
}
