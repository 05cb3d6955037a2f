import {
  SessionPersistence_Type as Type,
  type SessionPersistence as Settings,
} from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { LoamError } from '../../lib/loam-error.ts';
import { header, type RequestHead } from '../../lib/mesh/waypoint/request.ts';
import { cookieValues, isToken } from './cookies.ts';
import { openSession, sealSession, type SessionScope, type SessionToken } from './session-token.ts';
import { WALL_NOW, type Now } from './time.ts';

export class SessionError extends LoamError<'SESSION_NAME' | 'SESSION_KEY'> {}

export type SessionSettings = Pick<
  Settings,
  'name' | 'type' | 'absoluteTimeout' | 'idleTimeout' | 'permanent'
>;

/** A session that the client brought and that is valid. */
export type Session = SessionToken;

/** A response header to add; `set-cookie` beside those that are there, any other in their place. */
export interface SessionHeader {
  readonly name: string;
  readonly value: string;
}

const LEAST_KEY_BYTES = 32;

/**
 * Keeps a client at one endpoint (GEP-1619): the response brings a cookie or header that names it, later requests bring it
 * back. Nothing is kept here; what a client could forge is authenticated, and what is forged, foreign or stale is as if it
 * were absent, so the client gets a new session.
 */
export class SessionPersistence {
  readonly #settings: SessionSettings;
  readonly #scope: SessionScope;
  readonly #wallNow: Now;

  /**
   * @param service `namespace/hostname` that sessions are bound to
   * @param key secret, at least 32 bytes; the same in all waypoints that serve the Service, or sessions end where another answers
   * @throws SessionError for a name that cannot be a cookie's or header's, or a short key
   */
  constructor(settings: SessionSettings, service: string, key: Uint8Array, wallNow: Now = WALL_NOW) {
    if (!isToken(settings.name)) {
      throw new SessionError(
        'SESSION_NAME',
        `sessionPersistence.name ${JSON.stringify(settings.name)} of Service ${service} is not allowed: a name of a cookie or header has only letters, digits and !#$%&'*+-.^_\`|~`,
      );
    }
    if (key.length < LEAST_KEY_BYTES) {
      throw new SessionError(
        'SESSION_KEY',
        `the key of sessions has ${key.length} bytes; at least ${LEAST_KEY_BYTES} are needed`,
      );
    }
    this.#settings = settings;
    this.#scope = { key, service, name: settings.name };
    this.#wallNow = wallNow;
  }

  /** The session of a request; undefined when it brings none that is valid and within its times. */
  read(head: Pick<RequestHead, 'headers'>): Session | undefined {
    const { name, type } = this.#settings;
    const values =
      type === Type.COOKIE
        ? cookieValues(header(head.headers, 'cookie'), name)
        : [header(head.headers, name.toLowerCase()) ?? ''];
    for (const value of values) {
      const session = openSession(value, this.#scope);
      if (session !== undefined && this.#current(session)) return session;
    }
    return undefined;
  }

  /**
   * What to add to the response of a request that the endpoint `uid` answered; undefined when the client has what it needs.
   * A session that changes its endpoint is a new one.
   *
   * @param session what {@link read} found in the request
   * @param path that the cookie is for
   */
  issue(uid: string, session: Session | undefined, path = '/'): SessionHeader | undefined {
    const now = this.#seconds();
    const continued = session?.uid === uid ? session : undefined;
    // The idle time runs from what the client holds, so each second with a request has its own value.
    if (continued !== undefined && (this.#settings.idleTimeout === 0 || continued.seen === now))
      return undefined;
    const token = { uid, began: continued?.began ?? now, seen: now };
    const value = sealSession(token, this.#scope);
    const { name, type } = this.#settings;
    if (type === Type.HEADER) return { name: name.toLowerCase(), value };
    return { name: 'set-cookie', value: this.#cookie(value, token, path) };
  }

  /** `Secure` is left out: within the mesh applications speak plain HTTP, and the mesh encrypts. */
  #cookie(value: string, token: SessionToken, path: string): string {
    const { name, permanent, absoluteTimeout } = this.#settings;
    const attributes = [`${name}=${value}`, `Path=${safePath(path)}`];
    if (permanent && absoluteTimeout > 0) {
      const left = token.began + Math.ceil(absoluteTimeout / 1_000) - token.seen;
      attributes.push(`Max-Age=${Math.max(0, left)}`);
    }
    return [...attributes, 'HttpOnly', 'SameSite=Lax'].join('; ');
  }

  #current({ began, seen }: SessionToken): boolean {
    const { absoluteTimeout, idleTimeout } = this.#settings;
    const now = this.#seconds();
    if (absoluteTimeout > 0 && (now - began) * 1_000 >= absoluteTimeout) return false;
    return idleTimeout === 0 || (now - seen) * 1_000 < idleTimeout;
  }

  #seconds(): number {
    return Math.floor(this.#wallNow() / 1_000);
  }
}

/** A path comes from a request or route: nothing of it may end the attribute. */
function safePath(path: string): string {
  return /^\/[\x21-\x3a\x3c-\x7e]*$/.test(path) ? path : '/';
}
