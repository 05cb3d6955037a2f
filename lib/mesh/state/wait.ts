/** A store that tells of its changes. */
export interface Changing {
  onChange(listener: () => void): () => void;
}

/**
 * Waits until the probe finds something: a workload, a policy. Asked at once and after each change of a store.
 *
 * @returns undefined when the time is over or the signal says stop
 */
export async function waitForState<T>(
  stores: readonly Changing[],
  probe: () => T | undefined,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<T | undefined> {
  const now = probe();
  if (now !== undefined || timeoutMs <= 0 || signal?.aborted) return now;
  const { promise, resolve } = Promise.withResolvers<T | undefined>();
  const giveUp = () => resolve(undefined);
  const look = () => {
    const found = probe();
    if (found !== undefined) resolve(found);
  };
  const stops = stores.map((store) => store.onChange(look));
  const timer = setTimeout(giveUp, timeoutMs);
  signal?.addEventListener('abort', giveUp, { once: true });
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', giveUp);
    for (const stop of stops) stop();
  }
}
