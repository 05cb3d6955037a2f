import { isIpv6 } from './ip.ts';
import type { ServiceFamilies, Workload } from './model.ts';

type Addressed = Pick<Workload, 'addresses'>;

/** Whether a workload has an address of the family from which `ip` can be dialled; one without any addresses may try. */
export function canReach(source: Addressed, ip: string): boolean {
  return source.addresses.length === 0 || source.addresses.some((own) => isIpv6(own) === isIpv6(ip));
}

/** By what one of an endpoint's addresses is chosen. */
export interface AddressWish {
  /** The families of the service by which it is reached; `automatic` where it is reached by none. */
  readonly families: ServiceFamilies;
  /** Who dials; undefined where that is not known (yet). */
  readonly source: Addressed | undefined;
  /** The address that the client dialled: its family is preferred, and it itself if it is the endpoint's. */
  readonly asked?: string;
}

/**
 * The address of an endpoint to dial, as Istio's ztunnel chooses it: one that the service's families admit, of the family
 * that was asked for where there is one, else the first. Beyond that, only one that the source can reach.
 *
 * @returns undefined where the endpoint has none that both admit
 */
export function endpointAddress(
  endpoint: Addressed,
  { families, source, asked }: AddressWish,
): string | undefined {
  const usable = endpoint.addresses.filter(
    (ip) => admits(families, ip) && (source === undefined || canReach(source, ip)),
  );
  if (asked === undefined) return usable[0];
  if (usable.includes(asked)) return asked;
  return usable.find((ip) => isIpv6(ip) === isIpv6(asked)) ?? usable[0];
}

function admits(families: ServiceFamilies, ip: string): boolean {
  switch (families) {
    case 'ipv4':
      return !isIpv6(ip);
    case 'ipv6':
      return isIpv6(ip);
    case 'automatic':
    case 'dual':
      return true;
  }
}
