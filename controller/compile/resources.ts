import type { Address } from '../../proto/gen/istio/workload/workload_pb.js';
import { toBinary } from '@bufbuild/protobuf';
import { AddressSchema } from '../../proto/gen/istio/workload/workload_pb.js';
import { canonicalAddress } from './addresses.ts';

/** One resource for the wire. */
export interface CompiledResource {
  readonly name: string;
  readonly bytes: Uint8Array;
  /** Other names it can be asked for by: "network/ip", and for a workload the services it belongs to. */
  readonly aliases: readonly string[];
  readonly members: readonly string[];
  /** The node that a pod runs on. */
  readonly node?: string;
}

/** A service or workload, to be found by its addresses. `members` are the services that a workload belongs to. */
export function encodeAddress(
  name: string,
  address: Address,
  ips: readonly string[],
  members: readonly string[] = [],
  node?: string,
): CompiledResource {
  const aliases = ips.map((ip) => `/${canonicalAddress(ip)}`);
  const bytes = toBinary(AddressSchema, address);
  return { name, bytes, aliases, members, ...(node !== undefined && { node }) };
}

/** Adds a service or workload. */
export function addAddress(
  resources: Map<string, CompiledResource>,
  name: string,
  address: Address,
  ips: readonly string[],
  members: readonly string[] = [],
): void {
  resources.set(name, encodeAddress(name, address, ips, members));
}

/** What is addressed by what: an address stands for one identity, a name for one resource. */
export class Claims {
  readonly #owners = new Map<string, string>();
  /** All that was wanted by who did not get it. */
  readonly #contested = new Set<string>();
  #refused = 0;

  /** How often somebody did not get an address since it was another's. */
  get refused(): number {
    return this.#refused;
  }

  /** Whether who has one of these, or nobody, decides about somebody who did not get what he wanted. */
  isContested(addresses: readonly string[]): boolean {
    return addresses.some((address) => this.#contested.has(address));
  }

  /** Who has claimed an address. */
  ownerOf(address: string): string | undefined {
    return this.#owners.get(address);
  }

  /** Claims all of these for `who`, or none: then it says which one belongs to whom. */
  claim(wanted: readonly string[], who: string): string | undefined {
    for (const each of wanted) {
      const owner = this.#owners.get(each);
      if (owner === undefined) continue;
      this.#refused += 1;
      for (const contested of wanted) this.#contested.add(contested);
      return `its address ${each} belongs to ${owner} already`;
    }
    for (const each of wanted) this.#owners.set(each, who);
    return undefined;
  }

  /** Gives back what was claimed. */
  release(claimed: readonly string[]): void {
    for (const each of claimed) this.#owners.delete(each);
  }
}
