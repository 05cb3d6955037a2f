import type { Readable, Writable } from 'node:stream';
import { onceEnded } from '../../lib/mesh/hbone/stream-reset.ts';
import type { UpstreamAttempt } from './exchange.ts';
import type { Headers } from '../../lib/mesh/waypoint/request.ts';

/**
 * The body of a request on its way to one endpoint after another: what has been read is kept up to a bound, so that
 * another attempt can begin from the start. Never reads faster than the endpoint takes.
 */
export class RequestBody {
  readonly #source: Readable;
  readonly #trailers: () => Headers;
  readonly #limit: number;
  readonly #onBytes: (chunk: Buffer) => void;
  #kept: Buffer[] = [];
  #keptBytes = 0;
  #overflowed = false;
  #started = false;
  #ended = false;
  #committed = false;
  readonly #whole = Promise.withResolvers<boolean>();
  #attempt: UpstreamAttempt | undefined;
  #target: Writable | undefined;

  /** @param limit bytes that are kept for another attempt; a larger body can be sent once only */
  constructor(source: Readable, trailers: () => Headers, limit: number, onBytes: (chunk: Buffer) => void) {
    this.#source = source;
    this.#trailers = trailers;
    this.#limit = limit;
    this.#onBytes = onBytes;
  }

  /** Whether all of it can be sent from the start once more. */
  get replayable(): boolean {
    return !this.#overflowed;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** All of it, once it has ended; undefined when it was too large to keep or never ends. For copies to a mirror. */
  whole(): Promise<Buffer | undefined> {
    return this.#whole.promise.then((kept) => (kept ? Buffer.concat(this.#kept) : undefined));
  }

  /**
   * Sends it to an attempt, from the start; a former attempt gets no more. To be called again only while it is
   * {@link replayable}: else the attempt is aborted, since a body without its beginning must not look whole.
   */
  sendTo(attempt: UpstreamAttempt): void {
    if (this.#started && this.#overflowed) {
      attempt.abort();
      return;
    }
    this.#attempt = attempt;
    const target = (this.#target = attempt.body);
    if (target === undefined) return;
    target.on('error', () => undefined);
    target.on('drain', () => {
      if (this.#target === target) this.#source.resume();
    });
    target.once('close', () => {
      if (this.#target !== target) return;
      if (this.#committed || this.#overflowed) this.#source.resume();
      else this.#source.pause();
    });
    for (const chunk of this.#kept) target.write(chunk);
    if (this.#ended) attempt.endBody(this.#trailers());
    else if (!this.#started) this.#start();
    else if (!target.writableNeedDrain) this.#source.resume();
  }

  /** The attempt takes no more of it. What still comes waits for the next one, which must get it as a whole. */
  detach(): void {
    this.#attempt = undefined;
    this.#target = undefined;
    this.#source.pause();
  }

  /**
   * There will be no other attempt. An endpoint that answers may want no more of the body: the rest is then read and
   * dropped, since clients may read no response before they have sent it all.
   */
  commit(): void {
    this.#committed = true;
    if (this.#target?.closed === true || this.#target?.destroyed === true) this.#source.resume();
  }

  /** Reads and drops what still comes. */
  drain(): void {
    this.detach();
    this.#kept = [];
    this.#overflowed = true;
    this.#whole.resolve(false);
    this.#source.resume();
  }

  #start(): void {
    this.#started = true;
    this.#source.once('close', () => this.#whole.resolve(false));
    const end = (early = false): void => {
      // The attempt is given up by whoever hears that the client left.
      if (early) return;
      this.#ended = true;
      this.#whole.resolve(!this.#overflowed);
      this.#attempt?.endBody(this.#trailers());
    };
    // An HTTP/2 stream without a byte says `end` by itself, maybe before anybody listens.
    if (this.#source.readableEnded) {
      end();
      return;
    }
    this.#source.on('data', (chunk: Buffer) => this.#take(chunk));
    onceEnded(this.#source, end);
    this.#source.resume();
  }

  #take(chunk: Buffer): void {
    this.#onBytes(chunk);
    if (!this.#overflowed) {
      this.#keptBytes += chunk.length;
      if (this.#keptBytes > this.#limit) {
        this.#overflowed = true;
        this.#kept = [];
        this.#whole.resolve(false);
      } else this.#kept.push(chunk);
    }
    const target = this.#target;
    if (target === undefined || target.destroyed || target.writableEnded) return;
    if (!target.write(chunk)) this.#source.pause();
  }
}
