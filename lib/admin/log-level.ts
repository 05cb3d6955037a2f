import type { LogLevel } from '../mesh/log.ts';
import { textAnswer, type Answer } from './http-routes.ts';

export const LOG_LEVELS: readonly LogLevel[] = ['debug', 'info', 'warn', 'error'];

/** A program's log level, which can be changed while it runs; the next start has the configured one again. */
export interface LogLevelControl {
  logLevel(): string;
  setLogLevel(level: LogLevel): void;
}

/** GET /logging. */
export function logLevelAnswer(control: LogLevelControl): Answer {
  return textAnswer(`level: ${control.logLevel()}; POST /logging?level=${LOG_LEVELS.join('|')} sets it`);
}

/** POST /logging?level=…: 400 for a level that there is not. */
export function setLogLevelAnswer(control: LogLevelControl, query: URLSearchParams): Answer {
  const level = LOG_LEVELS.find((known) => known === query.get('level'));
  if (level === undefined) return textAnswer(`level must be one of ${LOG_LEVELS.join(', ')}`, 400);
  control.setLogLevel(level);
  return textAnswer(`level: ${level}`);
}
