import type http2 from 'node:http2';
import type { Turn } from './turn.ts';

/** So many are served as they come; whether more of the same turn still live, the next turn shows. */
const AT_ONCE = 16;

export interface IntakeOwner {
  /** One more stream was opened for nothing: may the peer do that? */
  isWasteAllowed(): boolean;
  /** It may not: the session must end. */
  refuse(): void;
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
  #later: { readonly stream: http2.ServerHttp2Stream; readonly serve: () => void }[] = [];
  #refused = false;

  /** @param mostOpen how many streams the session may have open at a time */
  constructor(turn: Turn, mostOpen: number, owner: IntakeOwner) {
    this.#turn = turn;
    this.#mostOpen = mostOpen;
    this.#owner = owner;
  }

  take(stream: http2.ServerHttp2Stream, serve: () => void): void {
    if (this.#refused) return;
    const { number } = this.#turn;
    this.#opened = this.#last === number ? this.#opened + 1 : 1;
    this.#last = number;
    if (this.#opened <= AT_ONCE) {
      serve();
      return;
    }
    if (this.#opened > this.#mostOpen && !this.#owner.isWasteAllowed()) {
      this.#refused = true;
      this.#later = [];
      this.#owner.refuse();
      return;
    }
    if (this.#later.length === 0) setImmediate(() => this.#serveLater());
    this.#later.push({ stream, serve });
  }

  #serveLater(): void {
    const streams = this.#later;
    this.#later = [];
    for (const { stream, serve } of streams) if (!stream.destroyed && !stream.closed) serve();
  }
}
