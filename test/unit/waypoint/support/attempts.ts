import { Writable } from 'node:stream';
import type { UpstreamAttempt } from '../../../../waypoint/http/exchange.ts';
import type { Headers } from '../../../../lib/mesh/waypoint/request.ts';

/** An attempt that keeps what it is sent; it takes nothing while it is held. */
export class KeepingAttempt implements UpstreamAttempt {
  readonly body: Writable;
  readonly response = new Promise<never>(() => undefined);
  text = '';
  trailers: Headers | undefined;
  aborted = false;
  #held: (() => void) | undefined;
  #holds = false;

  constructor(highWaterMark = 4) {
    this.body = new Writable({
      highWaterMark,
      write: (chunk: Buffer, _encoding, callback) => {
        this.text += chunk.toString('latin1');
        if (this.#holds) this.#held = callback;
        else callback();
      },
    });
  }

  hold(): this {
    this.#holds = true;
    return this;
  }

  release(): void {
    this.#holds = false;
    this.#held?.();
  }

  endBody(trailers: Headers): void {
    this.trailers = trailers;
    this.body.end();
  }

  abort(): void {
    this.aborted = true;
    this.body.destroy();
  }

  complete(): void {
    if (!this.body.writableFinished) this.abort();
  }
}
