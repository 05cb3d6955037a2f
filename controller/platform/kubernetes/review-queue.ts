import { AuthenticationUnavailable } from '../../auth/authenticator.ts';

/** Of reviews at once: the API server has others to serve. */
const MAX_RUNNING = 16;
/** Of tokens that wait for their review. */
const MAX_WAITING = 256;
/** Of reviews for one address that has proved nothing yet: a pod that makes tokens up takes no more places than these. */
const MAX_OF_STRANGER = 8;
/** Of calls that wait for reviews, of whatever tokens: each holds its request. */
const MAX_CALLS = 1024;

/**
 * Lets reviews run a few at a time, the calls with one token together. Whoever comes when there is no place is told to come
 * again: it must be possible to overload this, and impossible to make it hold more than it can.
 */
export class ReviewQueue<T> {
  readonly #running = new Map<string, Promise<T>>();
  readonly #ofStranger = new Map<string, number>();
  readonly #waiting: (() => void)[] = [];
  #places = MAX_RUNNING;
  #calls = 0;

  /**
   * @param key of the token
   * @param stranger the caller's address, where its token has proved nobody before
   * @throws AuthenticationUnavailable when there is no place; what `review` throws
   */
  async run(key: string, stranger: string | undefined, review: () => Promise<T>): Promise<T> {
    if (this.#calls >= MAX_CALLS)
      throw new AuthenticationUnavailable('too many calls wait for the API server');
    this.#calls += 1;
    try {
      return await (this.#running.get(key) ?? this.#begin(key, stranger, review));
    } finally {
      this.#calls -= 1;
    }
  }

  async #begin(key: string, stranger: string | undefined, review: () => Promise<T>): Promise<T> {
    const ofStranger = stranger === undefined ? 0 : (this.#ofStranger.get(stranger) ?? 0);
    if (this.#waiting.length >= MAX_WAITING || ofStranger >= MAX_OF_STRANGER)
      throw new AuthenticationUnavailable('too many tokens wait for the API server');
    if (stranger !== undefined) this.#ofStranger.set(stranger, ofStranger + 1);
    const done = this.#inTurn(review);
    this.#running.set(key, done);
    try {
      return await done;
    } finally {
      this.#running.delete(key);
      if (stranger !== undefined) {
        const left = (this.#ofStranger.get(stranger) ?? 1) - 1;
        if (left === 0) this.#ofStranger.delete(stranger);
        else this.#ofStranger.set(stranger, left);
      }
    }
  }

  async #inTurn(review: () => Promise<T>): Promise<T> {
    if (this.#places > 0) this.#places -= 1;
    // Whoever ends hands its place on.
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await review();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#places += 1;
      else next();
    }
  }
}
