/** What had to be put back because somebody had taken it away from the kernel part: told, and counted. */
import type { Log } from './log.ts';

export class Repairs {
  readonly #log: Log;
  readonly #counts = new Map<string, number>();

  constructor(log: Log) {
    this.#log = log;
  }

  /** How often each thing was put back: a hook, a map, a part of a pod. */
  get counts(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#counts);
  }

  /**
   * @param what a hook or a map of the whole instance, or the part of a pod
   * @param where fields that say whose it is
   */
  note(what: string, where: Readonly<Record<string, string>>, message: string): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + 1);
    this.#log.error({ what, ...where }, message);
  }
}
