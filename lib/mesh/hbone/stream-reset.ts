import http2 from 'node:http2';
import net from 'node:net';
import type { Duplex, Readable } from 'node:stream';

/** True for either end of an HTTP/2 stream. */
export function isHttp2Stream(stream: Duplex): stream is http2.Http2Stream {
  return 'rstCode' in stream;
}

/**
 * Resets an HTTP/2 stream with RST_STREAM alone. Node's own `close()` ends the writable side first, with END_STREAM: whoever
 * reads that before the RST_STREAM takes a stream that was cut for a whole one (docs/decisions/0102).
 */
export function sendReset(stream: http2.Http2Stream, code: number): void {
  // What Node calls to send END_STREAM; one that was ended before has sent it already.
  if (!stream.writableEnded) stream._final = (done) => done();
  stream.close(code);
}

/** Ends a session with GOAWAY for this reason. Node takes an error that is undefined for reason 0. */
export function endSession(session: http2.Http2Session, code: number): void {
  session.destroy(null as unknown as undefined, code);
}

/**
 * Calls back when a stream says `end`, with whether only part of what was sent came. Node lets an HTTP/2 stream say `end` also
 * when it was reset, and when its session was destroyed; it is destroyed by then. After END_STREAM it is not yet, as the
 * first listener finds it: Node itself destroys it by another.
 */
export function onceEnded(stream: Readable, listener: (early: boolean) => void): void {
  stream.prependOnceListener('end', () => listener(isHttp2Stream(stream as Duplex) && stream.destroyed));
}

/**
 * Ends a byte stream the hard way, so that the other side sees an error and never a clean end: a TCP socket sends RST,
 * an HTTP/2 stream RST_STREAM with CONNECT_ERROR (RFC 9113 section 8.5: each stands for the other in a CONNECT tunnel).
 * Safe on a stream in any state.
 */
export function resetStream(stream: Duplex): void {
  if (stream.destroyed) return;
  if (isHttp2Stream(stream)) {
    sendReset(stream, http2.constants.NGHTTP2_CONNECT_ERROR);
    // Not opened yet, or already closed by the peer with data unread: nothing on the wire would end it.
    if (stream.pending || stream.closed) setImmediate(() => stream.destroy());
  } else if (stream instanceof net.Socket && !stream.connecting && !isShuttingDown(stream)) {
    stream.resetAndDestroy();
  } else {
    stream.destroy();
  }
}

/** Between end() and its FIN libuv refuses to reset a socket, and Node would then never close it. */
function isShuttingDown(socket: net.Socket): boolean {
  return socket.writableEnded && !socket.writableFinished;
}

const PEER_WENT_AWAY = new Set(['ECONNRESET', 'EPIPE', 'ENOTCONN', 'ERR_STREAM_PREMATURE_CLOSE']);
const RESET_CODES: ReadonlySet<number> = new Set([
  http2.constants.NGHTTP2_NO_ERROR,
  http2.constants.NGHTTP2_CANCEL,
  http2.constants.NGHTTP2_CONNECT_ERROR,
]);

/** True when an error of a stream only says that the peer reset it, which for a relay is an ordinary way to end. */
export function isPeerReset(stream: Duplex, error: Error): boolean {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ERR_HTTP2_STREAM_ERROR' && isHttp2Stream(stream)) return RESET_CODES.has(stream.rstCode ?? 0);
  return code !== undefined && PEER_WENT_AWAY.has(code);
}
