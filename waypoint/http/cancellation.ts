/**
 * Tells that nobody waits for something any more. Every request has one or two, and few are ever told: so it is what an
 * AbortController is at a small part of the cost, and makes one only for what takes nothing but a signal.
 */
export class Cancellation {
  #cancelled = false;
  #listeners: Set<() => void> | undefined;
  #controller: AbortController | undefined;

  get cancelled(): boolean {
    return this.#cancelled;
  }

  /** The same for timers and the like. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#cancelled) this.#controller.abort();
    }
    return this.#controller.signal;
  }

  /** Calls back once, if it is told from now on. */
  onCancel(listener: () => void): void {
    (this.#listeners ??= new Set()).add(listener);
  }

  /** Takes back {@link onCancel}. */
  off(listener: () => void): void {
    this.#listeners?.delete(listener);
  }

  /** Further calls do nothing. */
  cancel(): void {
    if (this.#cancelled) return;
    this.#cancelled = true;
    const listeners = this.#listeners;
    this.#listeners = undefined;
    this.#controller?.abort();
    for (const listener of listeners ?? []) listener();
  }
}
