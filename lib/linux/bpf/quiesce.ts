/** Waiting until every program run that began earlier is over. */
import { sys } from '../libc.ts';

/** __NR_membarrier; MEMBARRIER_CMD_GLOBAL is a synchronize_rcu(), and every program runs within an RCU read section. */
const NR_MEMBARRIER = process.arch === 'arm64' ? 283 : 324;
const MEMBARRIER_CMD_GLOBAL = 1;
/** Where the kernel refuses it (nohz_full): program runs take microseconds. */
const FALLBACK_MS = 20;

/** Returns when no program still works with what it read from a map before this call. Takes some milliseconds. */
export function waitForPrograms(): void {
  if (sys.syscall(NR_MEMBARRIER, MEMBARRIER_CMD_GLOBAL, 0, 0) === 0) return;
  pause(FALLBACK_MS);
}

/** Blocks the thread. @param ms milliseconds */
export function pause(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}
