import { existsSync } from 'node:fs';

/** An address to listen on; `::` is every address of both families. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/** The host to bind: where the kernel has no IPv6 at all (ipv6.disable=1), every address means every IPv4 address. */
export function bindHost(host: string): string {
  return host === '::' && !existsSync('/proc/net/if_inet6') ? '0.0.0.0' : host;
}
