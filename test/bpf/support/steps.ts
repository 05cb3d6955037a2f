/** Stands between a process and what it changes in the kernel: each change is a step, before which something happens. */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { libbpf } from '../../../lib/linux/bpf/libbpf.ts';

/** The calls that change something. A look-up or a loaded program changes nothing that stays. */
const CHANGES = ['pin', 'update', 'remove', 'linkCreate', 'linkUpdate', 'linkDetach', 'tcAttach'] as const;

/**
 * Runs something, and calls before each of its steps.
 *
 * @param before gets the number of the step, from 1, and its name; what it throws the step throws
 * @returns the names of all steps
 */
export function inSteps(work: () => void, before: (step: number, name: string) => void): string[] {
  const names: string[] = [];
  let inside = false;
  const step = (name: string): void => {
    // What happens before a step may itself change something.
    if (inside) return;
    inside = true;
    names.push(name);
    try {
      before(names.length, name);
    } finally {
      inside = false;
    }
  };
  const lib = libbpf() as unknown as Record<string, (...args: unknown[]) => unknown>;
  const calls = new Map(CHANGES.map((name) => [name, lib[name]]));
  const unlinkSync = fs.unlinkSync;
  for (const [name, call] of calls) {
    lib[name] = (...args) => {
      step(name);
      return call?.(...args);
    };
  }
  fs.unlinkSync = (path) => {
    step('unlink');
    unlinkSync(path);
  };
  syncBuiltinESMExports();
  try {
    work();
  } finally {
    for (const [name, call] of calls) if (call !== undefined) lib[name] = call;
    fs.unlinkSync = unlinkSync;
    syncBuiltinESMExports();
  }
  return names;
}
