import { constants } from 'node:crypto';
import type { ConnectionOptions, TlsOptions, TLSSocket } from 'node:tls';
import { spiffeUri, type Identity } from '../../spiffe.ts';
import { MeshError } from '../errors.ts';
import { identityOfCertificate } from './certificate-chain.ts';
import type { CertificateBundle } from './certificate-bundle.ts';

/** HBONE's TLS (ambient-facts C2): 1.3 only, these two ciphers in this order, HTTP/2 only. */
const CIPHERS = 'TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256';
const ALPN = ['h2'];

/**
 * Options of the HBONE server of one identity. The peer must present a certificate of a trusted root; which
 * identity it has is for {@link inboundPeer}. Sessions are never resumed: that would skip certificate checks.
 */
export function hboneServerTls(bundle: CertificateBundle): TlsOptions {
  return {
    ...common(bundle),
    ALPNProtocols: ALPN,
    requestCert: true,
    rejectUnauthorized: true,
    honorCipherOrder: true,
  };
}

/**
 * Options of the HBONE client of one identity, without SNI and without resumption.
 *
 * @param expected SPIFFE IDs of which the server must have one
 */
export function hboneClientTls(bundle: CertificateBundle, expected: readonly string[]): ConnectionOptions {
  return {
    ...common(bundle),
    ALPNProtocols: ALPN,
    rejectUnauthorized: true,
    servername: '',
    checkServerIdentity: (_host, certificate) => {
      try {
        requireExpected(identityOfCertificate(certificate.raw), expected);
        return undefined;
      } catch (error) {
        return error as Error;
      }
    },
  };
}

/**
 * Who connected to our HBONE server: of our trust domain, else refused.
 *
 * @throws MeshError PEER_IDENTITY; the connection must then be destroyed
 */
export function inboundPeer(socket: TLSSocket, trustDomain: string): Identity {
  const identity = peerIdentity(socket);
  if (identity.trustDomain !== trustDomain) {
    throw new MeshError(
      'PEER_IDENTITY',
      `peer ${spiffeUri(identity)} is of another trust domain, allowed: ${trustDomain}`,
    );
  }
  return identity;
}

/**
 * Whom we reached: one of the expected identities, else refused.
 *
 * @throws MeshError PEER_IDENTITY; the connection must then be destroyed
 */
export function outboundPeer(socket: TLSSocket, expected: readonly string[]): Identity {
  const identity = peerIdentity(socket);
  requireExpected(identity, expected);
  return identity;
}

/**
 * The identity in the peer's certificate, whose chain TLS has verified.
 *
 * @throws MeshError PEER_IDENTITY
 */
export function peerIdentity(socket: TLSSocket): Identity {
  if (!socket.authorized) {
    throw new MeshError('PEER_IDENTITY', "the peer's certificate was not verified");
  }
  const certificate = socket.getPeerX509Certificate();
  if (!certificate) throw new MeshError('PEER_IDENTITY', 'the peer has no certificate');
  if (certificate.ca) throw new MeshError('PEER_IDENTITY', "the peer's certificate is a CA");
  return identityOfCertificate(certificate.raw);
}

function requireExpected(identity: Identity, expected: readonly string[]): void {
  const uri = spiffeUri(identity);
  if (expected.includes(uri)) return;
  throw new MeshError('PEER_IDENTITY', `the peer is ${uri}, expected: ${expected.join(' or ') || 'nobody'}`);
}

function common(bundle: CertificateBundle) {
  return {
    key: bundle.keyPem,
    cert: bundle.certChainPem,
    ca: bundle.rootsPem,
    minVersion: 'TLSv1.3',
    maxVersion: 'TLSv1.3',
    ciphers: CIPHERS,
    secureOptions: constants.SSL_OP_NO_TICKET,
  } as const;
}
