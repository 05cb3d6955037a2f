import { useEffect, useState } from 'preact/hooks';
import { getJson } from '../api.ts';
import { moment, ms, rate } from '../format.ts';
import { state, until, windowMs } from '../state.ts';
import type { Point } from '../types.ts';

const WIDTH = 600;
const HEIGHT = 120;
/** A line of one point shows nothing. */
const SHORTEST_MS = 120_000;

/** Rate over time with what failed and was denied, and p50 and p95 below it. */
export function History({ to, from }: { readonly to?: string; readonly from?: string }) {
  const [points, setPoints] = useState<readonly Point[]>([]);
  const at = state.value?.graph.at;
  useEffect(() => {
    const asked = new AbortController();
    void getJson<Point[]>(
      'series',
      { window: Math.max(SHORTEST_MS, windowMs.value), until: until.value, to, from },
      asked.signal,
    ).then(setPoints, () => undefined);
    return () => asked.abort();
  }, [to, from, at === undefined ? 0 : Math.floor(at / 2_000), windowMs.value]);
  // The step that is under way has not all of its calls yet.
  return <Charts points={points.slice(0, Math.max(1, points.length - 1))} />;
}

/** The two charts of a line over time. */
export function Charts({ points: shown }: { readonly points: readonly Point[] }) {
  return (
    <div class="charts">
      <Chart
        title="Rate"
        points={shown}
        text={rate}
        lines={[
          { name: 'all', class: 'good', of: (point) => point.rate },
          { name: 'failed', class: 'bad', of: (point) => point.failed },
          { name: 'denied', class: 'denied', of: (point) => point.denied },
        ]}
      />
      <Chart
        title="Duration"
        points={shown}
        text={ms}
        lines={[
          { name: 'p50', class: 'good', of: (point) => point.p50 },
          { name: 'p95', class: 'second', of: (point) => point.p95 },
        ]}
      />
    </div>
  );
}

interface Line {
  readonly name: string;
  readonly class: string;
  readonly of: (point: Point) => number | undefined;
}

function Chart({
  title,
  points,
  lines,
  text,
}: {
  title: string;
  points: readonly Point[];
  lines: readonly Line[];
  text: (value: number) => string;
}) {
  const most = Math.max(1e-9, ...points.flatMap((point) => lines.map(({ of }) => of(point) ?? 0)));
  const [first, last] = [points[0], points.at(-1)];
  const span = Math.max(1, (last?.at ?? 0) - (first?.at ?? 0));
  const x = (point: Point): number => ((point.at - (first?.at ?? 0)) / span) * WIDTH;
  const y = (value: number): number => HEIGHT - 4 - (value / most) * (HEIGHT - 16);
  const latest = lines.map(({ name, of }) => `${name} ${latestOf(last, of, text)}`).join(', ');
  return (
    <figure class="chart">
      <figcaption>
        <strong>{title}</strong>
        {lines.map(({ name, class: kind, of }) => (
          <span key={name} class={`key ${kind}`}>
            {name} {latestOf(last, of, text)}
          </span>
        ))}
      </figcaption>
      <svg
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        preserveAspectRatio="none"
        role="img"
        aria-label={`${title} now: ${latest}`}
      >
        <path class="grid" d={`M0 ${y(most)}H${WIDTH}M0 ${y(most / 2)}H${WIDTH}M0 ${HEIGHT - 4}H${WIDTH}`} />
        {lines.map(({ name, class: kind, of }) => {
          const at = points.flatMap((point) => {
            const value = of(point);
            return value === undefined ? [] : [`${x(point).toFixed(1)} ${y(value).toFixed(1)}`];
          });
          if (at.length < 2) return null;
          return (
            <g key={name} class={kind}>
              {kind === 'good' ? (
                <path
                  class="area"
                  d={`M${at.join('L')}V${HEIGHT - 4}H${(at[0] ?? '0').split(' ')[0] ?? 0}Z`}
                />
              ) : null}
              <path class="line" d={`M${at.join('L')}`} />
            </g>
          );
        })}
      </svg>
      <div class="axis">
        <span>{first === undefined ? '' : moment(first.at, span)}</span>
        <span>{most > 1e-9 ? `${text(most)} at most` : ''}</span>
        <span>{last === undefined ? '' : moment(last.at, span)}</span>
      </div>
    </figure>
  );
}

function latestOf(last: Point | undefined, of: Line['of'], text: (value: number) => string): string {
  const value = last && of(last);
  return value === undefined ? '–' : text(value);
}
