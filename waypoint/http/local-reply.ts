import type { WaypointFlag } from '../telemetry/response-flags.ts';
import type { Exchange } from './exchange.ts';
import type { Headers, HttpProtocol } from '../../lib/mesh/waypoint/request.ts';

/** A response of the waypoint's own. */
export interface LocalReply {
  readonly status: number;
  /** A sentence for whoever made the request; tells nothing of policies. */
  readonly text: string;
  readonly flags: readonly WaypointFlag[];
  readonly headers?: Headers;
  /** Where a fault asks for this very one. */
  readonly grpcStatus?: number;
}

const BODILESS: ReadonlySet<number> = new Set([204, 205, 304]);
const GRPC_INTERNAL = 13;
/** gRPC's own table for responses of proxies ("HTTP to gRPC status code mapping"), but for timeouts, which are ours. */
const GRPC_STATUS: Readonly<Record<number, number>> = {
  400: 13,
  401: 16,
  403: 7,
  404: 12,
  408: 4,
  413: 8,
  429: 8,
  431: 13,
  502: 14,
  503: 14,
  504: 4,
};

/** Headers and body of a reply, in the terms of the client's protocol. */
export function localReply(
  reply: LocalReply,
  protocol: HttpProtocol,
): { readonly status: number; readonly headers: Headers; readonly body: string } {
  const headers: Headers = Object.assign(Object.create(null) as Headers, reply.headers);
  if (reply.flags.length > 0) headers['x-loam-response-flags'] = reply.flags.join(',');
  if (protocol === 'grpc') {
    headers['content-type'] = 'application/grpc';
    headers['grpc-status'] = String(reply.grpcStatus ?? GRPC_STATUS[reply.status] ?? GRPC_INTERNAL);
    headers['grpc-message'] = encodeURIComponent(reply.text).replaceAll('%20', ' ');
    return { status: 200, headers, body: '' };
  }
  // A fault may ask for a status that has no body (RFC 9110 sections 15.3.5 and 15.4.5), nor then a length.
  if (BODILESS.has(reply.status)) return { status: reply.status, headers, body: '' };
  const body = reply.text === '' ? '' : `${reply.text}\n`;
  if (body !== '') headers['content-type'] = 'text/plain; charset=utf-8';
  headers['content-length'] = String(Buffer.byteLength(body));
  return { status: reply.status, headers, body };
}

/** Sends a prepared reply. @returns bytes of its body */
export function sendReply(
  exchange: Exchange,
  { status, headers, body }: ReturnType<typeof localReply>,
): number {
  if (exchange.headSent || exchange.aborted) return 0;
  const withBody = body !== '' && exchange.incoming.method !== 'HEAD';
  exchange.respond(status, headers, !withBody);
  if (withBody) {
    exchange.out.write(body);
    exchange.endWithTrailers(Object.create(null) as Headers);
  }
  return withBody ? Buffer.byteLength(body) : 0;
}
