import type { Identity } from '../../spiffe.ts';

/**
 * All that a TLS end needs to be an identity; crosses to the worker by structured clone.
 * Holds the private key: never to be logged, stored or shown.
 */
export interface CertificateBundle {
  readonly identity: Identity;
  /** The leaf, then intermediates. */
  readonly certChainPem: string;
  /** PKCS #8. */
  readonly keyPem: string;
  /** Every root that peers may chain to. */
  readonly rootsPem: string;
  /** Milliseconds since the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
  readonly serialNumber: string;
}
