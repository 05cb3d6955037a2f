import type { Duplex } from 'node:stream';

export type Detected = 'http1' | 'http2' | 'opaque';

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');
/** Longest method that is waited for; registered ones have at most 17 characters (IANA, UPDATEREDIRECTREF). */
const MAX_METHOD = 24;
const SPACE = 0x20;

/**
 * What a client speaks, by its first bytes, which stay to be read. Opaque when it says nothing in time: protocols in
 * which the server speaks first must not wait for long (user-pains B25).
 */
export function detectProtocol(connection: Duplex, timeoutMs: number): Promise<Detected> {
  return new Promise((resolve) => {
    let seen: Buffer = Buffer.alloc(0);
    const settle = (what: Detected): void => {
      clearTimeout(timer);
      connection.off('data', onData);
      connection.off('end', onEnd);
      connection.off('close', onEnd);
      connection.pause();
      if (seen.length > 0) connection.unshift(seen);
      resolve(what);
    };
    const onData = (chunk: Buffer): void => {
      seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk]);
      const what = judge(seen);
      if (what !== undefined) settle(what);
    };
    const onEnd = (): void => settle('opaque');
    const timer = setTimeout(() => settle('opaque'), timeoutMs);
    connection.on('data', onData);
    connection.once('end', onEnd);
    connection.once('close', onEnd);
  });
}

/** @returns undefined while more bytes are needed */
export function judge(seen: Buffer): Detected | undefined {
  const length = Math.min(seen.length, PREFACE.length);
  if (seen.subarray(0, length).equals(PREFACE.subarray(0, length))) {
    return length === PREFACE.length ? 'http2' : undefined;
  }
  for (let i = 0; i < Math.min(seen.length, MAX_METHOD); i += 1) {
    const byte = seen[i] ?? 0;
    if (byte === SPACE) return i > 0 ? targetFollows(seen, i + 1) : 'opaque';
    // Methods are case-sensitive and all registered ones are upper case, with hyphens.
    if ((byte < 0x41 || byte > 0x5a) && byte !== 0x2d) return 'opaque';
  }
  return seen.length >= MAX_METHOD ? 'opaque' : undefined;
}

/** After method and space comes a path, `*`, or an absolute URL or authority. */
function targetFollows(seen: Buffer, at: number): Detected | undefined {
  const byte = seen[at];
  if (byte === undefined) return undefined;
  if (byte === 0x2f || byte === 0x2a) return 'http1';
  const isLetterOrDigit =
    (byte >= 0x61 && byte <= 0x7a) || (byte >= 0x41 && byte <= 0x5a) || (byte >= 0x30 && byte <= 0x39);
  return isLetterOrDigit || byte === 0x5b ? 'http1' : 'opaque';
}
