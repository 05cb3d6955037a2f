import type { Metadata } from '@grpc/grpc-js';
import type { SourceGate } from '../sources/source.ts';
import type { Principal } from './principal.ts';

/** It cannot be told now whom a credential proves: whoever has it may come again, and what it opened before stays. */
export class AuthenticationUnavailable extends Error {}

/** Tells whom the credentials of a call prove. */
export interface Authenticator {
  /**
   * @param peer address of the caller, for bounds and logs; it proves nothing
   * @returns undefined when they prove nobody
   * @throws AuthenticationUnavailable when that cannot be told now, also where too many wait for it already
   */
  authenticate(metadata: Metadata, peer: string): Promise<Principal | undefined>;
  /** Calls back when credentials may have come to prove something else, until the signal aborts. */
  onChange(listener: () => void, signal: AbortSignal): void;
  gate(): SourceGate;
  start(): Promise<void>;
  close(): void;
}

const BEARER = /^Bearer ([\x21-\x7e]+)$/i;

/** The bearer token of a call (RFC 6750 section 2.1), if it has one of at most so many characters. */
export function bearerToken(metadata: Metadata, maxLength: number): string | undefined {
  const [value] = metadata.get('authorization');
  const token = typeof value === 'string' ? BEARER.exec(value)?.[1] : undefined;
  return token === undefined || token.length > maxLength ? undefined : token;
}
