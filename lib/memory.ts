import { readdirSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { trimMalloc } from './linux/malloc-trim.ts';

/** What one thread's part of V8 holds, in bytes. `external` is outside of its heap, `arrayBuffers` a part of that. */
export interface ThreadMemory {
  readonly heapUsed: number;
  readonly heapTotal: number;
  readonly external: number;
  readonly arrayBuffers: number;
}

/** What a whole process holds. */
export interface ProcessMemory {
  readonly rss: number;
  readonly descriptors: number;
  /** By name of the thread; `main` is the main one. */
  readonly threads: Readonly<Record<string, ThreadMemory>>;
}

/** Rounds of a forced collection: what a finalizer lets go of is collected by the next. */
const ROUNDS = 3;

/**
 * Measures the calling thread.
 *
 * @param collect first collect all garbage, which stops the thread for as long as that takes
 */
export async function threadMemory(collect: boolean): Promise<ThreadMemory> {
  if (collect) {
    for (let round = 0; round < ROUNDS; round += 1) {
      collectGarbage();
      await turn();
    }
    // What the C library keeps is no use of ours either.
    trimMalloc();
  }
  const { heapUsed, heapTotal, external, arrayBuffers } = process.memoryUsage();
  return { heapUsed, heapTotal, external, arrayBuffers };
}

/** @param threads as each measured itself */
export function processMemory(threads: Readonly<Record<string, ThreadMemory>>): ProcessMemory {
  return {
    rss: process.memoryUsage.rss(),
    // The folder is open itself while it is read.
    descriptors: readdirSync('/proc/self/fd').length - 1,
    threads,
  };
}

let gc: (() => void) | undefined;

/** Collects the garbage of the calling thread, which it stops. Needs no flag, which would give that to all code. */
export function collectGarbage(): void {
  gc ??= collector();
  gc();
}

function collector(): () => void {
  setFlagsFromString('--expose-gc');
  try {
    return runInNewContext('gc') as () => void;
  } finally {
    setFlagsFromString('--no-expose-gc');
  }
}
