import { createHmac, timingSafeEqual } from 'node:crypto';

/** Longer values are not ours: workload uids are far shorter. */
const MOST_CHARACTERS = 1_024;

/** What a session's value says. Times in seconds since the epoch. */
export interface SessionToken {
  readonly uid: string;
  readonly began: number;
  readonly seen: number;
}

/** What a value is bound to: it is worth nothing for another Service or under another name. */
export interface SessionScope {
  readonly key: Uint8Array;
  /** `namespace/hostname`. */
  readonly service: string;
  readonly name: string;
}

/**
 * Writes a value that only holders of the key can make: began, seen and uid, then an HMAC-SHA256 over them, the Service and
 * the session's name. Holds only characters that cookies and headers may have (RFC 6265 section 4.1.1).
 */
export function sealSession(token: SessionToken, scope: SessionScope): string {
  const uid = Buffer.from(token.uid, 'utf8').toString('base64url');
  const body = `${token.began.toString(36)}.${token.seen.toString(36)}.${uid}`;
  return `${body}.${mac(body, scope).toString('base64url')}`;
}

/** Reads a value; undefined for everything that {@link sealSession} did not write with this key for this scope. */
export function openSession(value: string, scope: SessionScope): SessionToken | undefined {
  if (value.length > MOST_CHARACTERS) return undefined;
  const [, body, began, seen, uid, sealed] =
    /^(([0-9a-z]{1,9})\.([0-9a-z]{1,9})\.([A-Za-z0-9_-]+))\.([A-Za-z0-9_-]{43})$/.exec(value) ?? [];
  if (body === undefined || began === undefined || seen === undefined || uid === undefined) return undefined;
  // As texts: the last character has bits to spare, and one session must have one value.
  const given = Buffer.from(sealed ?? '', 'latin1');
  const expected = Buffer.from(mac(body, scope).toString('base64url'), 'latin1');
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) return undefined;
  return {
    uid: Buffer.from(uid, 'base64url').toString('utf8'),
    began: Number.parseInt(began, 36),
    seen: Number.parseInt(seen, 36),
  };
}

function mac(body: string, { key, service, name }: SessionScope): Buffer {
  // Neither a Service's key nor a token can hold a NUL, so the parts cannot run into each other.
  return createHmac('sha256', key).update(`loam session 1\0${service}\0${name}\0${body}`).digest();
}
