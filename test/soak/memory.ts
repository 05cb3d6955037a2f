import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { ask, type Endpoint } from '../../cli/local/http.ts';
import type { ProcessMemory } from '../../lib/memory.ts';

/** To collect all garbage takes a while, on a busy machine the more. */
const ANSWER_MS = 30_000;

/** One measurement after a forced collection, in bytes: heap and external memory of all threads together. */
export interface Held {
  readonly heap: number;
  readonly external: number;
  readonly rss: number;
  readonly descriptors: number;
  /** Heap by thread, for people. */
  readonly heaps: Readonly<Record<string, number>>;
}

/** Collects all garbage of a program and measures it; the least of a few tries, since something may just be under way. */
export async function held(admin: Endpoint, tries = 3): Promise<Held> {
  const all: Omit<Held, 'heaps'>[] = [];
  let heaps: Record<string, number> = {};
  for (let i = 0; i < tries; i += 1) {
    const { body } = await ask(admin, '/memory/collect', 'POST', ANSWER_MS);
    const { rss, descriptors, threads } = JSON.parse(body) as ProcessMemory;
    const sum = (what: 'heapUsed' | 'external'): number =>
      Object.values(threads).reduce((total, thread) => total + thread[what], 0);
    heaps = Object.fromEntries(Object.entries(threads).map(([name, { heapUsed }]) => [name, heapUsed]));
    all.push({ heap: sum('heapUsed'), external: sum('external'), rss, descriptors });
    await sleep(1_000);
  }
  const least = (what: keyof (typeof all)[number]): number => Math.min(...all.map((each) => each[what]));
  return {
    heap: least('heap'),
    external: least('external'),
    rss: least('rss'),
    descriptors: least('descriptors'),
    heaps,
  };
}

/** The highest RSS that a process had since it started, in bytes. */
export function peakRss(pid: number): number {
  return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024;
}

/** A table of MB for people. */
export function heldText({ heap, external, rss, descriptors, heaps }: Held): string {
  const mb = (bytes: number): string => (bytes / 2 ** 20).toFixed(2);
  const each = Object.entries(heaps).map(([thread, used]) => `${thread} ${mb(used)}`);
  return `heap ${mb(heap)} (${each.join(', ')}) external ${mb(external)} rss ${mb(rss)} MB, ${descriptors} descriptors`;
}
