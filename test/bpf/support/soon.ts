import { PATIENCE } from '../../support/patience.ts';

const WITHIN_MS = 2_000;
const POLL_MS = 2;

/**
 * Whether something holds now or before long: what the kernel does of its own accord (a softirq that it put off, a
 * namespace that it takes down) is not done when a call returns. Asks at once, and waits only while it does not hold.
 *
 * @param withinMs on an ordinary machine
 */
export async function soon(holds: () => boolean, withinMs = WITHIN_MS): Promise<boolean> {
  for (const end = Date.now() + withinMs * PATIENCE; !holds();) {
    if (Date.now() > end) return false;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  return true;
}
