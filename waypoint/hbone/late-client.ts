import type { Duplex } from 'node:stream';
import { detectProtocol } from '../http/detect.ts';

/** For so long a client may still begin to speak HTTP after its connection could not be made as an opaque one. */
const LATE_MS = 5_000;
/** A server that is not needed after all may take so long to close its side. */
const LINGER_MS = 1_000;

/** Of an HTTP/2 server, which may send them before the client has said anything (RFC 9113 section 3.4). */
const SETTINGS_TYPE = 4;
const SETTING_BYTES = 6;
/** Far more than all that are defined: what is longer is something else. */
const MOST_SETTINGS_BYTES = 0x1ff;
const FRAME_HEAD_BYTES = 9;
const MOST_HEARD_BYTES = 16 * 1024;

/**
 * Decides about a client that said nothing within the time for its first bytes: one that begins late (a connection opened
 * ahead of its first request, a busy machine) is read after all, so that its routes and policies act; one that waits for
 * the server to speak first gets what the server says, unread. The first words of an HTTP/2 server are not what anybody waits for: they
 * would else let each late client pass by all that is for requests.
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

/**
 * Calls back when there is something to read of a stream that HTTP/2 does not begin with, or its end; nothing is taken
 * from it.
 */
function onceSpeaking(stream: Duplex, onSpeech: () => void): () => void {
  let seen: Buffer = Buffer.alloc(0);
  const onReadable = (): void => {
    // Readable without a byte: its end.
    const chunk = stream.readableLength === 0 ? null : (stream.read() as Buffer | null);
    if (chunk !== null) seen = Buffer.concat([seen, chunk]);
    if (chunk === null || !beginsHttp2(seen)) onSpeech();
    // It waits for its client now; what it says all the same stays where its window bounds it.
    else if (seen.length > MOST_HEARD_BYTES) stream.off('readable', onReadable);
  };
  stream.on('readable', onReadable);
  stream.once('close', onSpeech);
  if (stream.destroyed) onSpeech();
  return () => {
    stream.off('readable', onReadable);
    stream.off('close', onSpeech);
    stream.pause();
    if (seen.length > 0 && !stream.destroyed) stream.unshift(seen);
  };
}

/** Whether these are the first bytes of an HTTP/2 server, or may become them: a SETTINGS frame that acknowledges nothing. */
function beginsHttp2(seen: Buffer): boolean {
  const head = [...seen.subarray(0, FRAME_HEAD_BYTES)];
  const [high = 0, middle = 0, low, type = SETTINGS_TYPE, ...flagsAndStream] = head;
  return (
    high === 0 &&
    middle <= MOST_SETTINGS_BYTES >> 8 &&
    (low === undefined || ((middle << 8) | low) % SETTING_BYTES === 0) &&
    type === SETTINGS_TYPE &&
    flagsAndStream.every((byte) => byte === 0)
  );
}

/** Ends a connection on which nothing was said, as a client does that changed its mind: no reset. */
function leave(stream: Duplex): void {
  stream.on('error', () => undefined);
  stream.resume();
  stream.end();
  const timer = setTimeout(() => stream.destroy(), LINGER_MS);
  stream.once('close', () => clearTimeout(timer));
}
