import { LoamError } from './loam-error.ts';

/** A workload's identity: `spiffe://<trust domain>/ns/<namespace>/sa/<service account>` (SPIFFE-ID, as Istio shapes it). */
export interface Identity {
  readonly trustDomain: string;
  readonly namespace: string;
  readonly serviceAccount: string;
}

export class SpiffeError extends LoamError<'SPIFFE_ID'> {}

// SPIFFE-ID section 2.1 and 2.2: a trust domain is lower case, digits, `.`, `-`, `_`; a path segment adds upper case.
const PATTERN = /^spiffe:\/\/([a-z0-9._-]{1,255})\/ns\/([A-Za-z0-9._-]{1,253})\/sa\/([A-Za-z0-9._-]{1,253})$/;

/** The URI of an identity. */
export function spiffeUri(id: Identity): string {
  return `spiffe://${id.trustDomain}/ns/${id.namespace}/sa/${id.serviceAccount}`;
}

/**
 * Reads an identity from its URI.
 *
 * @throws SpiffeError when the text is not of Istio's shape
 */
export function parseSpiffeUri(uri: string): Identity {
  const match = PATTERN.exec(uri);
  const [, trustDomain, namespace, serviceAccount] = match ?? [];
  if (trustDomain === undefined || namespace === undefined || serviceAccount === undefined) {
    throw new SpiffeError(
      'SPIFFE_ID',
      `identity ${JSON.stringify(uri.slice(0, 300))} is not of the form spiffe://<trust domain>/ns/<namespace>/sa/<service account>`,
    );
  }
  return { trustDomain, namespace, serviceAccount };
}

/** True when both name the same workload identity. */
export function sameIdentity(a: Identity, b: Identity): boolean {
  return (
    a.trustDomain === b.trustDomain && a.namespace === b.namespace && a.serviceAccount === b.serviceAccount
  );
}
