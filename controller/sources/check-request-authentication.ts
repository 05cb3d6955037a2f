import { isIP } from 'node:net';
import { JWKS_FOLDER } from '../../lib/jwks-folder.ts';
import { specialAddress } from '../../lib/mesh/special-address.ts';
import type { JwtRule, RequestAuthentication } from '../model/request-authentication.ts';
import type { FieldProblem } from '../schema/validate.ts';
import { notAllowed, type Path, problem } from './check-helpers.ts';
import { checkAttachment } from './check-targets.ts';

const URI_ALLOWED = `http://host/path, https://host/path or file://${JWKS_FOLDER}/path of a file where the waypoint runs`;
const PUBLIC_TYPES = ['RSA', 'EC', 'OKP'];
/** What frames a message or belongs to one connection (RFC 9110 section 7.6.1) is not to be had from a token. */
const NO_OUTPUT = [
  ...['host', 'connection', 'content-length', 'transfer-encoding', 'te', 'trailer', 'upgrade', 'keep-alive'],
  ...['proxy-connection', 'proxy-authorization', 'proxy-authenticate', 'expect'],
];

export function checkRequestAuthentication(policy: RequestAuthentication): FieldProblem[] {
  return [
    ...checkAttachment(policy),
    ...(policy.spec?.jwtRules ?? []).flatMap((rule, i) => checkJwtRule(rule, ['spec', 'jwtRules', i])),
  ];
}

function checkJwtRule(rule: JwtRule, path: Path): FieldProblem[] {
  const { jwks, jwksUri } = rule;
  const found: FieldProblem[] = [];
  if (jwks !== undefined && jwksUri !== undefined)
    found.push(problem(path, 'only one of jwks and jwksUri may be set'));
  // Istio would ask the issuer by OpenID Connect discovery; where keys come from is said here, or not at all.
  if (jwks === undefined && jwksUri === undefined)
    found.push(problem(path, 'jwks or jwksUri is missing: keys are not looked for at the issuer'));
  if (jwksUri !== undefined && !isUri(jwksUri))
    found.push(notAllowed([...path, 'jwksUri'], jwksUri, URI_ALLOWED));
  const special = jwksUri === undefined ? undefined : specialHost(jwksUri);
  if (special !== undefined)
    found.push(problem([...path, 'jwksUri'], `no keys are fetched from ${special}`, jwksUri, URI_ALLOWED));
  if (jwks !== undefined) {
    const wrong = jwksProblem(jwks);
    // The value is not repeated: it may be a private key by mistake.
    if (wrong !== undefined)
      found.push(
        problem([...path, 'jwks'], wrong, undefined, 'a JSON Web Key Set with public RSA, EC or OKP keys'),
      );
  }
  const outputs = [
    [rule.outputPayloadToHeader, [...path, 'outputPayloadToHeader']] as const,
    ...(rule.outputClaimToHeaders ?? []).map(
      ({ header }, i) => [header, [...path, 'outputClaimToHeaders', i, 'header']] as const,
    ),
  ];
  for (const [header, at] of outputs) {
    if (header !== undefined && NO_OUTPUT.includes(header.toLowerCase()))
      found.push(notAllowed(at, header, `every header but ${NO_OUTPUT.join(', ')}`));
  }
  return found;
}

function isUri(value: string): boolean {
  const url = URL.parse(value);
  if (url === null || url.username !== '' || url.password !== '' || url.hash !== '') return false;
  if (url.protocol === 'file:') {
    return value.startsWith('file:///') && url.search === '' && url.pathname.startsWith(`${JWKS_FOLDER}/`);
  }
  return /^https?:\/\//.test(value) && url.hostname !== '';
}

/** What is wrong with a host that can be told before a waypoint looks it up; it looks again (decision 0117). */
function specialHost(value: string): string | undefined {
  const host = URL.parse(value)?.hostname.replace(/^\[|\]$/g, '') ?? '';
  if (/^(.*\.)?localhost\.?$/.test(host)) return 'a loopback address';
  return isIP(host) === 0 ? undefined : specialAddress(host);
}

/** What is wrong with a key set (RFC 7517 section 5) that is written in a policy. */
function jwksProblem(text: string): string | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return 'the key set is not JSON';
  }
  if (typeof parsed !== 'object' || parsed === null || !('keys' in parsed) || !Array.isArray(parsed.keys))
    return 'the key set has no list "keys"';
  const keys: readonly unknown[] = parsed.keys;
  if (!keys.some((key) => isRecord(key) && PUBLIC_TYPES.includes(String(key['kty']))))
    return 'the key set has no public key';
  if (keys.some((key) => isRecord(key) && 'd' in key)) return 'the key set has a private key';
  return undefined;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
