import net from 'node:net';
import { spiffeUri } from '../../lib/spiffe.ts';
import type { Headers, Source } from '../../lib/mesh/waypoint/request.ts';

const MAX_ENTRIES = 32;

/**
 * The client's address as the proxies in front of the mesh told it.
 *
 * @param trustedHops how many of the rightmost entries were written by proxies that are trusted; 0 believes nothing
 */
export function remoteAddress(headers: Headers, source: Source, trustedHops: number): string {
  if (trustedHops === 0) return source.ip;
  const entries = forwardedEntries(headers);
  const told = entries.at(-Math.min(trustedHops, entries.length));
  return told !== undefined && net.isIP(told) !== 0 ? told : source.ip;
}

/**
 * Writes what the application is told of its client, and takes away what only a trusted hop may tell. The mesh's own
 * certificates prove the client, so `x-forwarded-client-cert` is never taken over (Envoy: SANITIZE_SET).
 */
export function writeForwarded(
  headers: Headers,
  source: Source,
  trustedHops: number,
  ownIdentity: string,
  authority: string,
): void {
  if (trustedHops === 0) {
    headers['x-forwarded-for'] = source.ip;
    headers['x-forwarded-proto'] = 'http';
    headers['x-forwarded-host'] = authority;
    delete headers['x-forwarded-port'];
    delete headers['forwarded'];
    delete headers['x-real-ip'];
  } else {
    const believed = forwardedEntries(headers).slice(-trustedHops);
    headers['x-forwarded-for'] = [...believed, source.ip].join(', ');
    headers['x-forwarded-proto'] ??= 'http';
    headers['x-forwarded-host'] ??= authority;
  }
  if (source.identity === undefined) delete headers['x-forwarded-client-cert'];
  else headers['x-forwarded-client-cert'] = `By=${ownIdentity};URI=${spiffeUri(source.identity)}`;
}

function forwardedEntries(headers: Headers): string[] {
  const value = headers['x-forwarded-for'];
  const text = typeof value === 'string' ? value : (value?.join(',') ?? '');
  return text
    .split(',')
    .slice(-MAX_ENTRIES)
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '');
}
