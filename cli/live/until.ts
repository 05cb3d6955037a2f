import { MeshError } from '../mesh/errors.ts';

/** Fires when the time is over, or when somebody ends the command. */
export function untilEnded(ms?: number): AbortSignal {
  const over = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => over.abort());
  if (ms !== undefined) setTimeout(() => over.abort(), ms).unref();
  return over.signal;
}

/** Waits for a signal, and keeps the process alive for it. */
export function whenAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const alive = setInterval(() => undefined, 60_000);
    signal.addEventListener('abort', () => {
      clearInterval(alive);
      resolve();
    });
  });
}

/** A flag's number of seconds, in ms. @throws MeshError MESH_INPUT */
export function secondsOf(flag: string, text: string, most = 86_400): number {
  const seconds = Number(text);
  if (Number.isFinite(seconds) && seconds > 0 && seconds <= most) return seconds * 1000;
  throw new MeshError(
    'MESH_INPUT',
    `${flag} ${JSON.stringify(text)} is not a number of seconds above 0, at most ${most}`,
  );
}

/** A flag's whole number from 1 on. @throws MeshError MESH_INPUT */
export function countOf(flag: string, text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count > 0) return count;
  throw new MeshError('MESH_INPUT', `${flag} ${JSON.stringify(text)} is not a whole number above 0`);
}
