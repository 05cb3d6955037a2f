import type http2 from 'node:http2';

// Sizes and times of HBONE sessions (ambient-facts C2). The connection's window is larger than a stream's: with equal
// values one stalled stream would stop all others.
export const STREAM_WINDOW_BYTES = 4 * 1024 * 1024;
export const CONNECTION_WINDOW_BYTES = 16 * 1024 * 1024;
const MAX_FRAME_BYTES = 1024 * 1024;
const CLIENT_HEADER_LIST_BYTES = 16 * 1024;
const SERVER_HEADER_LIST_BYTES = 64 * 1024;
const SERVER_MAX_STREAMS = 200;
const PING_TIMES = { intervalMs: 10_000, timeoutMs: 20_000 };

/**
 * Above the connection's window, since nghttp2 counts what is queued for slow readers; new streams are refused beyond
 * it, which bounds what one peer can make us hold.
 */
const MAX_SESSION_MEMORY_MB = 256;

/**
 * A tunnel carries the connections of many clients, and each that is reset is a RST_STREAM: nghttp2's own budget (1,000,
 * then 33 a second, then GOAWAY) would let one busy client cut all others off. Still bounded against floods of resets: 20,000 at once
 * took the worker 3 s and 400 MB.
 */
const STREAM_RESET_BURST = 4_000;
const STREAM_RESET_RATE_PER_S = 2_000;

export const CLIENT_SESSION_OPTIONS = {
  maxSessionMemory: MAX_SESSION_MEMORY_MB,
  peerMaxConcurrentStreams: 100,
  maxReservedRemoteStreams: 0,
  settings: {
    enablePush: false,
    initialWindowSize: STREAM_WINDOW_BYTES,
    maxFrameSize: MAX_FRAME_BYTES,
    maxHeaderListSize: CLIENT_HEADER_LIST_BYTES,
  },
} satisfies http2.ClientSessionOptions;

export const SERVER_SESSION_OPTIONS = {
  maxSessionMemory: MAX_SESSION_MEMORY_MB,
  maxHeaderListPairs: 64,
  streamResetBurst: STREAM_RESET_BURST,
  streamResetRate: STREAM_RESET_RATE_PER_S,
  settings: {
    initialWindowSize: STREAM_WINDOW_BYTES,
    maxFrameSize: MAX_FRAME_BYTES,
    maxHeaderListSize: SERVER_HEADER_LIST_BYTES,
    maxConcurrentStreams: SERVER_MAX_STREAMS,
  },
} satisfies http2.ServerSessionOptions;

/**
 * Sends a PING every 10 s and calls `onDead` once when one stays unanswered for 20 s: a peer that vanished without a
 * FIN, or one that holds a connection open and does not read, is not kept. A process that was stopped itself (SIGSTOP, a
 * paused machine) has not read the answer either: it waits anew.
 *
 * @returns stops it
 */
export function keepSessionAlive(
  session: http2.Http2Session,
  onDead: () => void,
  times = PING_TIMES,
): () => void {
  let waitingSince: number | undefined;
  let lookedAt = performance.now();
  const timer = setInterval(() => {
    if (session.destroyed) {
      // Node may destroy a session without an event, when its socket fails.
      clearInterval(timer);
      onDead();
      return;
    }
    const now = performance.now();
    const stoodStill = now - lookedAt >= times.timeoutMs;
    lookedAt = now;
    if (waitingSince !== undefined && stoodStill) waitingSince = now;
    if (waitingSince !== undefined) {
      if (now - waitingSince >= times.timeoutMs) {
        clearInterval(timer);
        onDead();
      }
      return;
    }
    // Node sends no PING once close() was called; whoever waits for last streams must not call it before they end.
    if (session.closed) return;
    const sent = session.ping((error: Error | null) => {
      if (error === null) waitingSince = undefined;
    });
    if (sent) waitingSince = performance.now();
  }, times.intervalMs);
  timer.unref();
  session.once('close', () => clearInterval(timer));
  return () => clearInterval(timer);
}
