import { registerHooks } from 'node:module';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { packageRoot } from '../../../lib/package-root.ts';
import { COUNTERS, instrument } from './instrument.ts';

/** More branches than all that one target loads. */
const MAX_COUNTERS = 1 << 16;
/** What is worth looking into; generated code and tests are not. */
const FOLDER = /^(?:dist\/)?(?:agent|controller|lib|waypoint|ztunnel|test\/fuzz\/fixtures)\//;

/** Counters of what runs, for modules that are loaded after it was made. One for each process. */
export class Coverage {
  /** Hits of each branch since they were last cleared, modulo 256. */
  readonly counters = new Uint8Array(MAX_COUNTERS);
  readonly literals = new Set<string>();
  #used = 0;

  constructor() {
    Object.assign(globalThis, { [COUNTERS]: this.counters });
    const root = packageRoot();
    registerHooks({
      load: (url, context, next) => {
        const loaded = next(url, context);
        if (!url.startsWith('file:')) return loaded;
        const path = fileURLToPath(url);
        if (!FOLDER.test(relative(root, path)) || !loaded.format?.startsWith('module')) return loaded;
        const text = Buffer.from(loaded.source as Uint8Array).toString();
        const { code, counters, literals } = instrument(path, text, this.#used);
        this.#used += counters;
        if (this.#used > MAX_COUNTERS) throw new Error(`more than ${MAX_COUNTERS} branches are loaded`);
        for (const literal of literals) this.literals.add(literal);
        return { format: 'module', source: code, shortCircuit: true };
      },
    });
  }

  /** Branches in all modules loaded so far. */
  get branches(): number {
    return this.#used;
  }

  clear(): void {
    this.counters.fill(0, 0, this.#used);
  }
}
