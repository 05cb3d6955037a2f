import type { Headers } from '../../lib/mesh/waypoint/request.ts';

/** RFC 9110 section 5.6.2. */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/** Connection-specific header fields (RFC 9110 section 7.6.1, RFC 9113 section 8.2.2). */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'proxy-connection',
  'keep-alive',
  'transfer-encoding',
  'upgrade',
  'te',
  'proxy-authenticate',
  'proxy-authorization',
  'http2-settings',
]);

export function isToken(text: string): boolean {
  return TOKEN.test(text);
}

/** Node's header object as ours; nothing is copied but the references. */
export function withoutPrototype(headers: Readonly<Record<string, string | string[] | undefined>>): Headers {
  const own = Object.create(null) as Headers;
  for (const name in headers) {
    if (name.charCodeAt(0) !== 58) own[name] = headers[name];
  }
  return own;
}

/**
 * Removes what is of one connection only: the fixed names, and those that `connection` lists. `te: trailers` survives,
 * since gRPC asks for it end to end.
 */
export function removeHopByHop(headers: Headers): void {
  const listed = headers['connection'];
  if (typeof listed === 'string' && listed !== 'keep-alive' && listed !== 'close') {
    for (const name of listed.split(',')) {
      const lower = name.trim().toLowerCase();
      // A client must not be able to take away what the next hop decides by.
      if (lower !== '' && !PROTECTED.has(lower)) delete headers[lower];
    }
  }
  const te = headers['te'];
  for (const name of HOP_BY_HOP) {
    if (name in headers) delete headers[name];
  }
  if (typeof te === 'string' && /(^|,)\s*trailers\s*($|,|;)/i.test(te)) headers['te'] = 'trailers';
}

/** Never removed because a client listed them in `connection`. */
const PROTECTED: ReadonlySet<string> = new Set([
  'host',
  'content-length',
  'content-type',
  'authorization',
  'cookie',
  'x-forwarded-for',
  'x-forwarded-proto',
  'x-forwarded-host',
  'x-forwarded-client-cert',
  'x-request-id',
  'traceparent',
  'te',
]);

/** A copy that can be changed without changing the first. */
export function copyHeaders(headers: Headers): Headers {
  return Object.assign(Object.create(null) as Headers, headers);
}

/** Fields that must not come after the body, since somebody has decided by them before (RFC 9110 section 6.5.1). */
const NOT_IN_TRAILERS: ReadonlySet<string> = new Set([
  ...HOP_BY_HOP,
  'content-length',
  'content-type',
  'content-encoding',
  'content-range',
  'trailer',
  'host',
  'authorization',
  'cookie',
  'set-cookie',
  'expect',
  'range',
  'max-forwards',
  'cache-control',
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-proto',
  'x-forwarded-host',
  'x-forwarded-port',
  'x-forwarded-client-cert',
  'x-real-ip',
  'x-request-id',
  'traceparent',
  'tracestate',
  'baggage',
]);

/** Trailers as they may be handed on. A recipient may merge them into the headers, so those that decide things go. */
export function trailersOf(trailers: Readonly<Record<string, string | string[] | undefined>>): Headers {
  const kept = withoutPrototype(trailers);
  for (const name of Object.keys(kept)) if (NOT_IN_TRAILERS.has(name)) delete kept[name];
  return kept;
}
