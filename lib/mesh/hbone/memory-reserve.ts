import { totalmem } from 'node:os';
import { getHeapStatistics } from 'node:v8';
import { CgroupMemoryReader } from '../../linux/cgroup-memory.ts';
import { trimMalloc } from '../../linux/malloc-trim.ts';
import { collectGarbage } from '../../memory.ts';
import type { Log } from '../log.ts';

/** From this share of a limit on no new connection is taken, until less than {@link LOW} is used. */
const HIGH = 0.85;
const LOW = 0.8;
const MB = 2 ** 20;
const LOOK_INTERVAL_MS = 100;
/** To collect garbage stops the thread, so it is not done again at once. */
const RECLAIM_INTERVAL_MS = 10_000;

/** One of the limits that end a process: of this thread's heap, of what the process may use, of its cgroup. */
export interface MemoryUse {
  readonly of: 'heap' | 'process' | 'cgroup';
  readonly used: number;
  readonly limit: number;
}

export interface MemoryReserveOptions {
  /** What the process may use, in bytes; 0: what the machine has. A limit of its cgroup holds as well. */
  readonly limit: number;
  /** Connections open now. While there are none, to refuse one would free nothing. */
  readonly open: () => number;
  /** Called when it begins to be touched, and when it is no more. */
  readonly onChange: (isTouched: boolean, tightest: MemoryUse) => void;
  /** For tests: how much is used, and how to use less. */
  readonly measure?: () => readonly MemoryUse[];
  readonly reclaim?: () => void;
  readonly now?: () => number;
}

/**
 * Keeps a process from being killed for want of memory, which would end all of its connections: before that, new ones are
 * refused, and those that are open have what is kept back (docs/decisions/0109).
 */
export class MemoryReserve {
  readonly #options: MemoryReserveOptions;
  readonly #measure: () => readonly MemoryUse[];
  readonly #now: () => number;
  #lookedAt = -Infinity;
  #reclaimedAt = -Infinity;
  #touched = false;
  #limit = Infinity;

  constructor(options: MemoryReserveOptions) {
    this.#options = options;
    this.#measure = options.measure ?? measureProcess(options.limit);
    this.#now = options.now ?? (() => performance.now());
  }

  /** Whether a new connection is one too many. Asked for each one; looks at most ten times a second. */
  get isTouched(): boolean {
    const now = this.#now();
    if (now - this.#lookedAt >= LOOK_INTERVAL_MS) {
      this.#lookedAt = now;
      this.#look(now);
    }
    return this.#touched && this.#options.open() > 0;
  }

  /** The limit, in bytes, of which least was left at the last look. */
  get nearestLimit(): number {
    return this.#limit;
  }

  #look(now: number): void {
    const bound = this.#touched ? LOW : HIGH;
    let tightest = tightestOf(this.#measure());
    if (tightest.used >= bound * tightest.limit && now - this.#reclaimedAt >= RECLAIM_INTERVAL_MS) {
      // Much of it may be garbage, or what the allocator keeps: nobody is refused for that.
      this.#reclaimedAt = now;
      (this.#options.reclaim ?? reclaimProcess)();
      tightest = tightestOf(this.#measure());
    }
    this.#limit = tightest.limit;
    const touched = tightest.used >= bound * tightest.limit;
    if (touched === this.#touched) return;
    this.#touched = touched;
    this.#options.onChange(touched, tightest);
  }
}

/** How a program tells people of it: one line when new connections begin to be refused, one when no more. */
export function tellMemory(log: Log, isTouched: boolean, { of, used, limit }: MemoryUse): void {
  const fields = { of, usedMb: Math.round(used / MB), limitMb: Math.round(limit / MB) };
  if (isTouched) log.error('new connections are refused: too little memory is left', fields);
  else log.info('new connections are taken again: there is memory', fields);
}

function tightestOf([first, ...others]: readonly MemoryUse[]): MemoryUse {
  if (first === undefined) throw new Error('at least one limit is measured');
  return others.reduce(
    (least, use) => (use.used / use.limit > least.used / least.limit ? use : least),
    first,
  );
}

function measureProcess(limit: number): () => readonly MemoryUse[] {
  const cgroup = new CgroupMemoryReader();
  const processLimit = limit > 0 ? Math.min(limit, totalmem()) : totalmem();
  return () => {
    const { used_heap_size: used, heap_size_limit: heapLimit } = getHeapStatistics();
    const group = cgroup.tightest();
    return [
      { of: 'heap', used, limit: heapLimit },
      { of: 'process', used: process.memoryUsage.rss(), limit: processLimit },
      ...(group === undefined ? [] : [{ of: 'cgroup' as const, ...group }]),
    ];
  };
}

function reclaimProcess(): void {
  collectGarbage();
  trimMalloc();
}
