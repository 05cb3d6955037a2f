import { randomBytes } from 'node:crypto';
import { canonicalIp } from '../state/ip.ts';
import { parseForwardedFor } from './forwarded.ts';
import { parseHostPort, type HostPort } from './host-port.ts';

export { forwardedHeader, parseForwardedFor } from './forwarded.ts';
export { hostPortText, type HostPort } from './host-port.ts';

/** What a tunnel's client tells about itself in `baggage` (ambient-facts C2); empty values are left out. */
export interface BaggageSource {
  readonly clusterId: string;
  readonly namespace: string;
  readonly workloadType: string;
  readonly workloadName: string;
  readonly canonicalName: string;
  readonly canonicalRevision: string;
}

/** A W3C baggage header of the keys that Istio's proxies send and read. */
export function baggageHeader(source: BaggageSource): string {
  const entries: [string, string][] = [
    ['k8s.cluster.name', source.clusterId],
    ['k8s.namespace.name', source.namespace],
    [`k8s.${source.workloadType || 'pod'}.name`, source.workloadName],
    ['service.name', source.canonicalName],
    ['service.version', source.canonicalRevision],
  ];
  return entries
    .filter(([, value]) => value !== '')
    .map(([key, value]) => `${key}=${encodeURIComponent(value)}`)
    .join(',');
}

/** A W3C traceparent with random ids, one a connection; the trace id names the connection in logs of both ends. */
export function newTraceparent(): string {
  const id = randomBytes(24).toString('hex');
  return `00-${id.slice(0, 32)}-${id.slice(32)}-01`;
}

/**
 * Who the application sees as its client. The address is the TCP peer's, which is the source pod's own since its
 * ztunnel dials from inside its netns; a header cannot change it (but a waypoint's can, see parseForwardedClient). The port that the application used is only in
 * `forwarded`, and is taken only when that header speaks of the very same address.
 */
export function trueClient(tcpPeer: HostPort, forwarded: unknown): HostPort {
  const claimed = parseForwardedFor(forwarded);
  return claimed?.ip === tcpPeer.ip ? claimed : tcpPeer;
}

/** The `:authority` of a CONNECT as address and port; undefined when it is not of the form `ipv4:port` or `[ipv6]:port`. */
export function parseAuthority(authority: unknown): HostPort | undefined {
  return parseHostPort(authority);
}

/**
 * The address of a socket in its one written form: dual-stack sockets show IPv4 mapped, and link-local addresses have a
 * zone. Empty for what is no address.
 */
export function plainIp(address: string | undefined): string {
  return address === undefined ? '' : (canonicalIp(address) ?? '');
}
