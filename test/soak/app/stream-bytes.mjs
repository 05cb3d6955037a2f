// Byte streams whose every byte is known: what a stream of a seed has at an offset, at what pace it is written and read.
import { Buffer } from 'node:buffer';
import { setTimeout } from 'node:timers';

const POOL_BYTES = 1 << 20;
const POOL = Buffer.alloc(POOL_BYTES);
for (let i = 0, state = 0x9e3779b9; i < POOL_BYTES; i += 4) {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  POOL.writeInt32LE(state, i);
}

/** Bytes of the stream of a seed from an offset, at most `length`: never past the pool's end. */
export function bytesAt(seed, offset, length) {
  const from = (seed * 7919 + offset) % POOL_BYTES;
  return POOL.subarray(from, Math.min(from + length, POOL_BYTES));
}

/** Compares what arrives with what must, and tells how it ended. */
export class Check {
  constructor(seed, total) {
    this.seed = seed;
    this.total = total;
    this.received = 0;
    this.problem = undefined;
    this.abandoned = false;
  }

  /** The reader itself gave the stream up: what its own library makes of that says nothing about the sender. */
  abandon() {
    this.abandoned = true;
  }

  take(chunk) {
    for (let at = 0; at < chunk.length;) {
      const want = bytesAt(this.seed, this.received, chunk.length - at);
      if (this.received + want.length > this.total) {
        this.problem ??= `more than the ${this.total} bytes that were sent`;
        return;
      }
      if (!chunk.subarray(at, at + want.length).equals(want)) {
        this.problem ??= `wrong bytes at ${this.received} of ${this.total}`;
        return;
      }
      at += want.length;
      this.received += want.length;
    }
  }

  /** The stream ended in good order. */
  end() {
    if (this.received < this.total && !this.abandoned)
      this.problem ??= `ended in good order after ${this.received} of ${this.total} bytes`;
  }
}

/** Resets an HTTP/2 stream without the END_STREAM that Node's own close() would send first. */
export function resetHttp2(stream, code) {
  if (!stream.writableEnded) stream._final = (done) => done();
  stream.close(code);
}

/**
 * Writes a stream to its end, or resets it in its middle.
 *
 * @param pace `{ chunk, waitMs }`: bytes of a write, and the time between two
 * @param resetAt after so many bytes `reset` is called and nothing more is written
 * @param mayEnd called when all is written, with what ends the stream; it does so at once where it is not given
 */
export function send(stream, { seed, total, pace, resetAt, reset, mayEnd = (end) => end() }) {
  let sent = 0;
  const next = () => {
    if (stream.destroyed || stream.writableEnded) return;
    if (resetAt !== undefined && sent >= resetAt) return void reset();
    if (sent >= total) return void mayEnd(() => stream.end());
    const most = Math.min(pace.chunk, (resetAt ?? total) - sent);
    const chunk = bytesAt(seed, sent, most);
    sent += chunk.length;
    const more = stream.write(chunk);
    // At once: a peer that was told the length is satisfied by the last byte.
    if (sent >= total && resetAt === undefined) return void mayEnd(() => stream.end());
    if (!more) stream.once('drain', pause);
    else pause();
  };
  const pause = () => {
    if (pace.waitMs > 0) setTimeout(next, pace.waitMs);
    else globalThis.setImmediate(next);
  };
  next();
}

/**
 * Reads a stream into a check at a pace.
 *
 * @param pace `{ every, waitMs, firstMs }`: stops for a time after so many bytes; and reads nothing for a time first
 * @param whoEnds `close` where `end` says nothing by itself: an HTTP/2 stream of Node has one also when it is reset
 */
export function receive(stream, check, { every, waitMs, firstMs }, whoEnds = 'end') {
  let since = 0;
  if (firstMs > 0) {
    stream.pause();
    setTimeout(() => stream.resume(), firstMs);
  }
  stream.on('data', (chunk) => {
    check.take(chunk);
    since += chunk.length;
    if (waitMs === 0 || since < every) return;
    since = 0;
    stream.pause();
    setTimeout(() => stream.resume(), waitMs);
  });
  if (whoEnds === 'end') stream.on('end', () => check.end());
}
