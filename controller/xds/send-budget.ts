/** So much of first states may be on its way to all clients together. */
const MAX_BYTES = 8 * 1024 * 1024;
/** A client that has not answered for so long keeps what it has, and no longer holds the others up. */
const HOLD_MS = 2_000;

/**
 * What is on its way to clients that begin. Each of them gets megabytes, and when a controller starts all come at once: what was
 * encoded for all of them would lie in memory together.
 */
export class SendBudget<Client> {
  readonly #held = new Map<Client, { bytes: number; readonly timer: NodeJS.Timeout }>();
  readonly #waiting = new Set<Client>();
  readonly #resume: (client: Client) => void;
  #bytes = 0;

  /** @param resume a client that had to wait may go on */
  constructor(resume: (client: Client) => void) {
    this.#resume = resume;
  }

  /** Whether a client that begins may be sent something now; otherwise it is told when it may. */
  mayBegin(client: Client): boolean {
    if (this.#bytes < MAX_BYTES) return true;
    this.#waiting.add(client);
    return false;
  }

  sent(client: Client, bytes: number): void {
    const held = this.#held.get(client);
    this.#bytes += bytes;
    if (held !== undefined) held.bytes += bytes;
    else this.#held.set(client, { bytes, timer: setTimeout(() => this.release(client), HOLD_MS).unref() });
  }

  /** A client answered, is late, or is gone. */
  release(client: Client): void {
    const held = this.#held.get(client);
    if (held === undefined) return;
    clearTimeout(held.timer);
    this.#held.delete(client);
    this.#bytes -= held.bytes;
    for (const next of this.#waiting) {
      if (this.#bytes >= MAX_BYTES) return;
      this.#waiting.delete(next);
      this.#resume(next);
    }
  }

  /** A client is gone. */
  forget(client: Client): void {
    this.#waiting.delete(client);
    this.release(client);
  }
}
