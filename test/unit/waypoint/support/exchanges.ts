import type { Exchange } from '../../../../waypoint/http/exchange.ts';
import type { Headers } from '../../../../lib/mesh/waypoint/request.ts';
import { HTTP_LIMITS, type HttpLimits } from '../../../../waypoint/http/limits.ts';

/** Hands exchanges out one by one, in the order in which they come. */
export class Exchanges {
  readonly all: Exchange[] = [];
  readonly #waiting: ((exchange: Exchange) => void)[] = [];
  #taken = 0;

  readonly handler = (exchange: Exchange): void => {
    this.all.push(exchange);
    if (this.#waiting.length > 0) this.#hand();
  };

  /** The next one that was not handed out yet. */
  next(): Promise<Exchange> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      if (this.all.length > this.#taken) this.#hand();
    });
  }

  #hand(): void {
    const exchange = this.all[this.#taken];
    if (exchange === undefined) return;
    this.#taken += 1;
    this.#waiting.shift()?.(exchange);
  }
}

export function headers(values: Record<string, string | string[]> = {}): Headers {
  return Object.assign(Object.create(null) as Headers, values);
}

/** The waypoint's limits, with others in place of some. */
export function limits(changes: Partial<HttpLimits> = {}): HttpLimits {
  return { ...HTTP_LIMITS, ...changes };
}
