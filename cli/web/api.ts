import { FLOW_FILTER_FIELDS, passesFilter, type FlowFilter } from '../observe/flow-filter.ts';
import { HISTORY_MS } from '../observe/graph-store.ts';
import type { FlowEvent } from '../../lib/flow/event.ts';
import { isMainWord } from '../live/event-text.ts';
import type { Observatory } from '../observe/observatory.ts';
import { errorText } from '../../lib/loam-error.ts';
import type { PrometheusHistory } from './prometheus.ts';
import { answer, answerJson, beginLines, type ApiHandler } from './server.ts';

const SHORTEST_WINDOW_MS = 5_000;
const DEFAULT_WINDOW_MS = 60_000;
/** What may wait for one page; what is more is left out and counted. */
const MAX_WAITING_BYTES = 1024 * 1024;
/** How often an idle tap says that it lives. */
const TAP_IDLE_MS = 5_000;

/**
 * What the page asks for.
 *
 * @param history where there is more than the last minutes; undefined: nowhere
 */
export function dashboardApi(
  observatory: Observatory,
  history?: PrometheusHistory,
): Readonly<Record<string, ApiHandler>> {
  return {
    features: (_query, response) => answerJson(response, { history: history !== undefined }),
    history: (query, response) => {
      if (history === undefined)
        return answer(response, 404, 'no Prometheus was given: loam dashboard --prometheus URL');
      void history.of(query.get('service') ?? '', Number(query.get('range'))).then(
        (points) => answerJson(response, points),
        (error: unknown) => answer(response, 502, errorText(error)),
      );
    },
    state: (query, response) => {
      const by = query.get('by') === 'workload' ? 'workload' : 'app';
      answerJson(response, observatory.state(windowOf(query), untilOf(query), by));
    },
    catalog: (_query, response) => answerJson(response, observatory.catalog),
    series: (query, response) => {
      const [to, from] = [query.get('to') ?? undefined, query.get('from') ?? undefined];
      answerJson(response, observatory.series(windowOf(query), untilOf(query), to, from));
    },
    tap: (query, response) => {
      const filter = filterOf(query);
      if (typeof filter === 'string') return answer(response, 400, filter);
      beginLines(response);
      const isWanted = (event: FlowEvent): boolean => isMainWord(event) && passesFilter(event, filter);
      for (const event of observatory.recent)
        if (isWanted(event)) response.write(`${JSON.stringify(event)}\n`);
      let lost = 0;
      const end = observatory.onEvent((event) => {
        if (!isWanted(event)) return;
        if (response.writableLength > MAX_WAITING_BYTES) {
          lost += 1;
          return;
        }
        if (lost > 0) response.write(`${JSON.stringify({ kind: 'lost', events: lost })}\n`);
        lost = 0;
        response.write(`${JSON.stringify(event)}\n`);
      });
      const idle = setInterval(() => response.write('\n'), TAP_IDLE_MS).unref();
      response.on('close', () => {
        clearInterval(idle);
        end();
      });
    },
  };
}

function windowOf(query: URLSearchParams): number {
  const ms = Number(query.get('window') ?? DEFAULT_WINDOW_MS);
  return Number.isFinite(ms) ? Math.min(HISTORY_MS, Math.max(SHORTEST_WINDOW_MS, ms)) : DEFAULT_WINDOW_MS;
}

function untilOf(query: URLSearchParams): number | undefined {
  const at = Number(query.get('until') ?? NaN);
  return Number.isFinite(at) ? at : undefined;
}

/** @returns the filter, or what is wrong with the query */
function filterOf(query: URLSearchParams): FlowFilter | string {
  const fields: [string, string][] = [];
  for (const [name, value] of query) {
    if (!(FLOW_FILTER_FIELDS as readonly string[]).includes(name))
      return `unknown field ${name}; allowed: ${FLOW_FILTER_FIELDS.join(', ')}`;
    if (value !== '') fields.push([name, value]);
  }
  const filter = Object.fromEntries(fields) as FlowFilter;
  const { verdict } = filter;
  if (verdict !== undefined && !['allowed', 'denied', 'notable'].includes(verdict))
    return 'verdict must be one of allowed, denied, notable';
  return filter;
}
