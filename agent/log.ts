import type { Logger } from 'pino';
import { makeLogger as makeProgramLogger } from '../lib/logger.ts';

/** What the agent's parts need of a logger. */
export type Log = Pick<Logger, 'debug' | 'info' | 'warn' | 'error'>;

/** The agent's log (see lib/logger). */
export function makeLogger(level: string, node: string): Logger {
  return makeProgramLogger(level, { program: 'agent', node });
}
