import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CertificateBundle } from '../../lib/mesh/identity/certificate-bundle.ts';
import { parseSpiffeUri } from '../../lib/spiffe.ts';
import { identityOf } from './plan.ts';

const DAY_MS = 86_400_000;

/** Makes the one authority of the measurement, `root.pem` and `root-key.pem`: both contenders' peers chain to it. */
export function makeAuthority(folder: string): { readonly cert: string; readonly key: string } {
  const [cert, key] = [join(folder, 'root.pem'), join(folder, 'root-key.pem')];
  openssl(
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1'],
    ...['-subj', '/O=bench', '-keyout', key, '-out', cert],
    ...['-addext', 'keyUsage=critical,keyCertSign,cRLSign'],
  );
  return { cert, key };
}

/** Issues `NAME.pem` (certificate, then key: HAProxy's form), ECDSA P-256 as in the mesh, for one service account. */
export function issue(folder: string, account: string): string {
  const file = (suffix: string): string => join(folder, `${account}${suffix}`);
  openssl(
    ...['req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/'],
    ...['-keyout', file('.key'), '-out', file('.csr')],
  );
  writeFileSync(
    file('.ext'),
    `subjectAltName=critical,URI:${identityOf(account)}\nextendedKeyUsage=serverAuth,clientAuth\n`,
  );
  openssl(
    ...['x509', '-req', '-in', file('.csr'), '-days', '1', '-extfile', file('.ext'), '-out', file('.crt')],
    ...['-CA', join(folder, 'root.pem'), '-CAkey', join(folder, 'root-key.pem'), '-CAcreateserial'],
  );
  const pem = readFileSync(file('.crt'), 'utf8') + readFileSync(file('.key'), 'utf8');
  writeFileSync(file('.pem'), pem, { mode: 0o600 });
  return file('.pem');
}

/** Reads what {@link issue} wrote. */
export function readBundle(folder: string, account: string): CertificateBundle {
  return {
    identity: parseSpiffeUri(identityOf(account)),
    certChainPem: readFileSync(join(folder, `${account}.crt`), 'utf8'),
    keyPem: readFileSync(join(folder, `${account}.key`), 'utf8'),
    rootsPem: readFileSync(join(folder, 'root.pem'), 'utf8'),
    notBefore: Date.now(),
    notAfter: Date.now() + DAY_MS,
    serialNumber: '1',
  };
}

function openssl(...args: string[]): void {
  execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}
