import type http2 from 'node:http2';
import type { StreamIntake } from './stream-intake.ts';

/** In so long, a peer takes no more than so long of the loop's time before it is noticed. */
const LOOK_MS = 100;

/**
 * Looks after header blocks that are read and thrown away. One of 16 kB can stand for 50 MB of fields (HPACK bomb): nghttp2 has to
 * read it to its end, half a millisecond, resets the stream, and tells nobody. A look costs a tenth of a microsecond.
 */
export class HeadWatch {
  readonly #intakes = new Map<http2.Http2Session, StreamIntake>();
  #timer: NodeJS.Timeout | undefined;

  /** Until the session closes. */
  add(session: http2.Http2Session, intake: StreamIntake): void {
    this.#intakes.set(session, intake);
    this.#timer ??= setInterval(() => this.look(), LOOK_MS).unref();
    session.once('close', () => this.#remove(session));
  }

  /** Sessions that are looked after. */
  get size(): number {
    return this.#intakes.size;
  }

  look(): void {
    for (const [session, intake] of this.#intakes) {
      // Node may destroy a session without an event, when its socket fails.
      if (session.destroyed) this.#remove(session);
      else intake.look(session.state.lastProcStreamID ?? 0, bytesRead(session));
    }
  }

  #remove(session: http2.Http2Session): void {
    this.#intakes.delete(session);
    if (this.#intakes.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}

/** Unknown, so 0, where HTTP/2 is spoken within a stream. */
function bytesRead({ socket }: http2.Http2Session): number {
  return (socket as Partial<typeof socket>).bytesRead ?? 0;
}
