import type { Duplex } from 'node:stream';

export type Detected = 'http1' | 'http2' | 'opaque';

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');
/** Longest method that is waited for; registered ones have at most 17 characters (IANA, UPDATEREDIRECTREF). */
const MAX_METHOD = 24;
const SPACE = 0x20;

/**
 * What a client speaks, by its first bytes, which stay to be read. Opaque when it says nothing in time: protocols in which
 * the server speaks first must not wait for long (user-pains B25). The end of a client that said nothing may have been
 * heard already (`readableEnded`).
 */
export function detectProtocol(connection: Duplex, timeoutMs: number): Promise<Detected> {
  return new Promise((resolve) => {
    let seen: Buffer = Buffer.alloc(0);
    let settled = false;
    const settle = (what: Detected): void => {
      settled = true;
      clearTimeout(timer);
      connection.off('readable', onReadable);
      connection.off('close', onClose);
      connection.pause();
      if (seen.length > 0) connection.unshift(seen);
      resolve(what);
    };
    // Not by `data`: after `end` nothing can be put back.
    const onReadable = (): void => {
      // Readable without a byte: the client ended its half, and to read would take the end away.
      if (connection.readableLength === 0) {
        settle('opaque');
        return;
      }
      seen = Buffer.concat([seen, connection.read() as Buffer]);
      const what = judge(seen);
      if (what !== undefined) settle(what);
    };
    const onClose = (): void => settle('opaque');
    // When this thread was busy, the first bytes may have come in time without having been read.
    const timer = setTimeout(() => setImmediate(onTimeout), timeoutMs);
    const onTimeout = (): void => {
      if (!settled) settle('opaque');
    };
    connection.on('readable', onReadable);
    connection.once('close', onClose);
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
