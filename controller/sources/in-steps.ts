import { setImmediate as turn } from 'node:timers/promises';

/** Work that can be interrupted: whoever runs it may let others have a turn wherever it yields. */
export type Steps<T> = Generator<void, T>;

/** How many of many things are looked at in one step. */
export const THINGS_A_STEP = 500;

/** Does it at once. */
export function atOnce<T>(steps: Steps<T>): T {
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
  }
}

/**
 * Does it with a turn for everything else after each step.
 *
 * @param isWanted asked before each step; when it is not any more, the rest is left
 * @returns undefined where it was not wanted to the end
 */
export async function inSteps<T>(steps: Steps<T>, isWanted: () => boolean): Promise<T | undefined> {
  while (isWanted()) {
    const { done, value } = steps.next();
    if (done === true) return value;
    await turn();
  }
  return undefined;
}
