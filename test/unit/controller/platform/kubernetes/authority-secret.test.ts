import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import {
  authorityOf,
  makeAuthorityValues,
} from '../../../../../controller/platform/kubernetes/authority-secret.ts';
import { ensureSecret, type SecretData } from '../../../../../controller/platform/kubernetes/secret.ts';
import { loadSessionSecret } from '../../../../../controller/platform/kubernetes/session-secret.ts';
import { KubeApiError } from '../../../../../lib/kubernetes/errors.ts';
import { TestCa } from '../../../lib/mesh/identity/test-ca.ts';

const secret = (values: Record<string, string>): SecretData => ({
  namespace: 'mesh',
  name: 'loam-ca',
  values,
});

describe('platform/kubernetes: Secrets', () => {
  it('takes what it made itself, and names of cert-manager', async () => {
    const values = await makeAuthorityValues('cluster.local');
    const own = await authorityOf(secret(values));
    assert.equal(own.chain.length, 1);
    assert.equal(own.rootsPem, own.rootPem);
    const { 'ca-cert.pem': cert = '', 'ca-key.pem': key = '', 'root-cert.pem': root = '' } = values;
    const theirs = await authorityOf(secret({ 'tls.crt': cert, 'tls.key': key, 'ca.crt': root }));
    assert.equal(theirs.rootPem, own.rootPem);
  });

  it('finds the way from a given authority to its root, and trusts the other roots beside it', async () => {
    const root = await TestCa.root();
    const other = await TestCa.root();
    const intermediate = await root.intermediate();
    const { pem: certPem, keyPem } = intermediate;
    for (const values of [
      { 'ca-cert.pem': certPem, 'ca-key.pem': keyPem, 'root-cert.pem': `${root.pem}\n${other.pem}` },
      {
        'ca-cert.pem': `${certPem}\n${root.pem}`,
        'ca-key.pem': keyPem,
        'root-cert.pem': `${other.pem}\n${root.pem}`,
      },
      {
        'ca-cert.pem': certPem,
        'cert-chain.pem': `${certPem}\n${root.pem}`,
        'ca-key.pem': keyPem,
        'root-cert.pem': `${root.pem}\n${other.pem}`,
      },
    ]) {
      const authority = await authorityOf(secret(values));
      assert.equal(authority.chain.length, 2);
      assert.equal(authority.rootPem.trim(), root.pem.trim());
      assert.equal(authority.rootsPem.split('BEGIN CERTIFICATE').length - 1, 2);
    }
  });

  it('names Secret and field of what cannot be used, and quotes no key', async () => {
    const good = await makeAuthorityValues('cluster.local');
    const other = await makeAuthorityValues('cluster.local');
    const leaf = await (await TestCa.root()).issue([{ type: 'dns', value: 'a' }]);
    const wrong: [Record<string, string>, RegExp][] = [
      [{ 'ca-cert.pem': '' }, /field ca-cert\.pem is missing/],
      [{ 'ca-key.pem': ' ' }, /field ca-key\.pem is missing/],
      [{ 'root-cert.pem': 'x' }, /field root-cert\.pem: holds no certificate/],
      [{ 'ca-key.pem': good['ca-cert.pem'] ?? '' }, /field ca-key\.pem: holds no private key/],
      [{ 'ca-key.pem': other['ca-key.pem'] ?? '' }, /field ca-key\.pem does not belong to .*ca-cert\.pem/],
      [
        { 'root-cert.pem': other['root-cert.pem'] ?? '' },
        /field root-cert\.pem: none of its 1 certificates signed ca-cert\.pem/,
      ],
      [{ 'root-cert.pem': leaf.certPem }, /field root-cert\.pem: .* is no root/],
    ];
    for (const [values, message] of wrong)
      await assert.rejects(authorityOf(secret({ ...good, ...values })), (error: Error) => {
        assert.match(error.message, /^Secret mesh\/loam-ca: /);
        assert.match(error.message, message);
        return !error.message.includes('PRIVATE KEY-----');
      });
    await assert.rejects(authorityOf(secret({})), /field ca-cert\.pem is missing; allowed: PEM/);
  });

  it('of two who make a Secret at once both have what the first made', async () => {
    let stored: object | undefined;
    const failure = (status: number): KubeApiError =>
      new KubeApiError('KUBE_STATUS', 'no', { path: '', status });
    const client = {
      get: <T>() => (stored === undefined ? Promise.reject(failure(404)) : Promise.resolve(stored as T)),
      create: <T>(_: string, object: unknown) => {
        if (stored !== undefined) return Promise.reject(failure(409));
        stored = object as object;
        return Promise.resolve(stored as T);
      },
    };
    const place = { client, namespace: 'mesh', name: 'x' };
    const [a, b] = await Promise.all(
      ['1', '2'].map((value) => ensureSecret(place, () => Promise.resolve({ value }))),
    );
    assert.deepEqual(a, b);
    await assert.rejects(
      loadSessionSecret(client, 'mesh'),
      /Secret mesh\/loam-session: field secret cannot be used/,
    );
    stored = undefined;
    const first = await loadSessionSecret(client, 'mesh');
    assert.deepEqual(await loadSessionSecret(client, 'mesh'), first);
    assert.equal(first.length, 32);
  });
});
