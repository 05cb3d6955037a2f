import assert from 'node:assert/strict';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { issueLeaf } from '../../../../controller/ca/issue.ts';
import { type Authority, loadAuthority } from '../../../../controller/ca/root.ts';
import { x509 } from '../../../../controller/ca/x509.ts';
import { temporaryDir } from '../harness.ts';

const RSA = {
  name: 'RSASSA-PKCS1-v1_5',
  modulusLength: 2048,
  publicExponent: new Uint8Array([1, 0, 1]),
  hash: 'SHA-256',
};
const EC = { name: 'ECDSA', namedCurve: 'P-384' };
const YEAR_MS = 365 * 24 * 3600 * 1000;

/** An RSA root with an EC intermediate below it, as files. */
async function makeIntermediate(dir: string, options: { ca?: boolean; notAfter?: Date } = {}) {
  const rootKeys = await crypto.subtle.generateKey(RSA, true, ['sign', 'verify']);
  const keys = await crypto.subtle.generateKey(EC, true, ['sign', 'verify']);
  const notBefore = new Date(Date.now() - YEAR_MS);
  const root = await x509.X509CertificateGenerator.createSelfSigned({
    name: 'CN=root',
    keys: rootKeys,
    signingAlgorithm: RSA,
    notBefore,
    notAfter: new Date(Date.now() + YEAR_MS),
    extensions: [new x509.BasicConstraintsExtension(true, undefined, true)],
  });
  const intermediate = await x509.X509CertificateGenerator.create({
    subject: 'CN=intermediate',
    issuer: root.subject,
    publicKey: keys.publicKey,
    signingKey: rootKeys.privateKey,
    signingAlgorithm: RSA,
    notBefore,
    notAfter: options.notAfter ?? new Date(Date.now() + YEAR_MS),
    extensions: [new x509.BasicConstraintsExtension(options.ca ?? true, undefined, true)],
  });
  const der = Buffer.from(await crypto.subtle.exportKey('pkcs8', keys.privateKey));
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  const certFile = join(dir, 'chain.pem');
  const keyFile = join(dir, 'key.pem');
  await writeFile(certFile, `${intermediate.toString('pem')}\n${root.toString('pem')}\n`);
  await writeFile(keyFile, key.export({ type: 'sec1', format: 'pem' }));
  return { certFile, keyFile, root: root.toString('pem'), intermediate: intermediate.toString('pem') };
}

async function load(dir: string, given?: { certFile: string; keyFile: string }): Promise<Authority> {
  const stateDir = join(dir, 'state');
  await mkdir(stateDir, { recursive: true });
  return loadAuthority({ stateDir, trustDomain: 'cluster.local', ...(given === undefined ? {} : { given }) });
}

describe('ca/root', () => {
  it('makes one root even when two start at once', async () => {
    await using dir = await temporaryDir();
    const roots = await Promise.all([1, 2, 3, 4].map(() => load(dir.path)));
    assert.equal(new Set(roots.map(({ rootPem }) => rootPem)).size, 1);
  });

  it('signs by a given intermediate, leaf first and root last, within its life', async () => {
    await using dir = await temporaryDir();
    const notAfter = new Date(Math.ceil(Date.now() / 1000) * 1000 + 60_000);
    const files = await makeIntermediate(dir.path, { notAfter });
    const authority = await load(dir.path, files);
    const { publicKey } = await crypto.subtle.generateKey(EC, true, ['sign', 'verify']);
    const leaf = await issueLeaf(authority, {
      publicKey,
      names: [{ type: 'url', value: 'spiffe://a/ns/b/sa/c' }],
      ttlS: 86400,
    });
    const [issuer, root] = authority.chain.map((pem) => new X509Certificate(pem));
    const cert = new X509Certificate(leaf.pem);
    assert(issuer !== undefined && root !== undefined);
    assert(cert.verify(issuer.publicKey) && cert.checkIssued(issuer) && issuer.verify(root.publicKey));
    assert.equal(leaf.notAfter.getTime(), notAfter.getTime());
    const parsed = new x509.X509Certificate(leaf.pem);
    assert.equal(parsed.getExtension(x509.SubjectAlternativeNameExtension)?.critical, true);
    assert.equal(parsed.getExtension(x509.BasicConstraintsExtension)?.ca, false);
    const usage = parsed.getExtension(x509.KeyUsagesExtension)?.usages;
    assert.equal(usage, x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyEncipherment);
  });

  it('refuses an authority that cannot be one, and says why', async () => {
    await using dir = await temporaryDir();
    const good = await makeIntermediate(dir.path);
    await writeFile(good.certFile, `${good.root}\n${good.intermediate}\n`);
    await assert.rejects(load(dir.path, good), hasCause(/the order must be/));
    await writeFile(good.certFile, good.root);
    await assert.rejects(load(dir.path, good), hasCause(/does not belong to the first certificate/));
    await writeFile(good.certFile, 'nothing');
    await assert.rejects(load(dir.path, good), /no certificate in PEM form/);
    await assert.rejects(
      load(dir.path, await makeIntermediate(dir.path, { ca: false })),
      hasCause(/is not an authority/),
    );
    await assert.rejects(
      load(dir.path, await makeIntermediate(dir.path, { notAfter: new Date(Date.now() - 1000) })),
      hasCause(/is valid from/),
    );
    await assert.rejects(load(dir.path, { ...good, keyFile: join(dir.path, 'absent') }), /ENOENT/);
  });
});

function hasCause(pattern: RegExp): (error: Error) => boolean {
  return (error) => pattern.test(String(error.cause));
}
