import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { writeArchive } from '../../../../cli/bug-report/archive.ts';
import { manifestText } from '../../../../cli/bug-report/collect.ts';
import { Redactor, REDACTED } from '../../../../cli/bug-report/redact.ts';

const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const PEM = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
const TOKEN = randomBytes(32).toString('hex');
const JWT = `eyJ${randomBytes(12).toString('base64url')}.eyJ${randomBytes(30).toString('base64url')}.${randomBytes(30).toString('base64url')}`;
const MESH_TOKEN = `planted-${randomBytes(12).toString('base64url')}`;
const redactor = new Redactor([MESH_TOKEN, 'short']);
const [PEM_MIDDLE = ''] = /[A-Za-z0-9+/]{40}/.exec(PEM) ?? [];

describe('a bug report holds no secret', () => {
  it('not the value of a header that a route sets or matches, or a policy asks for', () => {
    const safe = redactor.manifest({
      kind: 'HTTPRoute',
      spec: {
        filters: [{ requestHeaderModifier: { set: [{ name: 'X-Api-Key', value: 'hunter22' }] } }],
        matches: [{ headers: [{ type: 'Exact', name: 'authorization', value: 'hunter22' }] }],
        when: [{ key: 'request.headers[x-token]', values: ['hunter22'], notValues: ['hunter22'] }],
        kept: [{ name: 'x-version', value: 'v2' }],
      },
    });
    const text = JSON.stringify(safe);
    assert.ok(!text.includes('hunter22'), text);
    assert.ok(text.includes('v2') && text.includes('X-Api-Key'), text);
  });

  for (const [what, text, secret] of [
    ['a private key', `key: ${PEM} after`, PEM_MIDDLE],
    ['a private key that is cut', `-----BEGIN EC PRIVATE KEY-----\n${PEM_MIDDLE}`, PEM_MIDDLE],
    ['a private key in a line of JSON', JSON.stringify({ msg: PEM }), PEM_MIDDLE],
    ['a JSON Web Token', `GET /?id=${JWT} 200`, JWT],
    ['a JSON Web Token after a word', `x-${JWT}`, JWT],
    ['a password in an address after a dash', '-postgres://me:hunter22@db', 'hunter22'],
    ['a bearer token', `authorization: Bearer ${TOKEN.slice(0, 20)}`, TOKEN.slice(0, 20)],
    ['a basic authorization', 'Authorization: Basic dXNlcjpwYXNzd29yZA==', 'dXNlcjpwYXNzd29yZA'],
    ['a password in an address', 'dial postgres://me:hunter22@db:5432/x failed', 'hunter22'],
    ['a token of the mesh itself, wherever it stands', `x${MESH_TOKEN}y`, MESH_TOKEN],
    ['so many hexadecimal digits', `tok ${TOKEN}`, TOKEN],
    ['a password on a command line', 'run --password hunter22x --db-password=hunter22y', 'hunter22y'],
    ['a secret in a line of JSON', '{"clientSecret":"hunter22","a":1}', 'hunter22'],
    ['a secret in an environment', 'DB_PASSWORD=hunter22 API_KEY=abcdef12', 'abcdef12'],
  ] as const)
    it(`not ${what}`, () => {
      const safe = redactor.text(text);
      assert.ok(!safe.includes(secret), safe);
      assert.ok(safe.includes(REDACTED), safe);
    });

  it('not what members are called after', () => {
    const safe = redactor.value({
      token: 'a1',
      session_key: 'b1',
      nested: [{ password: 'c1', apiKey: 'd1', privateKey: 'e1', authorization: ['f1'] }],
      jwks: { keys: [{ kty: 'EC', x: 'public', d: 'g1' }] },
      headers: { cookie: 'h1' },
    });
    assert.doesNotMatch(JSON.stringify(safe), /"[a-h]1"/);
    assert.match(JSON.stringify(safe), /"x":"public"/);
  });

  it('not the data of a Secret, nor values of an environment', () => {
    const safe = manifestText(
      redactor,
      `apiVersion: v1
kind: Secret
metadata:
  name: db
  namespace: shop
  annotations: {kubectl.kubernetes.io/last-applied-configuration: '{"data":{"p":"bGFzdA=="}}'}
data: {p: cGxhbnRlZA==}
stringData: {q: planted-plain}
---
kind: Pod
metadata: {name: p, annotations: {local.loam.dev/command.app: "serve --token=planted-flag"}}
spec:
  containers:
    - name: app
      env: [{name: DSN, value: planted-env}, {name: REF, valueFrom: {secretKeyRef: {name: db, key: p}}}]
`,
    );
    assert.doesNotMatch(safe, /cGxhbnRlZA|planted|bGFzdA/);
    assert.match(safe, /name: db/);
    assert.match(safe, /secretKeyRef/, 'a name of one is none');
    assert.match(manifestText(redactor, 'a: ['), /^left out/);
  });

  it('but what helps to understand', () => {
    const text =
      'policy shop/db denies spiffe://cluster.local/ns/shop/sa/web at 198.18.0.4:6379, image sha256:' +
      'a'.repeat(64);
    assert.equal(redactor.text(text), text);
    const value = {
      tokenFile: '/run/token',
      secretName: 'db',
      policy: 'x',
      ttl: 5,
      users: 3,
      tokens: 5,
      serialNumber: 'ab12',
    };
    assert.deepEqual(redactor.value(value), value);
    assert.equal(redactor.text('short'), 'short', 'too short to be told from chance');
  });

  it('also where a log has words of a megabyte, which take no longer than their length', () => {
    for (const word of ['z', 'z.', 'eyJ-', 'b+c-']) {
      const long = word.repeat(2 ** 20 / word.length);
      assert.ok(redactor.text(`${long} ${TOKEN}`) === `${long} ${REDACTED}`, word);
    }
  });

  it('and is an archive for its owner alone, which overwrites nothing', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'loam-report-test-'));
    try {
      const file = join(folder, 'r.tar.gz');
      await writeArchive(file, [
        { path: 'a.txt', content: 'one' },
        { path: 'log/b.txt', content: 'two' },
      ]);
      assert.equal(statSync(file).mode & 0o777, 0o600);
      assert.equal(execFileSync('tar', ['tzf', file], { encoding: 'utf8' }), 'a.txt\nlog/b.txt\n');
      assert.equal(execFileSync('tar', ['xzOf', file, 'log/b.txt'], { encoding: 'utf8' }), 'two');
      await assert.rejects(writeArchive(file, []), { code: 'EEXIST' });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
