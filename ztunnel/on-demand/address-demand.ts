/** What became of a question. */
export type Answer =
  /** The control plane has said what there is under that name; perhaps nothing. */
  | 'told'
  /** It did not in time. */
  | 'late'
  /** Nobody was asked: the pod asks for too much. */
  | 'too-many';

export interface DemandOptions {
  /** Asks the control plane for names, and to be told what becomes of them. */
  readonly ask: (names: readonly string[]) => void;
  /** Nobody needs to be told of these any more. */
  readonly forget: (names: readonly string[]) => void;
  /** Milliseconds that only go forward. */
  readonly now?: () => number;
}

interface Entry {
  told: boolean;
  /** There was nothing under that name when it was looked at last. */
  missing: boolean;
  usedMs: number;
  readonly waiting: Set<() => void>;
}

/** Of all pods; a controller takes twice as many of one node. */
const MAX_NAMES = 10_000;
/** What is not used for so long is forgotten: an address that leads to something, and one that leads nowhere. */
const IDLE_MS = 10 * 60_000;
const MISSING_IDLE_MS = 60_000;
/** Of one pod: new names at once, and per second from then on. */
const BURST = 500;
const PER_SECOND = 100;

/**
 * What this node's connections need to know of the mesh, one by one, where the node does not follow all of it. A name is asked
 * for once, however many connections wait for it, and is followed until nobody has used it for a while: what the control plane
 * said stays true meanwhile, that there is nothing too.
 */
export class AddressDemand {
  readonly #options: DemandOptions;
  readonly #now: () => number;
  readonly #entries = new Map<string, Entry>();
  readonly #budgets = new Map<string, { left: number; atMs: number }>();

  constructor(options: DemandOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Waits until it has been told what there is under a name. @param pod uid of the pod that needs it */
  async whenTold(pod: string, name: string, timeoutMs: number): Promise<Answer> {
    const entry = this.#entries.get(name) ?? this.#ask(pod, name);
    if (entry === undefined) return 'too-many';
    entry.usedMs = this.#now();
    if (entry.told) return 'told';
    const { promise, resolve } = Promise.withResolvers<Answer>();
    const told = (): void => resolve('told');
    entry.waiting.add(told);
    const timer = setTimeout(() => resolve('late'), timeoutMs);
    const answer = await promise;
    clearTimeout(timer);
    entry.waiting.delete(told);
    return answer;
  }

  /** A connection went by what is under this name; or found nothing there. */
  used(name: string, missing: boolean): void {
    const entry = this.#entries.get(name);
    if (entry === undefined) return;
    entry.usedMs = this.#now();
    entry.missing = missing;
  }

  /** The control plane has told of these names, and what it told is in force. Names that nobody asked for count for nothing. */
  told(names: readonly string[]): void {
    for (const name of names) {
      const entry = this.#entries.get(name);
      if (entry === undefined) continue;
      entry.told = true;
      for (const resolve of entry.waiting) resolve();
    }
  }

  /** These are in force from before, and followed already. */
  restored(names: readonly string[]): void {
    for (const name of names)
      this.#entries.set(name, { told: true, missing: false, usedMs: this.#now(), waiting: new Set() });
  }

  /** To be called now and then: forgets what nobody uses. */
  sweep(): void {
    const now = this.#now();
    const idle = [...this.#entries].filter(
      ([, { waiting, missing, usedMs }]) =>
        waiting.size === 0 && now - usedMs > (missing ? MISSING_IDLE_MS : IDLE_MS),
    );
    this.#drop(idle.map(([name]) => name));
    for (const [pod, { atMs }] of this.#budgets) if (now - atMs > IDLE_MS) this.#budgets.delete(pod);
  }

  #ask(pod: string, name: string): Entry | undefined {
    if (!this.#mayAsk(pod) || !this.#makeRoom()) return undefined;
    const entry: Entry = { told: false, missing: false, usedMs: this.#now(), waiting: new Set() };
    this.#entries.set(name, entry);
    this.#options.ask([name]);
    return entry;
  }

  /** A pod that dials every address there is must leave the control plane's time to the others. */
  #mayAsk(pod: string): boolean {
    const now = this.#now();
    const { left, atMs } = this.#budgets.get(pod) ?? { left: BURST, atMs: now };
    const has = Math.min(BURST, left + ((now - atMs) * PER_SECOND) / 1_000);
    this.#budgets.set(pod, { left: Math.max(0, has - 1), atMs: now });
    return has >= 1;
  }

  /** What leads nowhere makes room for what may lead somewhere. */
  #makeRoom(): boolean {
    if (this.#entries.size < MAX_NAMES) return true;
    for (const [name, { waiting, missing }] of this.#entries) {
      if (!missing || waiting.size > 0) continue;
      this.#drop([name]);
      return true;
    }
    return false;
  }

  #drop(names: readonly string[]): void {
    for (const name of names) this.#entries.delete(name);
    if (names.length > 0) this.#options.forget(names);
  }
}
