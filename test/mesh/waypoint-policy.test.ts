import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { Driver } from './driver.ts';
import { eventually, Mesh } from './harness.ts';
import { podManifest } from './manifests.ts';
import { object, WAY_BASE, wayLine, wayServer, wayService } from './waypoint-manifests.ts';

const ISSUER = 'https://id.example';
const toService = (name: string): object => ({ targetRefs: [{ group: '', kind: 'Service', name }] });

describe('mesh: policy at a waypoint', function () {
  this.timeout(120_000);
  let mesh: Mesh;
  let client: Driver;
  let other: Driver;
  let sign: (claims: Record<string, unknown>) => Promise<string>;
  before(async () => {
    const { publicKey, privateKey } = await generateKeyPair('ES256');
    const jwks = JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: 'k1', alg: 'ES256' }] });
    sign = (claims) =>
      new SignJWT({ iss: ISSUER, sub: 'alice', aud: 'shop', ...claims })
        .setProtectedHeader({ alg: 'ES256', kid: 'k1' })
        .setExpirationTime('10m')
        .sign(privateKey);
    const service = (name: string): string =>
      wayService(name, { waypoint: 'way', selector: { run: 'web' }, ports: { 80: [8080, 'http'] } });
    mesh = await Mesh.up({
      ...WAY_BASE,
      'other.yaml': podManifest('other'),
      'v1.yaml': wayServer('v1', { run: 'web' }),
      'services.yaml': [service('payments'), service('site'), service('token')].join('---\n'),
      'charge.yaml': object('AuthorizationPolicy', 'charge', {
        ...toService('payments'),
        action: 'ALLOW',
        rules: [
          {
            from: [{ source: { principals: ['cluster.local/ns/m/sa/client'] } }],
            to: [{ operation: { methods: ['POST'], paths: ['/charge'] } }],
          },
        ],
      }),
      'admin.yaml': object('AuthorizationPolicy', 'admin', {
        ...toService('site'),
        action: 'DENY',
        rules: [{ to: [{ operation: { paths: ['/admin', '/admin/*'] } }] }],
      }),
      'authentication.yaml': object('RequestAuthentication', 'token', {
        ...toService('token'),
        jwtRules: [{ issuer: ISSUER, audiences: ['shop'], jwks }],
      }),
      'token.yaml': object('AuthorizationPolicy', 'token', {
        ...toService('token'),
        action: 'ALLOW',
        rules: [
          {
            from: [{ source: { requestPrincipals: [`${ISSUER}/*`] } }],
            when: [{ key: 'request.auth.claims[group]', values: ['tester'] }],
          },
        ],
      }),
    });
    client = await Driver.in(mesh, 'client');
    other = await Driver.in(mesh, 'other');
  });
  after(async () => {
    client?.stop();
    other?.stop();
    await mesh?.down();
  });

  it('lets one identity do one thing', async () => {
    const charge = { host: 'payments', port: 80, method: 'POST', path: '/charge', body: '{}' };
    const told = await client.told(charge);
    assert.equal(told.method, 'POST');
    for (const [what, driver, options] of [
      ['another identity', other, charge],
      ['another method', client, { host: 'payments', port: 80, path: '/charge' }],
      ['another path', client, { ...charge, path: '/refund' }],
      ['a path below', client, { ...charge, path: '/charge/1' }],
    ] as const) {
      const answer = await driver.request(options);
      assert.equal(answer.status, 403, what);
      assert.doesNotMatch(answer.text, /v1/);
    }
    const line = await wayLine(mesh, '/refund');
    assert.equal(line.response_flags, 'DENY');
  });

  it('denies a path however it is spelled', async () => {
    const site = { host: 'site', port: 80 };
    assert.equal((await client.request({ ...site, path: '/public' })).status, 200);
    for (const path of [
      '/admin',
      '/admin/users',
      '/%61dmin',
      '/%61%64%6D%69%6e/users',
      '//admin',
      '/x/../admin',
      '/x/%2e%2e/admin',
      '/./admin',
      '/admin?x=1',
      '/admin/',
    ]) {
      assert.equal((await client.request({ ...site, path })).status, 403, path);
    }
    for (const path of ['/x/..%2fadmin', '/x\\..\\admin', '/admin%00', '/x/..;/admin']) {
      assert.equal((await client.request({ ...site, path })).status, 400, path);
    }
    const line = await wayLine(mesh, '/admin/users');
    assert.equal(line.policy, 'm/admin');
  });

  it('hands the path on in the form in which it was judged', async () => {
    const told = await client.told({ host: 'site', port: 80, path: '/a//b/%2e%2e/%63?q=/../admin' });
    assert.equal(told.url, '/a/c?q=/../admin');
  });

  it('asks for a token, and for a claim of it', async () => {
    const site = { host: 'token', port: 80 };
    const bearer = (token: string) => ({ headers: { authorization: `Bearer ${token}` } });
    assert.equal((await client.request(site)).status, 403, 'without a token');
    const good = await sign({ group: 'tester' });
    assert.equal((await client.request({ ...site, ...bearer(good) })).status, 200);
    assert.equal((await client.request({ ...site, ...bearer(await sign({ group: 'guest' })) })).status, 403);
    for (const [what, token] of [
      ['changed', `${good.slice(0, -4)}AAAA`],
      ['for somebody else', await sign({ group: 'tester', aud: 'bank' })],
      ['not a token', 'abc'],
    ] as const) {
      const answer = await client.request({ ...site, path: '/bad-token', ...bearer(token) });
      assert.equal(answer.status, 401, what);
      assert.match(answer.headers['www-authenticate'] ?? '', /^Bearer /);
    }
    assert.equal((await wayLine(mesh, '/bad-token')).response_flags, 'JWT');
  });

  it('follows an edit', async () => {
    mesh.write(
      'admin.yaml',
      object('AuthorizationPolicy', 'admin', {
        ...toService('site'),
        action: 'DENY',
        rules: [{ to: [{ operation: { paths: ['/public'] } }] }],
      }),
    );
    await eventually(
      'the new rule',
      async () => (await client.request({ host: 'site', port: 80, path: '/public' })).status === 403,
    );
    assert.equal((await client.request({ host: 'site', port: 80, path: '/admin' })).status, 200);
  });
});
