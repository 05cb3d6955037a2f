import { lookup as resolve } from 'node:dns';
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import http from 'node:http';
import https from 'node:https';
import { isIP, type LookupFunction } from 'node:net';
import { fileURLToPath } from 'node:url';
import { errorText } from '../../lib/loam-error.ts';
import { specialAddress } from '../../lib/mesh/special-address.ts';
import { JwksError } from './jwks.ts';

/** What is wrong with an address from which keys would come; undefined: nothing. */
export type AddressCheck = (ip: string) => string | undefined;

/** Key sets are a few kilobytes. */
export const MAX_JWKS_BYTES = 1 << 20;

/** A loaded text. `version` is equal only when nothing has changed since; undefined: it cannot be told. */
export interface Loaded {
  readonly text: string;
  readonly version?: string;
}

/**
 * Fetches a key set. Redirects are not followed: the keys come from where the policy says, or not at all. Whoever may write a
 * policy must not reach what only the waypoint can (decision 0117), so what a name stands for is looked at when it is dialled.
 *
 * @throws JwksError JWKS_FETCH, JWKS_TOO_LARGE
 */
export async function fetchJwks(
  uri: string,
  options: { readonly check?: AddressCheck; readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<Loaded> {
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(options.timeoutMs)]);
  try {
    const response = await get(new URL(uri), options.check ?? specialAddress, signal);
    try {
      if (response.statusCode !== 200)
        throw new JwksError('JWKS_FETCH', `${uri} answered ${response.statusCode} and not 200`);
      return { text: await readBounded(response, uri) };
    } finally {
      response.destroy();
    }
  } catch (error) {
    if (error instanceof JwksError) throw error;
    const late = options.signal.aborted ? 'given up' : `not within ${options.timeoutMs} ms`;
    const why = signal.aborted ? late : errorText(error);
    throw new JwksError('JWKS_FETCH', `${uri} could not be fetched: ${why}`, { cause: error });
  }
}

function get(url: URL, check: AddressCheck, signal: AbortSignal): Promise<http.IncomingMessage> {
  const { request } = url.protocol === 'https:' ? https : http;
  const literal = url.hostname.replace(/^\[|\]$/g, '');
  return new Promise((done, fail) => {
    // An address is dialled without being looked up.
    if (isIP(literal) !== 0) refuse(literal, check);
    const sent = request(url, {
      signal,
      lookup: checkedLookup(check),
      // A connection of its own, so that each fetch looks the name up.
      agent: false,
      headers: { accept: 'application/json' },
    });
    sent.once('response', done);
    sent.on('error', fail);
    sent.end();
  });
}

/** @throws Error when an address must not be dialled */
function refuse(ip: string, check: AddressCheck): void {
  const what = check(ip);
  if (what !== undefined) throw new Error(`${ip} is ${what}, where no keys are fetched`);
}

/** The same answer is looked at and dialled: a name that stands for something else a moment later is of no use. */
function checkedLookup(check: AddressCheck): LookupFunction {
  return (hostname, options, callback) => {
    resolve(hostname, { ...options, all: true }, (error, addresses) => {
      try {
        if (error !== null) throw error;
        for (const { address } of addresses) refuse(address, check);
        const [first] = addresses;
        if (options.all === true || first === undefined) callback(null, addresses);
        else callback(null, first.address, first.family);
      } catch (failure) {
        callback(failure as NodeJS.ErrnoException, []);
      }
    });
  };
}

async function readBounded(response: http.IncomingMessage, uri: string): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.byteLength;
    if (bytes > MAX_JWKS_BYTES) throw tooLarge(uri);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** Whether a `file://` URI names something below a folder. What a link there leads to is up to who made it. */
export function isWithin(folder: string, uri: string): boolean {
  try {
    return fileURLToPath(uri).startsWith(`${folder}/`);
  } catch {
    return false;
  }
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
