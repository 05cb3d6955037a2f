import { jsonAnswer, textAnswer, type Handler, type Routes } from '../../lib/admin/http-routes.ts';
import type { Readiness } from '../../lib/admin/readiness.ts';
import type { LogLevel } from '../worker/messages.ts';

/** What the admin port can show and do. */
export interface AdminActions {
  configDump(): object;
  upstreams(): Promise<unknown>;
  logLevel(): string;
  setLogLevel(level: LogLevel): void;
  quit(): void;
  metrics(): Promise<string>;
  readonly metricsType: string;
}

const LEVELS: readonly LogLevel[] = ['debug', 'info', 'warn', 'error'];

/** GET /healthz/ready: 200 or 503, naming each gate. */
export function readyRoute(readiness: Readiness): Handler {
  return () => {
    const report = readiness.report();
    return jsonAnswer(report, report.ready ? 200 : 503);
  };
}

/** GET /metrics. */
export function metricsRoute(actions: Pick<AdminActions, 'metrics' | 'metricsType'>): Handler {
  return async () => ({ status: 200, type: actions.metricsType, body: await actions.metrics() });
}

/** What the admin port serves; the same words as ztunnel's. */
export function adminRoutes(actions: AdminActions, readiness: Readiness): Routes {
  const routes: Routes = {
    'GET /config_dump': () => jsonAnswer(actions.configDump()),
    'GET /upstreams': async () => jsonAnswer({ workers: await actions.upstreams() }),
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
    'GET /metrics': metricsRoute(actions),
    'GET /healthz/ready': readyRoute(readiness),
  };
  return { 'GET /': () => textAnswer(Object.keys(routes).join('\n')), ...routes };
}
