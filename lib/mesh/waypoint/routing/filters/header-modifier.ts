import type { HeaderModifier } from '../../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { header, type Headers } from '../../request.ts';

/**
 * Headers that configuration can not change: those of one hop (RFC 9110 section 7.6.1) and those that frame the message
 * or say whom it is for. A change would break the message or smuggle another one. The host is rewritten by a URLRewrite.
 */
const PROTECTED = new Set([
  'connection',
  'content-length',
  'expect',
  'host',
  'http2-settings',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** Whether a header modifier passes a name (lower case) over: a header of {@link PROTECTED}, or a pseudo header. */
export function isProtectedHeader(name: string): boolean {
  return PROTECTED.has(name) || name.startsWith(':');
}

/**
 * Applies a modifier in place: removals, then values to set, then values to add, as Envoy does. Protected headers stay.
 * Names are not told by case.
 */
export function modifyHeaders(headers: Headers, modifier: HeaderModifier): void {
  for (const removed of modifier.remove) {
    const name = removed.toLowerCase();
    if (!isProtectedHeader(name)) Reflect.deleteProperty(headers, name);
  }
  for (const set of modifier.set) {
    const name = set.name.toLowerCase();
    if (!isProtectedHeader(name)) headers[name] = name === 'set-cookie' ? [set.value] : set.value;
  }
  for (const added of modifier.add) {
    const name = added.name.toLowerCase();
    if (!isProtectedHeader(name)) headers[name] = appended(name, headers[name], added.value);
  }
}

function appended(name: string, had: string | string[] | undefined, value: string): string | string[] {
  if (name === 'set-cookie') return had === undefined ? [value] : [had, value].flat();
  if (had === undefined) return value;
  // RFC 9110 section 5.3, with a comma alone, as the Gateway API shows it and its suite compares it; a cookie's parts are joined as one
  // line of them (RFC 9113 section 8.2.3).
  return [had, value].flat().join(name === 'cookie' ? '; ' : ',');
}

/** Adds a field name to `vary`, unless it is there. */
export function addVary(headers: Headers, name: string): void {
  const vary = header(headers, 'vary');
  const listed = vary?.split(',').map((item) => item.trim().toLowerCase()) ?? [];
  if (listed.includes('*') || listed.includes(name)) return;
  headers['vary'] = vary === undefined || vary === '' ? name : `${vary}, ${name}`;
}
