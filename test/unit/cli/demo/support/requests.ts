import { RequestBook } from '../../../../../cli/demo/requests.ts';
import type { RequestLine } from '../../../../../cli/demo/request-log.ts';

export const id = (name: string): string => `spiffe://cluster.local/ns/shop/sa/${name}`;
export const group = (pod: string): string =>
  (pod.startsWith('kiosk/') ? pod : (pod.split('/')[1] ?? '')).replace(/(-v\d)?(-\d)?$/, '');
export const host = (service: string): string => `${service}.shop.svc.cluster.local`;

/** A request that went well. @param pod that answered */
export function request(from: string, to: string, pod: string, over: Partial<RequestLine> = {}): RequestLine {
  return {
    source: `shop/${from}`,
    sourceIdentity: id(group(`x/${from}`)),
    service: host(to),
    destination: `shop/${pod}`,
    destinationIdentity: id(group(`x/${pod}`)),
    ...{ method: 'POST', path: '/', status: 200, attempts: 1, fallback: false, flags: [], durationMs: 4 },
    ...over,
  };
}

/** A request that a policy denied. */
export function denial(from: string, to: string, what: string, policy: string): RequestLine {
  const { destination: _, destinationIdentity: __, ...line } = request(from, to, to);
  const [method = '', path = ''] = what.split(' ');
  return { ...line, method, path, status: 403, attempts: 0, flags: ['DENY'], policy };
}

export const ROUTE = 'HTTPRoute/shop/payments#0';

/** A charge that the route sent to a version of payments. */
export function charge(version: 'v1' | 'v2', pod: string, over: Partial<RequestLine> = {}): RequestLine {
  const backend = host(`payments-${version}`);
  return request('frontend', 'payments', pod, { route: ROUTE, backend, path: '/charge', ...over });
}

export function book(lines: readonly RequestLine[]): RequestBook {
  const made = new RequestBook(group);
  for (const line of lines) made.add(line);
  return made;
}
