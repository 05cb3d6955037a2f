import type { JWTPayload } from 'jose';
import type { JwtRule } from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import type { Headers } from '../../lib/mesh/waypoint/request.ts';
import { claimAt, scalarText } from '../../lib/mesh/waypoint/security/claims.ts';

/** What frames a message or belongs to one connection is never written from a claim (RFC 9110 section 7.6.1). */
const FORBIDDEN: ReadonlySet<string> = new Set([
  ...['host', 'connection', 'content-length', 'transfer-encoding', 'te', 'trailer', 'upgrade', 'keep-alive'],
  ...['proxy-connection', 'proxy-authorization', 'proxy-authenticate', 'expect'],
]);
const NAME = /^[!#$%&'*+.^_`|~0-9a-z-]+$/;
/** Only what every program reads alike; a line break above all would be a header of its own. */
const SAFE_VALUE = /^[\x20-\x7e]*$/;
const MAX_VALUE = 8 * 1024;

/** The headers that a rule writes for the application. Names in lower case. */
export interface OutputHeaders {
  readonly payload: string | undefined;
  readonly claims: readonly { readonly header: string; readonly claim: string }[];
}

export function outputHeadersOf(rule: JwtRule): OutputHeaders {
  const payload = rule.outputPayloadToHeader.toLowerCase();
  return {
    payload: isAllowed(payload) ? payload : undefined,
    claims: rule.outputClaimToHeaders
      .map(({ header, claim }) => ({ header: header.toLowerCase(), claim }))
      .filter(({ header }) => isAllowed(header)),
  };
}

function isAllowed(name: string): boolean {
  return NAME.test(name) && !FORBIDDEN.has(name);
}

/** The names that the application believes to be the waypoint's word, in the form of {@link removeOutputs}. */
export function outputNames(outputs: Iterable<OutputHeaders>): Set<string> {
  const names = new Set<string>();
  for (const { payload, claims } of outputs) {
    if (payload !== undefined) names.add(folded(payload));
    for (const { header } of claims) names.add(folded(header));
  }
  return names;
}

/**
 * Takes out of a request what only the waypoint may write, and spellings that many servers hand to the application under
 * the same name (`x_user` for `x-user`).
 */
export function removeOutputs(headers: Headers, names: ReadonlySet<string>): void {
  if (names.size === 0) return;
  for (const name of Object.keys(headers)) if (names.has(folded(name))) delete headers[name];
}

function folded(name: string): string {
  return name.replaceAll('_', '-');
}

/**
 * Writes what a verified token says: its payload as it stands in the token (base64url), and claims that are a text, a
 * number or a boolean (Istio: JwtRule.outputClaimToHeaders). Nested claims are named `a.b` unless a claim has that very
 * name. A claim with anything but printable ASCII is left out.
 */
export function writeOutputs(
  headers: Headers,
  outputs: OutputHeaders,
  token: string,
  claims: JWTPayload,
): void {
  const [, payload = ''] = token.split('.');
  if (outputs.payload !== undefined) headers[outputs.payload] = payload;
  for (const { header, claim } of outputs.claims) {
    const value = scalarText(claimAt(claims, [claim]) ?? claimAt(claims, claim.split('.')));
    if (value !== undefined && value.length <= MAX_VALUE && SAFE_VALUE.test(value)) headers[header] = value;
  }
}
