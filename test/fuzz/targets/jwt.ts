import assert from 'node:assert/strict';
import { createPrivateKey, createPublicKey, sign, type KeyObject } from 'node:crypto';
import { claimTexts } from '../../../lib/mesh/waypoint/security/claims.ts';
import { JwksError, parseJwks } from '../../../waypoint/security/jwks.ts';
import { claimedIssuer, verifyToken } from '../../../waypoint/security/verify-token.ts';
import { locationsOf, removeTokens, tokensAt } from '../../../waypoint/security/token-location.ts';
import { create } from '@bufbuild/protobuf';
import { JwtRuleSchema } from '../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { head } from '../../unit/lib/mesh/waypoint/security/heads.ts';
import type { FuzzTarget } from '../engine/target.ts';

/** Of this test alone. The same key each time, so that the corpus holds tokens whose signature is right. */
const KEY = createPrivateKey({
  key: {
    kty: 'EC',
    crv: 'P-256',
    d: 'jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI',
    x: 'f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU',
    y: 'x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0',
  },
  format: 'jwk',
});
const ISSUER = 'https://id.example';
const NOW = new Date(1_700_000_000_000);
const JWKS = JSON.stringify({
  keys: [{ ...createPublicKey(KEY).export({ format: 'jwk' }), kid: 'k', alg: 'ES256' }],
});
const KEYS = parseJwks(JWKS);
const RULE = {
  issuer: ISSUER,
  audiences: ['web'],
  keys: {
    current: () => Promise.resolve(KEYS),
    newerThan: () => Promise.resolve(undefined),
    problem: undefined,
  },
};
const LOCATIONS = locationsOf(
  create(JwtRuleSchema, {
    fromHeaders: [{ name: 'x', prefix: 'T ' }],
    fromParams: ['t'],
    fromCookies: ['c'],
  }),
);

/** Signed with ES256 (RFC 7518 section 3.4); ECDSA signatures differ each time, so these are seeds and not compared. */
function token(claims: object, header: object = { alg: 'ES256', kid: 'k' }, key: KeyObject = KEY): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const text = `${part(header)}.${part(claims)}`;
  return `${text}.${sign('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
}
const GOOD = { iss: ISSUER, aud: 'web', sub: 'alice', exp: 1_800_000_000 };

/** A token in the first line, a key set in the second, claims in the third, a query and cookies in the last two. */
export const target: FuzzTarget = {
  name: 'jwt',
  seeds: [
    `${token(GOOD)}\n${JWKS}\n{"a":{"b":["c",1,true,null,{"d":1}]},"scope":"x y"}\nt=abc&t=%20+d\nc="v"; c=2`,
    `${token({ ...GOOD, exp: 1 })}\n{"keys":[]}`,
    `${token(GOOD, { alg: 'none' })}\n{"keys":[{"kty":"oct","k":"AA"}]}`,
    `${token(GOOD, { alg: 'ES256', kid: 'k', crit: ['exp'], b64: false })}\n[]`,
    `${token(GOOD, { alg: 'HS256', jku: 'http://evil', jwk: {} })}\n{"keys":[{"kty":"EC","d":"x"}]}`,
    'a.b.c\n{',
  ],
  words: [
    'eyJhbGciOiJub25lIn0',
    '"alg":"none"',
    '"crit":["x"]',
    'e30',
    '.',
    '=',
    '%00',
    '__proto__',
    '"kty":"RSA"',
  ],
  async run(input) {
    const [jwt = '', jwks = '', claims = '', query = '', cookie = ''] = input.toString('latin1').split('\n');
    const issuer = claimedIssuer(jwt);
    if ('problem' in issuer) assert.ok(issuer.problem.length < 400);
    const result = await verifyToken(jwt, RULE, NOW);
    if (result.ok) {
      assert.equal(result.claims.iss, ISSUER);
      assert.ok([result.claims.aud].flat().includes('web'));
      assert.ok((result.claims.exp ?? Infinity) > NOW.getTime() / 1_000 - 61);
      assert.ok('issuer' in issuer, 'verified, though it is no token');
    } else assert.ok(result.reason.length < 500 && result.cause === 'token');
    try {
      assert.ok(parseJwks(jwks).size <= 100);
    } catch (error) {
      assert.ok(error instanceof JwksError, String(error));
      assert.ok(error.message.length < 300, 'the message quotes nothing of what came');
    }
    readClaims(claims);
    for (const location of LOCATIONS) {
      const request = head({ query: query.replace(/[^\x21-\x7e]/g, ''), headers: { cookie, x: jwt } });
      for (const found of tokensAt(request, location)) assert.notEqual(found, '');
      removeTokens(request, location);
      assert.deepEqual(tokensAt(request, location), [], 'what is taken out is gone');
    }
  },
};

function readClaims(text: string): void {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return;
  }
  if (typeof value !== 'object' || value === null) return;
  for (const path of [['a', 'b'], ['scope'], ['__proto__'], ['constructor', 'name'], ['sub']])
    for (const each of claimTexts(value as Record<string, unknown>, path))
      assert.equal(typeof each, 'string');
  assert.deepEqual(
    claimTexts(value as Record<string, unknown>, ['toString']).filter((t) => t.includes('native')),
    [],
  );
}
