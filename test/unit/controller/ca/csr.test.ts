import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { publicKeyOfCsr } from '../../../../controller/ca/csr.ts';
import { type KeyAlgorithm, makeCsr } from './make-csr.ts';

const rsa = (modulusLength: number): KeyAlgorithm => ({
  name: 'RSASSA-PKCS1-v1_5',
  modulusLength,
  publicExponent: new Uint8Array([1, 0, 1]),
  hash: 'SHA-256',
});

function pem(der: Buffer): string {
  return `-----BEGIN CERTIFICATE REQUEST-----\n${der.toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`;
}

async function der(): Promise<Buffer> {
  const { csr } = await makeCsr();
  return Buffer.from(csr.replaceAll(/-----[^-]+-----|\s/g, ''), 'base64');
}

describe('ca/csr', () => {
  it('takes the key out of requests of the kinds that the mesh admits', async () => {
    for (const algorithm of [
      { name: 'ECDSA', namedCurve: 'P-256' },
      { name: 'ECDSA', namedCurve: 'P-384' },
      rsa(2048),
    ]) {
      await publicKeyOfCsr((await makeCsr(algorithm)).csr);
    }
  });

  it('refuses weak and unusual keys by name', async () => {
    await assert.rejects(publicKeyOfCsr((await makeCsr(rsa(1024))).csr), /RSA 1024 bits; allowed/);
    await assert.rejects(publicKeyOfCsr((await makeCsr({ name: 'Ed25519' })).csr), /ed25519; allowed/);
    await assert.rejects(
      publicKeyOfCsr((await makeCsr({ name: 'ECDSA', namedCurve: 'P-521' }, 'SHA-512')).csr),
      /secp521r1; allowed/,
    );
  });

  it('refuses blanks without end in the time of one look', async () => {
    const blanks = '\n'.repeat(8000);
    await assert.rejects(publicKeyOfCsr(`-----BEGIN CERTIFICATE REQUEST-----${blanks}x-`), {
      code: 'CA_CSR',
    });
    await assert.rejects(publicKeyOfCsr(pem(await der()).replace('\n', `\n${blanks}-`)), { code: 'CA_CSR' });
    await publicKeyOfCsr(`${blanks}${pem(await der())}`);
  });

  it('refuses a request whose signature does not hold', async () => {
    const bytes = await der();
    const last = bytes.length - 1;
    bytes[last] = (bytes[last] ?? 0) ^ 1;
    await assert.rejects(publicKeyOfCsr(pem(bytes)), { code: 'CA_CSR' });
  });

  it('refuses garbage, whatever byte of it is wrong, without any other error', async () => {
    const bytes = await der();
    const { csr } = await makeCsr();
    const bad = [
      '',
      'x',
      csr + csr,
      csr.replace('REQUEST', 'RUBBISH'),
      'A'.repeat(20_000),
      pem(Buffer.alloc(0)),
      pem(Buffer.alloc(500, 0x30)),
      pem(bytes.subarray(0, 60)),
    ];
    for (const text of bad) await assert.rejects(publicKeyOfCsr(text), { code: 'CA_CSR' }, text.slice(0, 40));
    for (let i = 0; i < bytes.length; i += 1) {
      const mutated = Buffer.from(bytes);
      mutated[i] = (mutated[i] ?? 0) ^ 0xff;
      await assert.rejects(publicKeyOfCsr(pem(mutated)), { code: 'CA_CSR' }, `byte ${i}`);
    }
  });
});
