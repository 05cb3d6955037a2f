import net from 'node:net';
import type { Duplex } from 'node:stream';
import { resetIfKilled } from './death-reset.ts';
import { isHttp2Stream, isPeerReset, onceEnded, resetStream } from './stream-reset.ts';

/** How much may wait in one direction before its source is paused. With the kernel's and HTTP/2's own buffers it bounds memory. */
export const RELAY_BUFFER_BYTES = 256 * 1024;
/** A connection of which one half is closed, and which moves no byte for so long, is abandoned (user-pains B7: leaked half-closed sockets). */
export const HALF_CLOSED_IDLE_MS = 5 * 60_000;

/**
 * How a relay ended. `side` names who ended it: `a` and `b` in the order in which they were given; `error` is set when
 * that was more than the peer's reset.
 */
export type RelayEnd =
  | { readonly kind: 'closed' }
  | { readonly kind: 'reset'; readonly side: 'a' | 'b'; readonly error?: Error }
  | { readonly kind: 'aborted'; readonly reason: string };

export interface RelayOptions {
  /** Called with the number of payload bytes, for each chunk that went from a to b. */
  readonly onForward?: (bytes: number) => void;
  /** The same from b to a. */
  readonly onBackward?: (bytes: number) => void;
  readonly halfClosedIdleMs?: number;
}

type Side = 'a' | 'b';

/**
 * Carries bytes both ways between two byte streams until both halves are closed. A clean end on one side (FIN,
 * END_STREAM) is passed on and the other direction goes on; a reset or an abort of one side resets the other; a slow
 * reader pauses the writer. Owns both streams from its construction on: when `done` settles, both are closed. What is cut
 * before its end is never passed on as ended, not even by the death of this process (docs/decisions/0102).
 */
export class Relay {
  /** Settles when both streams are closed; never rejects. */
  readonly done: Promise<RelayEnd>;
  readonly #a: Duplex;
  readonly #b: Duplex;
  readonly #options: RelayOptions;
  #end: RelayEnd | undefined;
  #open = 2;
  #resolve!: (end: RelayEnd) => void;
  #moved = 0;
  /** HTTP/2 streams that said `end` only because they were destroyed. */
  readonly #broken = new Set<Duplex>();
  #idleTimer: NodeJS.Timeout | undefined;

  constructor(a: Duplex, b: Duplex, options: RelayOptions = {}) {
    this.#a = a;
    this.#b = b;
    this.#options = options;
    this.done = new Promise((resolve) => (this.#resolve = resolve));
    for (const stream of [a, b]) if (stream instanceof net.Socket) resetIfKilled(stream);
    // Each side's listeners before any byte moves: an error without a listener would end the process.
    this.#watch('a', a, b);
    this.#watch('b', b, a);
    this.#pump(a, b, options.onForward);
    this.#pump(b, a, options.onBackward);
    // Sockets are accepted and adopted paused, which a data listener alone does not undo.
    a.resume();
    b.resume();
  }

  /** Bytes that lie here, in either direction, until they can go on. */
  get waitingBytes(): number {
    const [a, b] = [this.#a, this.#b];
    return a.readableLength + a.writableLength + b.readableLength + b.writableLength;
  }

  /** Resets both sides now. The first reason given is the one that `done` reports. */
  abort(reason: string): void {
    this.#end ??= { kind: 'aborted', reason };
    resetStream(this.#a);
    resetStream(this.#b);
  }

  #pump(from: Duplex, to: Duplex, count: ((bytes: number) => void) | undefined): void {
    // HTTP/2 hands out many small frames from one read of the connection. The first is written at once, for latency;
    // those that follow in the same turn of the event loop share one system call.
    const batch = isHttp2Stream(from) && !isHttp2Stream(to);
    let corked = false;
    const uncork = (): void => {
      corked = false;
      to.uncork();
    };
    from.on('data', (chunk: Buffer) => {
      this.#moved += chunk.length;
      count?.(chunk.length);
      if (to.destroyed || to.writableEnded) return;
      // `drain` comes only after a write() that answered false, so both are asked.
      if (!to.write(chunk) && to.writableLength >= RELAY_BUFFER_BYTES) from.pause();
      if (batch && !corked) {
        corked = true;
        to.cork();
        setImmediate(uncork);
      }
    });
    to.on('drain', () => from.resume());
    onceEnded(from, (early) => {
      if (early) this.#broken.add(from);
      else if (!isHttp2Stream(from)) this.#passEnd(from, to);
      // Node ends an HTTP/2 stream also just before it says that it was reset, which must not become a clean end.
      else setImmediate(() => this.#passEnd(from, to));
    });
    // Closed or ended before it was given to us: no event would tell.
    if (from.destroyed) queueMicrotask(() => resetStream(to));
    else if (from.readableEnded) queueMicrotask(() => this.#passEnd(from, to));
  }

  #passEnd(from: Duplex, to: Duplex): void {
    if (isHttp2Stream(from) && (from.rstCode ?? 0) !== 0) return;
    if (!to.destroyed) to.end();
    this.#startIdleTimer();
  }

  #watch(side: Side, stream: Duplex, other: Duplex): void {
    stream.on('error', (error: Error) => {
      this.#end ??= { kind: 'reset', side, ...(!isPeerReset(stream, error) && { error }) };
      resetStream(other);
    });
    const onClose = (): void => {
      this.#closed(side, stream, other);
    };
    if (stream.closed && stream.destroyed) queueMicrotask(onClose);
    else stream.once('close', onClose);
  }

  #closed(side: Side, stream: Duplex, other: Duplex): void {
    const clean =
      stream.readableEnded && !this.#broken.has(stream) && (!isHttp2Stream(stream) || stream.rstCode === 0);
    if (!clean) {
      this.#end ??= { kind: 'reset', side };
      resetStream(other);
    } else if (!stream.writableFinished) {
      // The peer took a clean leave in both directions at once: give the other side what is buffered, then tell it that
      // nobody listens any more.
      if (other.writableFinished) resetStream(other);
      else other.once('finish', () => resetStream(other));
    }
    if (--this.#open > 0) return;
    clearInterval(this.#idleTimer);
    this.#resolve(this.#end ?? { kind: 'closed' });
  }

  #startIdleTimer(): void {
    if (this.#idleTimer !== undefined || this.#open === 0) return;
    let seen = this.#moved;
    this.#idleTimer = setInterval(() => {
      if (this.#moved === seen) this.abort('half-closed and idle');
      seen = this.#moved;
    }, this.#options.halfClosedIdleMs ?? HALF_CLOSED_IDLE_MS);
    this.#idleTimer.unref();
  }
}
