import type { Duplex } from 'node:stream';
import { detectProtocol } from '../http/detect.ts';

/** For so long a client may still begin to speak HTTP after its connection could not be made as an opaque one. */
const LATE_MS = 5_000;
/** A server that is not needed after all may take so long to close its side. */
const LINGER_MS = 1_000;

/**
 * Decides about a client that said nothing within the time for its first bytes: one that begins late (a connection opened
 * ahead of its first request, a busy machine) is read after all, so that its routes and policies act; one that waits for
 * the server to speak first gets what the server says, unread.
 *
 * @param server the connection that was made for the client meanwhile; undefined: it was refused or failed
 * @returns undefined: opaque
 */
export async function hearLate(
  client: Duplex,
  server: Duplex | undefined,
): Promise<'http1' | 'http2' | undefined> {
  const spoke = new AbortController();
  const stop = server && onceSpeaking(server, () => spoke.abort());
  const heard = await detectProtocol(client, {
    timeoutMs: server === undefined ? LATE_MS : undefined,
    signal: spoke.signal,
  });
  stop?.();
  if (heard === 'opaque' || heard === 'silent') return undefined;
  if (server !== undefined) leave(server);
  return heard;
}

/** Calls back when there is something to read of a stream, or its end; nothing is taken from it. */
function onceSpeaking(stream: Duplex, onSpeech: () => void): () => void {
  stream.once('readable', onSpeech);
  stream.once('close', onSpeech);
  if (stream.destroyed) onSpeech();
  return () => {
    stream.off('readable', onSpeech);
    stream.off('close', onSpeech);
    stream.pause();
  };
}

/** Ends a connection on which nothing was said, as a client does that changed its mind: no reset. */
function leave(stream: Duplex): void {
  stream.on('error', () => undefined);
  stream.resume();
  stream.end();
  const timer = setTimeout(() => stream.destroy(), LINGER_MS);
  stream.once('close', () => clearTimeout(timer));
}
