import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { errorText } from '../../lib/loam-error.ts';
import { JwksError } from './jwks.ts';

export type Fetch = typeof globalThis.fetch;

/** Key sets are a few kilobytes. */
export const MAX_JWKS_BYTES = 1 << 20;

/** A loaded text. `version` is equal only when nothing has changed since; undefined: it cannot be told. */
export interface Loaded {
  readonly text: string;
  readonly version?: string;
}

/**
 * Fetches a key set. Redirects are not followed: the keys come from where the policy says, or not at all.
 *
 * @throws JwksError JWKS_FETCH, JWKS_TOO_LARGE
 */
export async function fetchJwks(
  uri: string,
  options: { readonly fetch: Fetch; readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<Loaded> {
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(options.timeoutMs)]);
  try {
    const response = await options.fetch(uri, {
      redirect: 'manual',
      credentials: 'omit',
      headers: { accept: 'application/json' },
      signal,
    });
    if (response.status !== 200) {
      await response.body?.cancel();
      throw new JwksError('JWKS_FETCH', `${uri} answered ${response.status} and not 200`);
    }
    return { text: await readBounded(response, uri) };
  } catch (error) {
    if (error instanceof JwksError) throw error;
    const late = options.signal.aborted ? 'given up' : `not within ${options.timeoutMs} ms`;
    const why = signal.aborted ? late : errorText(error);
    throw new JwksError('JWKS_FETCH', `${uri} could not be fetched: ${why}`, { cause: error });
  }
}

async function readBounded(response: Response, uri: string): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  const body: AsyncIterable<Uint8Array> | null = response.body;
  if (body === null) return '';
  for await (const chunk of body) {
    bytes += chunk.byteLength;
    // Leaving the loop cancels the body, and so ends the connection.
    if (bytes > MAX_JWKS_BYTES) throw tooLarge(uri);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/**
 * Reads a key set from a `file://` URI, unless it still is the version given.
 *
 * @returns undefined when it has not changed
 * @throws JwksError JWKS_FETCH, JWKS_TOO_LARGE
 */
export async function readJwksFile(uri: string, known: string | undefined): Promise<Loaded | undefined> {
  try {
    // Not blocking: opening a FIFO would otherwise hold a thread of the file system's pool for ever.
    const file = await open(fileURLToPath(uri), constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const stat = await file.stat({ bigint: true });
      if (!stat.isFile()) throw new JwksError('JWKS_FETCH', `${uri} is not a file`);
      const version = `${stat.dev}:${stat.ino}:${stat.size}:${stat.mtimeNs}`;
      if (version === known) return undefined;
      const buffer = Buffer.alloc(MAX_JWKS_BYTES + 1);
      let length = 0;
      for (;;) {
        const { bytesRead } = await file.read(buffer, length, buffer.length - length);
        length += bytesRead;
        if (length > MAX_JWKS_BYTES) throw tooLarge(uri);
        if (bytesRead === 0) return { text: buffer.toString('utf8', 0, length), version };
      }
    } finally {
      await file.close();
    }
  } catch (error) {
    if (error instanceof JwksError) throw error;
    throw new JwksError('JWKS_FETCH', `${uri} could not be read: ${errorText(error)}`, { cause: error });
  }
}

function tooLarge(uri: string): JwksError {
  return new JwksError('JWKS_TOO_LARGE', `${uri} has more than ${MAX_JWKS_BYTES} bytes`);
}
