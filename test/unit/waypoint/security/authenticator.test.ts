import assert from 'node:assert/strict';
import { createHmac, createPublicKey } from 'node:crypto';
import { after, afterEach, before, describe, it } from 'mocha';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  type JwtRuleSchema,
  RequestAuthenticationSchema,
} from '../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import type { RequestHead } from '../../../../lib/mesh/waypoint/request.ts';
import { type AuthenticationResult, Authenticator } from '../../../../waypoint/security/authenticator.ts';
import { JwksCache } from '../../../../waypoint/security/jwks-cache.ts';
import { head } from '../../lib/mesh/waypoint/security/heads.ts';
import { ISSUER, type IssuerKey, jwks, jwksServer, makeKey } from './issuer.ts';

type RuleInit = MessageInitShape<typeof JwtRuleSchema>;

const b64 = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

describe('Authenticator', () => {
  let key: IssuerKey, rsa: IssuerKey, other: IssuerKey;
  let token: string;
  const cache = new JwksCache();
  const open: Authenticator[] = [];

  before(async () => {
    key = await makeKey('k');
    rsa = await makeKey('r', 'RS256');
    other = await makeKey('k');
    token = await key.sign({});
  });
  afterEach(() => open.splice(0).forEach((authenticator) => authenticator.close()));
  after(() => cache.close());

  function make(...rules: RuleInit[]): Authenticator {
    const jwtRules = rules.map((rule) => ({ issuer: ISSUER, jwks: jwks(key, rsa), ...rule }));
    const policy = create(RequestAuthenticationSchema, { namespace: 'shop', name: 'ids', jwtRules });
    const authenticator = new Authenticator([policy], [], cache);
    open.push(authenticator);
    return authenticator;
  }
  function bearer(text: string, over: Partial<RequestHead> = {}): RequestHead {
    return head({ ...over, headers: { authorization: `Bearer ${text}`, ...over.headers } });
  }
  async function refusal(
    authenticator: Authenticator,
    request: RequestHead,
  ): Promise<Extract<AuthenticationResult, { ok: false }>> {
    const result = await authenticator.authenticate(request);
    assert.ok(!result.ok, 'the request is refused');
    assert.equal(request.jwt, undefined);
    return result;
  }

  it('passes a request without a token, and gives it no principal', async () => {
    for (const headers of [{}, { authorization: 'Basic eDp5' }, { authorization: 'Bearer ' }]) {
      const request = head({ headers });
      assert.deepEqual(await make({}).authenticate(request), { ok: true, jwt: undefined });
    }
  });

  it('tells what a valid token says, and takes the token out', async () => {
    const full = await key.sign({ aud: ['a', 'b'], azp: 'app', groups: ['dev'] });
    const request = bearer(full);
    const result = await make({}).authenticate(request);
    assert.ok(result.ok && result.jwt !== undefined);
    assert.equal(result.jwt, request.jwt);
    assert.equal(result.jwt.principal, `${ISSUER}/alice`);
    assert.deepEqual([result.jwt.audiences, result.jwt.presenter], [['a', 'b'], 'app']);
    assert.deepEqual(result.jwt.claims['groups'], ['dev']);
    assert.equal(request.headers['authorization'], undefined);
  });

  it('forwards the token where the rule says so', async () => {
    const request = bearer(token);
    await make({ forwardOriginalToken: true }).authenticate(request);
    assert.equal(request.headers['authorization'], `Bearer ${token}`);
  });

  for (const alg of ['RS256', 'PS256', 'ES384', 'EdDSA'])
    it(`verifies ${alg}`, async () => {
      const own = await makeKey('x', alg);
      const request = bearer(await own.sign({}));
      const result = await make({ jwks: jwks(own) }).authenticate(request);
      assert.equal(result.ok, true);
    });

  it('tries the keys of the set for a token that names none', async () => {
    const second = await makeKey('second');
    const unnamed = await second.sign({}, { kid: undefined });
    const result = await make({ jwks: jwks(key, second) }).authenticate(bearer(unnamed));
    assert.equal(result.ok, true);
    const foreign = await other.sign({}, { kid: undefined });
    const { reason } = await refusal(make({ jwks: jwks(key, second) }), bearer(foreign));
    assert.match(reason, /signature/);
  });

  describe('refuses with 401', () => {
    const now = (): number => Math.floor(Date.now() / 1000);
    const cases: Record<string, readonly [() => string | Promise<string>, RegExp]> = {
      'a foreign signature': [() => other.sign({}), /signature/],
      'a changed payload': [
        () => {
          const [h, , s] = token.split('.');
          return `${h}.${b64({ iss: ISSUER, sub: 'root' })}.${s}`;
        },
        /signature/,
      ],
      'an unknown issuer': [
        () => key.sign({ iss: 'https://evil' }),
        /issuer "https:\/\/evil" is not configured/,
      ],
      'no issuer': [() => key.sign({ iss: undefined }), /names no issuer/],
      'an expired one': [() => key.sign({ exp: now() - 120 }), /expired/],
      'one not valid yet': [() => key.sign({ nbf: now() + 120 }), /"nbf"/],
      'a time that is no number': [() => key.sign({ exp: 'soon' }), /"exp"/],
      'a key that is not there': [() => key.sign({}, { kid: 'lost' }), /no key/],
      'no signature': [() => `${b64({ alg: 'none' })}.${b64({ iss: ISSUER, sub: 'root' })}.`, /"none"/],
      'an HMAC with the public key': [
        () => {
          const pem = createPublicKey({ key: rsa.jwk, format: 'jwk' }).export({
            type: 'spki',
            format: 'pem',
          });
          const text = `${b64({ alg: 'HS256', kid: 'r' })}.${b64({ iss: ISSUER, sub: 'root' })}`;
          return `${text}.${createHmac('sha256', pem).update(text).digest('base64url')}`;
        },
        /"HS256"/,
      ],
      'an algorithm that is not the key’s': [() => rsa.sign({}, { kid: 'k' }), /no key/],
      'a critical header that is not known': [
        () => {
          const text = `${b64({ alg: 'ES256', kid: 'k', crit: ['x'], x: 1 })}.${token.split('.')[1]}`;
          return `${text}.${token.split('.')[2]}`;
        },
        /ERR_JOSE_NOT_SUPPORTED/,
      ],
      'what is no token': [() => 'opaque', /not a signed JWT/],
      'two in one header': [() => `${token}, Bearer ${token}`, /not a signed JWT|refused/],
      'an encrypted one': [() => 'a.b.c.d.e', /not a signed JWT/],
      'one that is too long': [() => key.sign({ pad: 'x'.repeat(20_000) }), /allowed: 16384/],
    };
    for (const [name, [make_, reason]] of Object.entries(cases))
      it(name, async () => {
        const result = await refusal(make({}), bearer(await make_()));
        assert.deepEqual([result.status, result.challenge], [401, 'Bearer error="invalid_token"']);
        assert.match(result.reason, reason);
      });

    it('an audience that is not one of the rule’s', async () => {
      const strict = make({ audiences: ['pay', 'shop'] });
      assert.equal((await strict.authenticate(bearer(await key.sign({ aud: ['x', 'shop'] })))).ok, true);
      for (const aud of ['x', undefined]) {
        const { reason } = await refusal(strict, bearer(await key.sign({ aud })));
        assert.match(reason, /"aud"/);
      }
    });
    it('any invalid token beside a valid one', async () => {
      const request = bearer(token, { query: 'access_token=opaque' });
      assert.equal((await refusal(make({}), request)).status, 401);
    });
    it('more tokens than anybody needs', async () => {
      const query = await Promise.all(
        [1, 2, 3, 4, 5].map(async (n) => `access_token=${await key.sign({ n })}`),
      );
      assert.match((await refusal(make({}), head({ query: query.join('&') }))).reason, /5 tokens/);
    });
  });

  it('forgives clocks that differ a little', async () => {
    const just = await key.sign({ exp: Math.floor(Date.now() / 1000) - 20 });
    assert.equal((await make({}).authenticate(bearer(just))).ok, true);
  });

  describe('locations', () => {
    it('take the access_token parameter by default, and leave the rest of the query as it is', async () => {
      const request = head({ query: `a=%31&%61ccess_token=${token}&&b` });
      assert.equal((await make({}).authenticate(request)).ok, true);
      assert.equal(request.query, 'a=%31&&b');
    });
    it('are only those written, where some are', async () => {
      const rule = { fromHeaders: [{ name: 'X-Jwt', prefix: 'Token ' }] };
      const request = bearer('opaque', { headers: { 'x-jwt': `Token ${token}` }, query: 'access_token=x' });
      // The Authorization header would be refused if it was looked at.
      const result = await make(rule).authenticate(head({ ...request, headers: { ...request.headers } }));
      assert.ok(result.ok && result.jwt !== undefined);
      const without = head({ headers: { 'x-jwt': token } });
      assert.deepEqual(await make(rule).authenticate(without), { ok: true, jwt: undefined });
    });
    it('can be parameters and cookies, every one of that name', async () => {
      const rule = { fromParams: ['t'], fromCookies: ['session'] };
      const request = head({ query: `t=${token}`, headers: { cookie: `a=1; session="${token}"; b=2` } });
      assert.equal((await make(rule).authenticate(request)).ok, true);
      assert.deepEqual([request.query, request.headers['cookie']], ['', 'a=1; b=2']);
      const twice = head({ headers: { cookie: `session=${token}; session=opaque` } });
      assert.equal((await refusal(make(rule), twice)).status, 401);
      const alone = head({ headers: { cookie: `session=${token}` } });
      await make(rule).authenticate(alone);
      assert.equal('cookie' in alone.headers, false);
    });
    it('hold only for the issuers whose rules name them', async () => {
      const apart = make(
        { fromHeaders: [{ name: 'x-a', prefix: '' }] },
        { issuer: 'https://b', fromHeaders: [{ name: 'x-b', prefix: '' }] },
      );
      const { reason } = await refusal(apart, head({ headers: { 'x-b': token } }));
      assert.match(reason, /is not configured where the token stands/);
    });
  });

  it('knows several issuers, and lets the earliest rule’s token speak', async () => {
    const second = await makeKey('s');
    const both = make(
      {},
      { issuer: 'https://b', jwks: jwks(second), fromHeaders: [{ name: 'x-b', prefix: '' }] },
    );
    const b = await second.sign({ iss: 'https://b', sub: 'bob' });
    const one = await both.authenticate(head({ headers: { 'x-b': b } }));
    assert.ok(one.ok);
    assert.equal(one.jwt?.principal, 'https://b/bob');
    const two = await both.authenticate(bearer(token, { headers: { 'x-b': b } }));
    assert.ok(two.ok);
    assert.equal(two.jwt?.principal, `${ISSUER}/alice`);
  });

  it('tries every rule of an issuer', async () => {
    const rules = [{ audiences: ['x'] }, { audiences: ['y'] }];
    assert.equal((await make(...rules).authenticate(bearer(await key.sign({ aud: 'y' })))).ok, true);
  });

  describe('headers for the application', () => {
    const rule = {
      outputPayloadToHeader: 'X-Payload',
      outputClaimToHeaders: [
        { header: 'X-User', claim: 'sub' },
        { header: 'x-team', claim: 'org.team' },
        { header: 'x-level', claim: 'level' },
        { header: 'x-list', claim: 'list' },
        { header: 'x-evil', claim: 'evil' },
        { header: 'host', claim: 'sub' },
      ],
    };
    it('are written from a valid token', async () => {
      const full = await key.sign({ org: { team: 'pay' }, level: 3, list: ['a'], evil: 'a\r\nx-admin: 1' });
      const request = bearer(full);
      assert.equal((await make(rule).authenticate(request)).ok, true);
      assert.deepEqual(
        { ...request.headers },
        { 'x-payload': full.split('.')[1], 'x-user': 'alice', 'x-team': 'pay', 'x-level': '3' },
      );
    });
    it('are never the client’s, with a token or without', async () => {
      const forged = { 'x-payload': 'f', 'x-user': 'root', x_user: 'root', 'x-team': 'f', 'x-evil': 'f' };
      const without = head({ headers: { ...forged, 'x-mine': '1' } });
      await make(rule).authenticate(without);
      assert.deepEqual({ ...without.headers }, { 'x-mine': '1' });
      const request = bearer(token, { headers: forged });
      await make(rule).authenticate(request);
      assert.deepEqual(Object.keys(request.headers).sort(), ['x-payload', 'x-user']);
      assert.equal(request.headers['x-user'], 'alice');
    });
  });

  describe('without keys', () => {
    it('refuses tokens with 503 and the reason, and passes what has none', async () => {
      const broken = make({ jwks: '{}' });
      const result = await refusal(broken, bearer(token));
      assert.equal(result.status, 503);
      assert.match(result.reason, /no keys of issuer .* no list "keys"/);
      assert.equal((await broken.authenticate(head())).ok, true);
    });
    it('refuses everything where a RequestAuthentication is not known', async () => {
      const result = await refusal(new Authenticator([], ['shop/lost'], cache), head());
      assert.equal(result.status, 503);
      assert.match(result.reason, /shop\/lost is not known/);
    });
  });

  it('follows a rotation at the first token with the new key, and goes on with old keys in an outage', async () => {
    const server = await jwksServer(jwks(key));
    const own = new JwksCache({ timing: { unknownKeyMs: 0 }, check: () => undefined });
    const policy = create(RequestAuthenticationSchema, {
      jwtRules: [{ issuer: ISSUER, jwksUri: server.uri, timeout: 2_000 }],
    });
    const authenticator = new Authenticator([policy], [], own);
    try {
      assert.equal((await authenticator.authenticate(bearer(token))).ok, true);
      const next = await makeKey('next');
      server.answer((_, response) => response.end(jwks(next)));
      assert.equal((await authenticator.authenticate(bearer(await next.sign({})))).ok, true);
      assert.equal((await authenticator.authenticate(bearer(token))).ok, false, 'the old key is withdrawn');
      server.answer((request) => void request.socket.destroy());
      assert.equal((await authenticator.authenticate(bearer(await next.sign({})))).ok, true);
      assert.equal(own.states()[0]?.uri, server.uri);
    } finally {
      authenticator.close();
      assert.deepEqual(own.states(), []);
      own.close();
      await server.close();
    }
  });
});
