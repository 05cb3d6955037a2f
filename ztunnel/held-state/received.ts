import { closeQuietly } from '../../lib/linux/libc.ts';
import { readSealed } from '../../lib/linux/memfd.ts';
import { errorText, LoamError } from '../../lib/loam-error.ts';
import type { Log } from '../proxy/mesh.ts';
import {
  decodeHeldState,
  HELD_STATE_MAX_BYTES,
  HeldStateError,
  type HeldStateContent,
  type HeldStateOwner,
} from './format.ts';

/** An agent that runs answers within milliseconds; one that does not holds nothing. */
const WAIT_MS = 2_000;

export interface ReceivedOptions {
  readonly owner: HeldStateOwner;
  /** A state that nobody kept up to date for longer is refused. */
  readonly maxAgeMs: number;
  /** At once, when it may be used: before the agent sends the first pod. */
  use(content: HeldStateContent): void;
  readonly log: Log;
}

/** What the agent held for this ztunnel, if it comes at the beginning: later, the control plane has told its own. */
export class ReceivedState {
  readonly #options: ReceivedOptions;
  readonly #outcome = Promise.withResolvers<HeldStateContent | undefined>();
  #open = true;

  constructor(options: ReceivedOptions) {
    this.#options = options;
  }

  /** The agent's answer. Takes over the descriptor; undefined: it holds nothing. */
  take(fd: number | undefined, ageMs: number): void {
    if (fd === undefined) this.#settle(undefined);
    else if (!this.#open) closeQuietly(fd);
    else {
      const content = this.#read(fd, ageMs);
      if (content !== undefined) this.#options.use(content);
      this.#settle(content);
    }
  }

  /** @returns the state; undefined when there is none that may be used, which is logged */
  wait(): Promise<HeldStateContent | undefined> {
    setTimeout(() => this.#settle(undefined), WAIT_MS).unref();
    return this.#outcome.promise;
  }

  #settle(content: HeldStateContent | undefined): void {
    this.#open = false;
    this.#outcome.resolve(content);
  }

  #read(fd: number, ageMs: number): HeldStateContent | undefined {
    const { owner, maxAgeMs, log } = this.#options;
    try {
      if (ageMs > maxAgeMs) {
        const allowed = `allowed: ${maxAgeMs / 1000}`;
        throw new HeldStateError(
          'HELD_STATE_STALE',
          `nobody has kept it up to date for ${Math.round(ageMs / 1000)} seconds; ${allowed}`,
        );
      }
      const content = decodeHeldState(readSealed(fd, HELD_STATE_MAX_BYTES), owner);
      const resources = content.types.reduce((sum, type) => sum + type.resources.length, 0);
      log.info('held state: taken from the agent', {
        ...{ resources, certificates: content.certificates.length, ageMs },
      });
      return content;
    } catch (error) {
      const code = error instanceof LoamError ? String(error.code) : 'UNEXPECTED';
      log.warn('held state: refused', { code, error: errorText(error) });
      return undefined;
    } finally {
      closeQuietly(fd);
    }
  }
}
