import { useEffect, useState } from 'preact/hooks';
import { ApiError, getJson } from '../api.ts';
import { hasHistory } from '../state.ts';
import type { Point } from '../types.ts';
import { Charts } from './chart.tsx';

const HOUR = 3_600_000;
const RANGES = [
  [HOUR, '1 hour'],
  [6 * HOUR, '6 hours'],
  [24 * HOUR, '1 day'],
  [168 * HOUR, '7 days'],
] as const;
const AGAIN_MS = 60_000;

/** What Prometheus kept of a Service, where the dashboard was given one. */
export function LongHistory({ service }: { readonly service: string }) {
  const [range, setRange] = useState<number>(RANGES[1][0]);
  const [points, setPoints] = useState<readonly Point[] | undefined>(undefined);
  const [problem, setProblem] = useState<string | undefined>(undefined);
  useEffect(() => {
    if (!hasHistory.value) return;
    const asked = new AbortController();
    const ask = (): void => {
      getJson<Point[]>('history', { service, range }, asked.signal).then(
        (next) => {
          setPoints(next);
          setProblem(undefined);
        },
        (error: unknown) => {
          if (asked.signal.aborted) return;
          setPoints(undefined);
          setProblem(error instanceof ApiError ? error.message : 'the dashboard’s server does not answer');
        },
      );
    };
    ask();
    const timer = setInterval(ask, AGAIN_MS);
    return () => {
      asked.abort();
      clearInterval(timer);
    };
  }, [service, range, hasHistory.value]);
  if (!hasHistory.value) return null;
  return (
    <section class="history">
      <div class="history-head">
        <h2>History</h2>
        <div class="segmented" role="group" aria-label="Length of the history">
          {RANGES.map(([each, name]) => (
            <button key={each} type="button" aria-pressed={range === each} onClick={() => setRange(each)}>
              {name}
            </button>
          ))}
        </div>
      </div>
      {problem !== undefined ? (
        <p class="empty" role="status">
          {problem}
        </p>
      ) : points === undefined ? (
        <p class="empty">Asking Prometheus …</p>
      ) : (
        <Charts points={points} />
      )}
    </section>
  );
}
