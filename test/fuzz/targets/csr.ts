import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { publicKeyOfCsr } from '../../../controller/ca/csr.ts';
import { ControllerError } from '../../../controller/errors.ts';
import type { FuzzTarget } from '../engine/target.ts';

/** Made with OpenSSL for this test: P-256 and RSA 2048, with names in it that must not count. */
const REQUESTS = [
  'MIIBFjCBvgIBADAQMQ4wDAYDVQQDDAVhZG1pbjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABHczIBRjOBwrmFJTLVhUsqtVZV6w1rCycmUz7v88Wz2mfPONyYjiYTU/D8nrPwZV3uImBxHqZ25vFVAJF/0nfjmgTDBKBgkqhkiG9w0BCQ4xPTA7MDkGA1UdEQQyMDCGLnNwaWZmZTovL2NsdXN0ZXIubG9jYWwvbnMva3ViZS1zeXN0ZW0vc2EvYWRtaW4wCgYIKoZIzj0EAwIDRwAwRAIgYMEOaue83zSgMm0XPcYeVwSMWx1elWGT7o7i/UET0RECIAq2XBBK0ZYfNc4zM3L/vJuCoC7Wsw2d7DU67a7NPEXV',
  'MIICUTCCATkCAQAwDDEKMAgGA1UEAwwBeDCCASIwDQYJKoZIhvcNAQEBBQADggEPADCCAQoCggEBAJdIVgPNsR+qTw3b1xS4BzEXVDobiQ9hPAAJC8gJBn1Md3wQSU0zAql8cIsH1c7gWTizKgCAkK7/QAzc3x5inx7UVdYLvVg/+MAVgO1FZ1L0QhnTvPTqZld9vAiyMtNtuoJOwl1TuDBdOfuwqBhWp1UVmmeqcvCjSmclp5Z3iktdZXz6VD+c+X6Yo7Eyh3+iRajXMC4oVF6LccM6/Qr7etPeH18K5tAiu7LTdwaZvp5uoeOUJ/3h0qqeByJJwCsLqxwe7pIyL+OSgo1XQiNVG+oSwoyNxvInKCLa7Vg+mvURtAjXH21qXupW5/+iKuNA8k1fWtyWZb956/O2njyzRqUCAwEAAaAAMA0GCSqGSIb3DQEBCwUAA4IBAQAwd6rYNQKJkmKgQgMIKtMhP2Wi40QkXVCr9AO0dRw/g1k+NjVdCW4isaXSlhn6SD1XU7EuA+bVhUjUcUVIaxIYBtCCuSyA5dhNg45GMD9mnMiyKH7gq0YZfFkLIFW6LqzZlxdO5zlQWwWHS54QtsQWmSPdU5b0VZIuKd1BsgUw4F1VDZ8CI/iZfIgmH/kwnMI5FHRl8uKxn1CtUwPvvGt8Ml+mXu6vOxAZtZRY6nRXxk1H0nZnRSX427W14EBJQ3Fmf7ILXMHPATAiHEo7y5W/Tlqfyp1yJ0QhLg4Hhuv/nOWbSTjQZVQG7tEXsVTCrwtjK5si0FXIFBaKqphxPtbY',
];

const pem = (der: Uint8Array): string =>
  `-----BEGIN CERTIFICATE REQUEST-----\n${Buffer.from(der).toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`;

/** DER of a certificate request; an input that begins with dashes is taken as PEM, as it is. */
export const target: FuzzTarget = {
  name: 'csr',
  seeds: REQUESTS.flatMap((base64) => [Buffer.from(base64, 'base64'), pem(Buffer.from(base64, 'base64'))]),
  async run(input) {
    const text = input.subarray(0, 5).equals(Buffer.from('-----')) ? input.toString('latin1') : pem(input);
    try {
      const key = await publicKeyOfCsr(text);
      const { asymmetricKeyType, asymmetricKeyDetails } = createPublicKey({
        key: Buffer.from(key.rawData),
        format: 'der',
        type: 'spki',
      });
      if (asymmetricKeyType === 'rsa') assert.ok((asymmetricKeyDetails?.modulusLength ?? 0) >= 2_048);
      else assert.equal(asymmetricKeyType, 'ec');
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error;
      assert.ok(error instanceof ControllerError && error.code === 'CA_CSR', String(error));
      assert.ok(error.message.length < 600);
    }
  },
};
