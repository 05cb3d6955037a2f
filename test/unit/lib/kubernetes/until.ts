import { PATIENCE } from '../../../support/patience.ts';

const GIVE_UP_MS = 20_000 * PATIENCE;

/** Waits for something to become true, and fails rather than keep the test process alive for ever. */
export async function until(probe: () => boolean | Promise<boolean>): Promise<void> {
  const giveUp = Date.now() + GIVE_UP_MS;
  while (!(await probe())) {
    if (Date.now() > giveUp) throw new Error(`it did not come true: ${probe.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
