import http2 from 'node:http2';
import type { Turn } from './turn.ts';

/** So many are served as they come; whether more of the same turn still live, the next turn shows. */
const AT_ONCE = 16;

export interface IntakeOwner {
  /** One more stream was opened for nothing: may the peer do that? */
  isWasteAllowed(): boolean;
  /** So many header blocks were read and thrown away, within so many bytes of the connection: may the peer do that? */
  areBadHeadsAllowed(count: number, bytes: number): boolean;
  /** It may not: the session must end. */
  refuse(reason: 'too-many-resets' | 'too-many-bad-heads'): void;
}

/**
 * Takes in the streams of one session. One read of a connection brings up to two megabytes, which is room for 80,000 streams
 * that are opened and reset at once (rapid reset, CVE-2023-44487), all within one turn of the event loop, in which nobody else
 * is served. So all but the first of a turn are looked at in the next one, when those that were reset cost nothing more;
 * and more than the session may have at a time proves resets, for which the peer has a budget.
 */
export class StreamIntake {
  readonly #turn: Turn;
  readonly #mostOpen: number;
  readonly #owner: IntakeOwner;
  #last = -1;
  #opened = 0;
  /** Streams of the peer that came to somebody's eyes, and such as were counted as thrown away. */
  #seen = 0;
  /** Trailers that were thrown away and are not counted yet. */
  #badTrailers = 0;
  #bytesBefore = 0;
  #later: { readonly stream: http2.ServerHttp2Stream; readonly serve: () => void }[] = [];
  #refused = false;

  /** @param mostOpen how many streams the session may have open at a time */
  constructor(turn: Turn, mostOpen: number, owner: IntakeOwner) {
    this.#turn = turn;
    this.#mostOpen = mostOpen;
    this.#owner = owner;
  }

  take(stream: http2.ServerHttp2Stream, serve: () => void): void {
    this.#seen += 1;
    if (this.#refused) return;
    stream.once('close', () => {
      // So ends a stream whose trailers are beyond the limits.
      if (stream.rstCode === http2.constants.NGHTTP2_ENHANCE_YOUR_CALM) this.#badTrailers += 1;
    });
    const { number } = this.#turn;
    this.#opened = this.#last === number ? this.#opened + 1 : 1;
    this.#last = number;
    if (this.#opened <= AT_ONCE) {
      serve();
      return;
    }
    if (this.#opened > this.#mostOpen && !this.#owner.isWasteAllowed()) {
      this.#refuse('too-many-resets');
      return;
    }
    if (this.#later.length === 0) setImmediate(() => this.#serveLater());
    this.#later.push({ stream, serve });
  }

  /**
   * Counts heads that nghttp2 read to their end and threw away, since they were beyond the limits or broken; nothing else
   * tells of them. A client numbers its streams one by one, so what is missing are those.
   *
   * @param last the highest stream that the peer has opened
   * @param bytesRead of the connection since its beginning
   */
  look(last: number, bytesRead: number): void {
    const bytes = bytesRead - this.#bytesBefore;
    this.#bytesBefore = bytesRead;
    const opened = (last + 1) >> 1;
    const bad = Math.max(0, opened - this.#seen) + this.#badTrailers;
    if (bad === 0 || this.#refused) return;
    this.#seen = Math.max(this.#seen, opened);
    this.#badTrailers = 0;
    if (!this.#owner.areBadHeadsAllowed(bad, bytes)) this.#refuse('too-many-bad-heads');
  }

  #refuse(reason: 'too-many-resets' | 'too-many-bad-heads'): void {
    this.#refused = true;
    this.#later = [];
    this.#owner.refuse(reason);
  }

  #serveLater(): void {
    const streams = this.#later;
    this.#later = [];
    for (const { stream, serve } of streams) if (!stream.destroyed && !stream.closed) serve();
  }
}
