import type { Cors } from '../../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { header, type Headers, type RequestHead } from '../../request.ts';
import type { LocalResponse } from './apply-filters.ts';
import { allowedOrigins } from './cors-origin.ts';
import { addVary } from './header-modifier.ts';

/** What a CORS filter found out about a request, to be applied to its response. */
export interface CorsResult {
  readonly cors: Cors;
  /** The origin to name, or `*`; `undefined` if the request's origin is not allowed, or it brought none. */
  readonly allowOrigin: string | undefined;
}

const TOKEN = /^[!#$%&'*+.^_`|~0-9a-z-]+$/i;

/** Response headers that a script may always read (Fetch, CORS-safelisted response-header name). */
const SAFELISTED = new Set([
  'cache-control',
  'content-language',
  'content-length',
  'content-type',
  'expires',
  'last-modified',
  'pragma',
]);

/** Judges the request's origin (GEP-1767). */
export function checkCors(cors: Cors, head: RequestHead): CorsResult {
  const origin = header(head.headers, 'origin');
  const origins = allowedOrigins(cors);
  if (origins.all && !cors.allowCredentials) {
    return { cors, allowOrigin: origin === undefined ? undefined : '*' };
  }
  if (origin === undefined || !origins.allows(origin)) return { cors, allowOrigin: undefined };
  // Any sandboxed frame and any local file has the origin null: credentials are not for them.
  if (origin === 'null' && cors.allowCredentials) return { cors, allowOrigin: undefined };
  return { cors, allowOrigin: origin };
}

/** Whether the request only asks what it may do (Fetch, CORS-preflight request). */
export function isPreflight(head: RequestHead): boolean {
  return (
    head.method === 'OPTIONS' &&
    header(head.headers, 'origin') !== undefined &&
    header(head.headers, 'access-control-request-method') !== undefined
  );
}

/**
 * The answer to a preflight. An origin that is not allowed gets the same answer without any permission: what the
 * backend would have said does not count, since the route's filter is the one place that decides.
 */
export function preflightResponse(result: CorsResult, head: RequestHead): LocalResponse {
  const { cors } = result;
  const headers = Object.assign(Object.create(null) as Headers, { 'content-length': '0' });
  applyCors(result, headers);
  if (result.allowOrigin !== undefined) {
    const methods = wanted(head, 'access-control-request-method');
    const names = wanted(head, 'access-control-request-headers');
    put(headers, 'access-control-allow-methods', listed(cors.allowMethods, cors, methods));
    put(headers, 'access-control-allow-headers', listed(cors.allowHeaders, cors, names));
    headers['access-control-max-age'] = String(cors.maxAge);
  }
  return { status: 204, headers };
}

/** Sets the CORS headers of a response in place; those that the backend set are taken away. */
export function applyCors({ cors, allowOrigin }: CorsResult, headers: Headers): void {
  for (const name of Object.keys(headers)) {
    if (name.startsWith('access-control-')) Reflect.deleteProperty(headers, name);
  }
  // A cache must not give one origin's answer to another.
  if (!allowedOrigins(cors).all || cors.allowCredentials) addVary(headers, 'origin');
  if (allowOrigin === undefined) return;
  headers['access-control-allow-origin'] = allowOrigin;
  if (cors.allowCredentials) headers['access-control-allow-credentials'] = 'true';
  const readable = Object.keys(headers).filter(
    (name) => !SAFELISTED.has(name) && !name.startsWith('access-control-') && name !== 'set-cookie',
  );
  put(headers, 'access-control-expose-headers', listed(cors.exposeHeaders, cors, readable));
}

/** An asterisk has its meaning only without credentials (Fetch): with them, what was asked for stands in its place. */
function listed(allowed: readonly string[], cors: Cors, asked: readonly string[]): string {
  if (!allowed.includes('*')) return allowed.join(', ');
  return cors.allowCredentials ? asked.join(', ') : '*';
}

/** The list that a preflight asks for; what is no token is left out. */
function wanted(head: RequestHead, name: string): string[] {
  const items = header(head.headers, name)?.split(',') ?? [];
  return items.map((item) => item.trim()).filter((item) => TOKEN.test(item));
}

function put(headers: Headers, name: string, value: string): void {
  if (value !== '') headers[name] = value;
}
