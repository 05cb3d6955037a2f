/** Addresses, ports and names of the measurement: three namespaces and a switch, on 198.18.0.0/15 (RFC 2544). */
export const PLACES = ['client', 'proxy', 'backend'] as const;
export type Place = (typeof PLACES)[number];

/** One for each kind of way that a request may take; `direct` ones are what latency is compared with. */
export const WAYS = ['haproxy', 'loam', 'direct-tls', 'direct-hbone'] as const;
export type Way = (typeof WAYS)[number];

export const IP: Readonly<Record<Place, string>> = {
  client: '198.18.240.1',
  proxy: '198.18.240.2',
  backend: '198.18.240.3',
};
/** The virtual address of the backend's Service. */
export const VIP = '198.19.240.1';
export const WAYPOINT_VIP = '198.19.240.2';
export const SERVICE_PORT = 80;
/** The backend's application port: only named in CONNECTs, since the backend program is its own HBONE end. */
export const TARGET_PORT = 8080;
export const HBONE_PORT = 15008;
export const TLS_PORT = 8443;
export const TRUST_DOMAIN = 'cluster.local';
export const SERVICE_HOST = 'backend.default.svc.cluster.local';
export const GATEWAY = 'default/waypoint';

/** A namespace of ours; a run that was killed is found by it. */
export function netnsOf(place: Place | 'switch'): string {
  return `loam-bw-${place}`;
}

/** The SPIFFE ID of one end. */
export function identityOf(account: string): string {
  return `spiffe://${TRUST_DOMAIN}/ns/default/sa/${account}`;
}

/** The path of route number `i`; requests are spread over all of them. */
export function routePath(i: number): string {
  return `/r/${i}/`;
}
