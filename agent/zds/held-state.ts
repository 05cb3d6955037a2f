import { closeQuietly } from '../../lib/linux/libc.ts';
import { sealedSize } from '../../lib/linux/memfd.ts';
import { AgentError } from '../agent-error.ts';
import type { Clock } from '../clock.ts';

/** For thousands of pods and services; it counts as memory of the node. */
export const HELD_STATE_MAX_BYTES = 64 << 20;

/** What a proxy gets of it; the descriptor stays the holder's. */
export interface Held {
  readonly fd: number;
  /** For how long nobody has kept it up to date. */
  readonly ageMs: number;
}

/**
 * The last state of the ztunnel that serves, for the one after it (DESIGN §6): sealed memory that is kept open and never
 * read here. One at a time; gone with this process.
 */
export class HeldState {
  readonly #clock: Clock;
  #fd: number | undefined;
  #giver: object | undefined;
  #currentUntil = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Puts another state in the place of the former. Takes over the descriptor; undefined: none is held any more.
   *
   * @param giver keeps it up to date until {@link gone}
   * @throws AgentError ZDS_PROTOCOL when it is no sealed memory, or too large; the former then stays
   */
  put(giver: object, fd: number | undefined): void {
    if (fd !== undefined) {
      const size = sealedSize(fd);
      if (size === undefined || size > HELD_STATE_MAX_BYTES) {
        closeQuietly(fd);
        const is = size === undefined ? 'no sealed memory' : `${size} bytes`;
        throw new AgentError(
          'ZDS_PROTOCOL',
          `a state to hold is ${is}; allowed: ${HELD_STATE_MAX_BYTES} bytes`,
        );
      }
    }
    this.close();
    this.#fd = fd;
    this.#giver = giver;
  }

  /** The giver ended: from now on the state ages. */
  gone(giver: object): void {
    if (this.#giver !== giver) return;
    this.#giver = undefined;
    this.#currentUntil = this.#clock.now();
  }

  get current(): Held | undefined {
    if (this.#fd === undefined) return undefined;
    return { fd: this.#fd, ageMs: this.#giver === undefined ? this.#clock.now() - this.#currentUntil : 0 };
  }

  close(): void {
    if (this.#fd !== undefined) closeQuietly(this.#fd);
    this.#fd = undefined;
  }
}
