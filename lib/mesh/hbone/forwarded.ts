import { parseSpiffeUri, spiffeUri, type Identity } from '../../spiffe.ts';
import { ipScope } from '../state/ip.ts';
import { hostPortText, parseHostPort, type HostPort } from './host-port.ts';

/** Of whom a `forwarded` header speaks. */
export interface ForwardedClient {
  readonly client: HostPort;
  /** The client's identity as the proxy in between proved it; undefined when it says none. */
  readonly identity?: Identity;
}

/** Longest header value that is looked at: beyond it a `forwarded` header is ignored, as if absent. */
const MAX_FORWARDED_LENGTH = 1024;
/** RFC 7239 section 4: `token = token | quoted-string`. A bare value may hold what addresses and URIs have, too. */
const PAIR =
  /[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32})=(?:"((?:[^"\\\p{Cc}]|\\[\t\x20-\x7e])*)"|([^\s"\\;,=\p{Cc}]+))[ \t]*/uy;

/**
 * A `forwarded` header (RFC 7239, IPv6 in brackets by its section 6) with the application's own address and, when
 * known, the service that it dialled.
 *
 * @param identity only a waypoint says it, of the client whose connection it passes on; `identity` is Loam's extension
 */
export function forwardedHeader(client: HostPort, serviceHost?: string, identity?: Identity): string {
  const host = serviceHost === undefined ? '' : `;host=${serviceHost}`;
  const who = identity === undefined ? '' : `;identity="${spiffeUri(identity)}"`;
  return `for="${hostPortText(client)}"${host}${who}`;
}

/**
 * The `for=` of a `forwarded` header's first element, when it is an address with port.
 *
 * @returns undefined for anything else: the header comes from a peer and only ever refines what is already known
 */
export function parseForwardedFor(header: unknown): HostPort | undefined {
  return parseHostPort(firstElement(header)?.pairs.get('for'));
}

/**
 * What a waypoint tells of the one client of a stream: `for` and, if it knows, `identity`. Strict: one element, an
 * address that a client elsewhere can have, a well-formed SPIFFE ID. The caller must have proven that the peer may be believed.
 *
 * @returns undefined when any part is not so, as if the header were absent
 */
export function parseForwardedClient(header: unknown): ForwardedClient | undefined {
  const element = firstElement(header);
  if (element === undefined || element.more) return undefined;
  const client = parseHostPort(element.pairs.get('for'));
  if (client === undefined || ipScope(client.ip) !== 'global') return undefined;
  const uri = element.pairs.get('identity');
  if (uri === undefined) return { client };
  try {
    return { client, identity: parseSpiffeUri(uri) };
  } catch {
    return undefined;
  }
}

interface Element {
  /** By lower-case name. */
  readonly pairs: ReadonlyMap<string, string>;
  /** Whether other elements follow. */
  readonly more: boolean;
}

/** @returns undefined where it is malformed, or says one thing twice */
function firstElement(header: unknown): Element | undefined {
  if (typeof header !== 'string' || header.length > MAX_FORWARDED_LENGTH) return undefined;
  const pairs = new Map<string, string>();
  for (let at = 0; ;) {
    PAIR.lastIndex = at;
    const match = PAIR.exec(header);
    const name = match?.[1]?.toLowerCase();
    if (match === null || name === undefined || pairs.has(name)) return undefined;
    pairs.set(name, match[3] ?? (match[2] ?? '').replace(/\\(.)/g, '$1'));
    at = PAIR.lastIndex;
    if (at === header.length) return { pairs, more: false };
    if (header[at] === ',') return { pairs, more: true };
    if (header[at] !== ';') return undefined;
    at += 1;
  }
}
