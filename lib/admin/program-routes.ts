import type { LogLevel } from '../mesh/log.ts';
import { jsonAnswer, textAnswer, type Handler, type Routes } from './http-routes.ts';
import type { ProcessMemory } from '../memory.ts';
import type { Readiness } from './readiness.ts';

const LEVELS: readonly LogLevel[] = ['debug', 'info', 'warn', 'error'];

/** What the admin port of every program of the data plane can show and do. */
export interface ProgramActions {
  configDump(): object;
  logLevel(): string;
  setLogLevel(level: LogLevel): void;
  /** Begins a graceful end. */
  quit(): void;
  metrics(): Promise<string>;
  readonly metricsType: string;
  /** @param collect first collect all garbage, in every thread */
  memory(collect: boolean): Promise<ProcessMemory>;
  /** Whether this process may be told to do what costs its connections time (`--diagnostics on`). */
  readonly diagnostics: boolean;
}

/** GET /healthz/ready: 200 or 503, with the state of each gate. */
export function readyRoute(readiness: Readiness): Handler {
  return () => {
    const report = readiness.report();
    return jsonAnswer(report, report.ready ? 200 : 503);
  };
}

/** GET /metrics. */
export function metricsRoute(actions: Pick<ProgramActions, 'metrics' | 'metricsType'>): Handler {
  return async () => ({ status: 200, type: actions.metricsType, body: await actions.metrics() });
}

/**
 * What an admin port serves (ambient-facts C12); `GET /` lists it.
 *
 * @param own what only this program has
 */
export function programRoutes(actions: ProgramActions, readiness: Readiness, own: Routes): Routes {
  const routes: Routes = {
    'GET /config_dump': () => jsonAnswer(actions.configDump()),
    ...own,
    'GET /logging': () =>
      textAnswer(`level: ${actions.logLevel()}; POST /logging?level=${LEVELS.join('|')} sets it`),
    'POST /logging': (query) => {
      const level = LEVELS.find((known) => known === query.get('level'));
      if (level === undefined) return textAnswer(`level must be one of ${LEVELS.join(', ')}`, 400);
      actions.setLogLevel(level);
      return textAnswer(`level: ${level}`);
    },
    'POST /quitquitquit': () => {
      actions.quit();
      return textAnswer('draining, then ending');
    },
    'GET /memory': async () => jsonAnswer(await actions.memory(false)),
    ...(actions.diagnostics && {
      'POST /memory/collect': async () => jsonAnswer(await actions.memory(true)),
    }),
    'GET /metrics': metricsRoute(actions),
    'GET /healthz/ready': readyRoute(readiness),
  };
  return { 'GET /': () => textAnswer(Object.keys(routes).join('\n')), ...routes };
}
