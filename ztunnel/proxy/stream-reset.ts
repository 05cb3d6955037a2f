import http2 from 'node:http2';
import net from 'node:net';
import type { Duplex } from 'node:stream';

/** True for either end of an HTTP/2 stream. */
export function isHttp2Stream(stream: Duplex): stream is http2.Http2Stream {
  return 'rstCode' in stream;
}

/**
 * Ends a byte stream the hard way, so that the other side sees an error and never a clean end: a TCP socket sends RST,
 * an HTTP/2 stream RST_STREAM with CONNECT_ERROR (RFC 9113 section 8.5: each stands for the other in a CONNECT tunnel).
 * Safe on a stream in any state.
 */
export function resetStream(stream: Duplex): void {
  if (stream.destroyed) return;
  if (isHttp2Stream(stream)) {
    stream.close(http2.constants.NGHTTP2_CONNECT_ERROR);
    // Not opened yet, or already closed by the peer with data unread: nothing on the wire would end it.
    if (stream.pending || stream.closed) setImmediate(() => stream.destroy());
  } else if (stream instanceof net.Socket && !stream.connecting) {
    stream.resetAndDestroy();
  } else {
    stream.destroy();
  }
}

const CLEAN_ERRORS = new Set(['ECONNRESET', 'EPIPE', 'ENOTCONN', 'ERR_STREAM_PREMATURE_CLOSE']);

/** True when an error only says that the peer went away, which for a relay is an ordinary way to end. */
export function isPeerReset(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  return code !== undefined && CLEAN_ERRORS.has(code);
}
