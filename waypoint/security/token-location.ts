import { assertNever } from '../../lib/assert-never.ts';
import type { JwtRule } from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { header, type RequestHead } from '../../lib/mesh/waypoint/request.ts';

/** Where a request may carry a token. Header names are in lower case. */
export type TokenLocation =
  | { readonly in: 'header'; readonly name: string; readonly prefix: string }
  | { readonly in: 'param'; readonly name: string }
  | { readonly in: 'cookie'; readonly name: string };

/** Istio: where no location is written, the Authorization header with the Bearer scheme and the `access_token` parameter. */
const DEFAULTS: readonly TokenLocation[] = [
  { in: 'header', name: 'authorization', prefix: 'Bearer ' },
  { in: 'param', name: 'access_token' },
];

export function locationsOf(rule: JwtRule): readonly TokenLocation[] {
  const written: TokenLocation[] = [
    ...rule.fromHeaders.map(({ name, prefix }): TokenLocation => ({
      in: 'header',
      name: name.toLowerCase(),
      prefix,
    })),
    ...rule.fromParams.map((name): TokenLocation => ({ in: 'param', name })),
    ...rule.fromCookies.map((name): TokenLocation => ({ in: 'cookie', name })),
  ];
  return written.length === 0 ? DEFAULTS : written;
}

/** A text that is equal for equal locations. */
export function locationKey(location: TokenLocation): string {
  return JSON.stringify(Object.entries(location).sort());
}

/**
 * The tokens of a request at one location: every parameter and cookie of the name, since an application may take the
 * first or the last. A header without the prefix has none; the prefix is compared without case (RFC 9110 section 11.1).
 */
export function tokensAt(head: RequestHead, location: TokenLocation): string[] {
  switch (location.in) {
    case 'header': {
      const value = header(head.headers, location.name)?.trim();
      if (value === undefined) return [];
      const { prefix } = location;
      if (value.slice(0, prefix.length).toLowerCase() !== prefix.toLowerCase()) return [];
      return present([value.slice(prefix.length).trim()]);
    }
    case 'param':
      return present(
        parts(head.query, '&').flatMap((part) => {
          const [name, value] = pair(part);
          return decode(name) === location.name ? [decode(value)] : [];
        }),
      );
    case 'cookie':
      return present(
        cookies(head).flatMap((part) => {
          const [name, value] = pair(part.trim());
          return name.trim() === location.name ? [value.trim().replace(/^"(.*)"$/, '$1')] : [];
        }),
      );
    default:
      return assertNever(location, 'token location');
  }
}

/** Takes the tokens at a location out of the request; everything else stays as it is, byte for byte. */
export function removeTokens(head: RequestHead, location: TokenLocation): void {
  switch (location.in) {
    case 'header':
      delete head.headers[location.name];
      return;
    case 'param':
      head.query = parts(head.query, '&')
        .filter((part) => decode(pair(part)[0]) !== location.name)
        .join('&');
      return;
    case 'cookie': {
      const rest = cookies(head).filter((part) => pair(part.trim())[0].trim() !== location.name);
      if (rest.length === 0) delete head.headers['cookie'];
      else head.headers['cookie'] = rest.join(';').trim();
      return;
    }
    default:
      assertNever(location, 'token location');
  }
}

function cookies(head: RequestHead): string[] {
  const value = head.headers['cookie'];
  return parts(typeof value === 'object' ? value.join('; ') : (value ?? ''), ';');
}

function parts(text: string, separator: string): string[] {
  return text === '' ? [] : text.split(separator);
}

function pair(text: string): [name: string, value: string] {
  const equals = text.indexOf('=');
  return equals < 0 ? [text, ''] : [text.slice(0, equals), text.slice(equals + 1)];
}

function present(tokens: readonly string[]): string[] {
  return tokens.filter((token) => token !== '');
}

/** As forms are decoded; what cannot be decoded is taken as it is. */
function decode(text: string): string {
  const spaced = text.replaceAll('+', ' ');
  if (!spaced.includes('%')) return spaced;
  try {
    return decodeURIComponent(spaced);
  } catch {
    return spaced;
  }
}
