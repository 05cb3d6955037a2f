import { performance } from 'node:perf_hooks';
import { SYSTEM_CLOCK, type Clock } from '../../lib/mesh/identity/clock.ts';

/** Milliseconds on a clock that only goes forward; its zero means nothing. */
export type Now = () => number;

/** 0 ≤ x < 1, evenly spread. */
export type Random = () => number;

/** Never set back and never set forward: durations must not jump when somebody corrects the machine's time. */
export const MONOTONIC_NOW: Now = () => performance.now();

/** Milliseconds since the epoch, for what other machines read too: dates in headers, session tokens. */
export const WALL_NOW: Now = () => Date.now();

/** Timers beside the monotonic time. */
export const MONOTONIC_CLOCK: Clock = { now: MONOTONIC_NOW, after: (ms, run) => SYSTEM_CLOCK.after(ms, run) };
