import { jsonAnswer, textAnswer, type Handler, type Routes } from './http-routes.ts';
import { logLevelAnswer, setLogLevelAnswer, type LogLevelControl } from './log-level.ts';
import type { MetricsPage } from './metrics-page.ts';
import type { ProcessMemory } from '../memory.ts';
import type { Readiness } from './readiness.ts';

/** What the admin port of every program of the data plane can show and do. */
export interface ProgramActions extends LogLevelControl {
  configDump(): object;
  /** Begins a graceful end. */
  quit(): void;
  /** @param accept the header of who asks */
  metrics(accept?: string): Promise<MetricsPage>;
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

/** GET /metrics, in the format that is asked for. */
export function metricsRoute(actions: Pick<ProgramActions, 'metrics'>): Handler {
  return async (_, accept) => ({ status: 200, ...(await actions.metrics(accept)) });
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
    'GET /logging': () => logLevelAnswer(actions),
    'POST /logging': (query) => setLogLevelAnswer(actions, query),
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
