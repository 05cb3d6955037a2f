/**
 * Whether the control plane's first state, workloads and policies, is in force as a whole. Before that, what is absent
 * may only not have arrived: a destination would look foreign and be dialled in plaintext, a namespace without its DENY
 * would look open.
 */
export class FirstState {
  readonly #listeners = new Set<() => void>();
  #complete = false;

  get complete(): boolean {
    return this.#complete;
  }

  /** The first state is in force; it stays so for good, also when the control plane is lost later. */
  setComplete(): void {
    if (this.#complete) return;
    this.#complete = true;
    for (const listener of [...this.#listeners]) listener();
  }

  /** Calls back when it becomes complete; returns how to stop that. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
