import type { Duplex } from 'node:stream';

export type Detected = 'http1' | 'http2' | 'opaque';

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');
/** Longest method that is waited for; registered ones have at most 17 characters (IANA, UPDATEREDIRECTREF). */
const MAX_METHOD = 24;
const SPACE = 0x20;

/** `silent`: too little was said in time to tell; what was said stays to be read. */
export type Heard = Detected | 'silent';

export interface Listening {
  /** In milliseconds; undefined: as long as the connection lives. */
  readonly timeoutMs: number | undefined;
  /** Ends the listening as the timeout does. */
  readonly signal?: AbortSignal;
}

/**
 * What a client speaks, by its first bytes, which stay to be read. The end of a client that said nothing may have been
 * heard already (`readableEnded`); it passes as opaque.
 */
export function detectProtocol(connection: Duplex, { timeoutMs, signal }: Listening): Promise<Heard> {
  return new Promise((resolve) => {
    let seen: Buffer = Buffer.alloc(0);
    let settled = false;
    const settle = (what: Heard): void => {
      settled = true;
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
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
    const timer = timeoutMs === undefined ? undefined : setTimeout(() => setImmediate(onSilence), timeoutMs);
    const onSilence = (): void => {
      if (!settled) settle('silent');
    };
    const onAbort = (): void => onSilence();
    connection.on('readable', onReadable);
    connection.once('close', onClose);
    signal?.addEventListener('abort', onAbort);
    if (signal?.aborted === true) settle('silent');
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
