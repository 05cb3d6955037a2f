/** Who comes first: a connection that waits, then a pod that will have some, then renewal (ambient-facts C10). */
export type Priority = 'realtime' | 'warmup' | 'background';
const ORDER: readonly Priority[] = ['realtime', 'warmup', 'background'];

/** Tasks by key, started in order of priority, and first come first served within one, a bounded number at once. */
export class RequestQueue {
  readonly #waiting: Record<Priority, Map<string, () => Promise<void>>> = {
    realtime: new Map(),
    warmup: new Map(),
    background: new Map(),
  };
  readonly #limit: number;
  #running = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Adds a task, or moves the one of that key up; one that is queued already is never moved down. */
  add(key: string, priority: Priority, task: () => Promise<void>): void {
    const queued = this.priorityOf(key);
    if (queued !== undefined && ORDER.indexOf(queued) <= ORDER.indexOf(priority)) return;
    this.remove(key);
    this.#waiting[priority].set(key, task);
    this.#start();
  }

  /** Forgets a task that has not begun. */
  remove(key: string): void {
    for (const priority of ORDER) this.#waiting[priority].delete(key);
  }

  /** The priority of a task that waits; undefined when there is none. */
  priorityOf(key: string): Priority | undefined {
    return ORDER.find((priority) => this.#waiting[priority].has(key));
  }

  #start(): void {
    while (this.#running < this.#limit) {
      const queue = ORDER.map((priority) => this.#waiting[priority]).find((tasks) => tasks.size > 0);
      const [first] = queue ?? [];
      if (!first) return;
      const [key, task] = first;
      queue?.delete(key);
      this.#running++;
      void task().finally(() => {
        this.#running--;
        this.#start();
      });
    }
  }
}
