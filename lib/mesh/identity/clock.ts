/** Time as the certificate manager sees it; tests have their own. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Calls back after that many milliseconds, however many; returns how to prevent it. */
  after(ms: number, callback: () => void): () => void;
}

/** A clock that somebody may set while a timer runs. */
export interface WallClock extends Clock {
  /** Calls back when it is that time, also when the clock was set meanwhile; returns how to prevent it. */
  at(time: number, callback: () => void): () => void;
}

/** The longest wait that a Node timer takes; a longer one would fire at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** How late a clock that was set ahead may be noticed. */
const LOOK_INTERVAL_MS = 30_000;

/** The system's clock. Its timers do not keep the process alive. */
export const SYSTEM_CLOCK: WallClock = {
  now: () => Date.now(),
  after(ms, callback) {
    let timer: NodeJS.Timeout;
    const arm = (left: number) => {
      const step = Math.min(Math.max(left, 0), MAX_TIMER_MS);
      timer = setTimeout(() => (left > step ? arm(left - step) : callback()), step).unref();
    };
    arm(ms);
    return () => clearTimeout(timer);
  },
  at: (time, callback) => watchTime(SYSTEM_CLOCK, time, callback),
};

/** Timers go by a clock that is never set: the time is looked at from time to time. */
export function watchTime(clock: Clock, time: number, callback: () => void): () => void {
  let cancel: () => void;
  const look = (): void => {
    const left = time - clock.now();
    if (left <= 0) callback();
    else cancel = clock.after(Math.min(left, LOOK_INTERVAL_MS), look);
  };
  // Never within the call itself.
  cancel = clock.after(Math.min(Math.max(0, time - clock.now()), LOOK_INTERVAL_MS), look);
  return () => cancel();
}
