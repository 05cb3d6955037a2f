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
}

/** Adds a service or workload, to be found by its addresses. `members` are the services that a workload belongs to. */
export function addAddress(
  resources: Map<string, CompiledResource>,
  name: string,
  address: Address,
  ips: readonly string[],
  members: readonly string[] = [],
): void {
  resources.set(name, {
    name,
    bytes: toBinary(AddressSchema, address),
    aliases: ips.map((ip) => `/${canonicalAddress(ip)}`),
    members,
  });
}

/** What is addressed by what: an address stands for one identity, a name for one resource. */
export class Claims {
  readonly #owners = new Map<string, string>();

  /** Who has claimed an address. */
  ownerOf(address: string): string | undefined {
    return this.#owners.get(address);
  }

  /** Claims all of these for `who`, or none: then it says which one belongs to whom. */
  claim(wanted: readonly string[], who: string): string | undefined {
    for (const each of wanted) {
      const owner = this.#owners.get(each);
      if (owner !== undefined) return `its address ${each} belongs to ${owner} already`;
    }
    for (const each of wanted) this.#owners.set(each, who);
    return undefined;
  }
}
