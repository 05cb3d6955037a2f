import 'reflect-metadata';
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { BasicConstraintsExtension, SubjectAlternativeNameExtension } from '@peculiar/x509';
import { before, describe, it } from 'mocha';
import { spiffeUri } from '../../../../../lib/spiffe.ts';
import {
  identityOfCertificate,
  parseCertificates,
  verifyChain,
} from '../../../../../lib/mesh/identity/certificate-chain.ts';
import { makeKeyAndRequest } from '../../../../../lib/mesh/identity/key-pair.ts';
import { TestCa, validNow, type Validity } from './test-ca.ts';

const IDENTITY = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'web' };
const URI = spiffeUri(IDENTITY);
const OTHER = 'spiffe://cluster.local/ns/shop/sa/other';
const HOUR_MS = 3_600_000;

describe('certificate chain', () => {
  let root: TestCa;
  let wanted: {
    identity: typeof IDENTITY;
    publicKey: Awaited<ReturnType<typeof makeKeyAndRequest>>['publicKey'];
  };
  let csrPem: string;

  before(async () => {
    root = await TestCa.root();
    const made = await makeKeyAndRequest(IDENTITY);
    wanted = { identity: IDENTITY, publicKey: made.publicKey };
    csrPem = made.csrPem;
  });

  const sign = (ca: TestCa, uri = URI, validity?: Validity) =>
    ca.signCsr(csrPem, [{ type: 'url', value: uri }], validity);
  const trusted = (...cas: TestCa[]) => cas.flatMap((ca) => parseCertificates(ca.pem));
  const verify = (chain: string[], roots: X509Certificate[]) => verifyChain(chain, wanted, roots, new Date());
  const refuses = (chain: string[], roots: X509Certificate[], message: RegExp) =>
    assert.throws(() => verify(chain, roots), { code: 'CERTIFICATE_INVALID', message });

  it('takes a leaf of a trusted root, with the root delivered or not', async () => {
    const leaf = await sign(root);
    assert.equal(verify([leaf], trusted(root)).roots.length, 0);
    const verified = verify([leaf, root.pem], trusted(root));
    assert.equal(verified.roots.length, 1);
    assert.equal(verified.chainPem.match(/BEGIN/g)?.length, 1);
  });

  it('takes intermediates in any order, also several in one text', async () => {
    const middle = await root.intermediate();
    const lower = await middle.intermediate('CN=lower');
    const leaf = await sign(lower);
    const verified = verify([leaf, middle.pem + lower.pem, root.pem], trusted(root));
    assert.equal(verified.chainPem.match(/BEGIN/g)?.length, 3);
  });

  it('takes a chain to a new root that came with it, as in a rotation', async () => {
    const next = await TestCa.root('CN=next');
    assert.equal(verify([await sign(next), next.pem], trusted(root)).roots.length, 1);
  });

  it('refuses what does not chain to a root', async () => {
    const next = await TestCa.root('CN=next');
    refuses([await sign(next)], trusted(root), /no trusted root signed the certificate/);
    // A root of the same name and another key.
    const twin = await TestCa.root('CN=test root');
    refuses([await sign(twin)], trusted(root), /no trusted root/);
    const middle = await next.intermediate();
    refuses([await sign(middle), middle.pem], trusted(root), /no trusted root signed its chain/);
    refuses([], trusted(root), /no certificate/);
    refuses(['nonsense'], trusted(root), /no certificate/);
  });

  it('refuses a leaf that signs, and an issuer that is no CA', async () => {
    const impostor = await root.impostor([{ type: 'url', value: OTHER }]);
    refuses([await sign(impostor), impostor.pem], trusted(root), /no trusted root/);
    const ca = await root.issue([{ type: 'url', value: URI }], validNow(), [
      new BasicConstraintsExtension(true),
    ]);
    const key = new X509Certificate(ca.certPem).publicKey;
    assert.throws(
      () => verifyChain([ca.certPem], { identity: IDENTITY, publicKey: key }, trusted(root), new Date()),
      /is a CA/,
    );
  });

  it('refuses another identity, another key, wrong dates', async () => {
    refuses([await sign(root, OTHER)], trusted(root), /is for .*other, asked for was .*web/);
    const { certPem } = await root.issue([{ type: 'url', value: URI }]);
    refuses([certPem], trusted(root), /another key/);
    const [old, future] = [-3, 1].map((h) => ({
      notBefore: new Date(Date.now() + h * HOUR_MS),
      notAfter: new Date(Date.now() + (h + 1) * HOUR_MS),
    })) as [Validity, Validity];
    refuses([await sign(root, URI, old)], trusted(root), /valid from/);
    refuses([await sign(root, URI, future)], trusted(root), /valid from/);
    const expired = await root.intermediate('CN=old', old);
    refuses([await sign(expired), expired.pem], trusted(root), /intermediate/);
    const oldRoot = await TestCa.root('CN=old root', old);
    refuses([await sign(oldRoot)], trusted(oldRoot), /no trusted root/);
  });

  describe('identity', () => {
    const identityOf = async (names: ConstructorParameters<typeof SubjectAlternativeNameExtension>[0]) => {
      const { certificate } = await root.issue(names as Parameters<TestCa['issue']>[0]);
      return identityOfCertificate(new Uint8Array(certificate.rawData));
    };

    it('is the one URI name, beside names of other kinds', async () => {
      assert.deepEqual(await identityOf([{ type: 'url', value: URI }]), IDENTITY);
      assert.deepEqual(
        await identityOf([
          { type: 'dns', value: 'a.example' },
          { type: 'url', value: URI },
          { type: 'ip', value: '10.0.0.1' },
        ]),
        IDENTITY,
      );
    });

    it('is not read out of a name of another kind that looks like one', async () => {
      await assert.rejects(identityOf([{ type: 'dns', value: `x, URI:${URI}` }]), /no URI name/);
      await assert.rejects(identityOf([{ type: 'url', value: `https://x/, URI:${URI}` }]), /another form/);
      await assert.rejects(identityOf([{ type: 'url', value: `${URI}, URI:${OTHER}` }]), /another form/);
      await assert.rejects(identityOf([{ type: 'url', value: `${URI}\0` }]), /another form/);
    });

    it('is refused with none, two, or another form', async () => {
      await assert.rejects(identityOf([]), { code: 'PEER_IDENTITY' });
      await assert.rejects(identityOf([{ type: 'dns', value: 'a.example' }]), /no URI name/);
      await assert.rejects(
        identityOf([
          { type: 'url', value: URI },
          { type: 'url', value: URI },
        ]),
        /2 URI names/,
      );
      await assert.rejects(
        identityOf([{ type: 'url', value: 'spiffe://cluster.local/web' }]),
        /another form/,
      );
      assert.throws(() => identityOfCertificate(Uint8Array.of(0x30, 0x80)), { code: 'PEER_IDENTITY' });
    });

    it('is refused when the extension stands twice', async () => {
      const { certificate } = await root.issue([{ type: 'url', value: URI }], validNow(), [
        new SubjectAlternativeNameExtension([{ type: 'url', value: OTHER }]),
      ]);
      assert.throws(() => identityOfCertificate(new Uint8Array(certificate.rawData)), /twice/);
    });
  });
});
