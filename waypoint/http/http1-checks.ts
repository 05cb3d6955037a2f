import type http from 'node:http';
import type { HttpLimits } from './limits.ts';

/** Why a request is refused that Node's parser lets pass, and with which status. */
export interface Http1Problem {
  readonly status: 400 | 431 | 501 | 505;
  readonly reason: string;
}

/**
 * What must be refused beyond what Node's parser refuses by itself:
 *
 * - a version other than 1.0 and 1.1 (RFC 9110 section 15.6.6): the parser knows 0.9 and 2.0 too;
 * - two Host lines (RFC 9112 section 3.2): Node keeps the first, others the last;
 * - a transfer coding other than `chunked` (RFC 9112 section 6.1): it could not be told to the next hop, which would take
 *   the coded body for the plain one;
 * - any coding in HTTP/1.0, which has none (the same section): whoever takes it for one of 1.0 reads another body;
 * - more header lines than the limit, of which Node would drop the rest in silence.
 */
export function findHttp1Problem(
  { httpVersion, rawHeaders, headers }: http.IncomingMessage,
  { maxHeaders }: HttpLimits,
): Http1Problem | undefined {
  if (httpVersion !== '1.1' && httpVersion !== '1.0') return { status: 505, reason: 'version' };
  if (rawHeaders.length > 2 * maxHeaders) return { status: 431, reason: 'too-many-headers' };
  let hosts = 0;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i];
    if (name?.length === 4 && name.toLowerCase() === 'host') hosts += 1;
  }
  if (hosts > 1) return { status: 400, reason: 'two-hosts' };
  const coding = headers['transfer-encoding'];
  if (coding === undefined) return undefined;
  if (httpVersion === '1.0') return { status: 400, reason: 'transfer-coding' };
  return coding.toLowerCase() === 'chunked' ? undefined : { status: 501, reason: 'transfer-coding' };
}
