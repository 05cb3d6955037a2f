/** Time, so that tests can move it. */
export interface Clock {
  /** Milliseconds since the epoch, never going back. */
  now(): number;
  /** Calls `run` once after `delayMs`; disposing before that prevents it. Keeps no process alive. */
  after(delayMs: number, run: () => void): Disposable;
}

export const systemClock: Clock = {
  // Not Date.now(): were the machine's time set back by an hour, whatever waits for its turn would wait an hour more.
  now: () => performance.timeOrigin + performance.now(),
  after: (delayMs, run) => {
    const timer = setTimeout(run, delayMs).unref();
    return { [Symbol.dispose]: () => clearTimeout(timer) };
  },
};
