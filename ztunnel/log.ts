import type { Logger } from 'pino';
import { makeLogger as makeProgramLogger } from '../lib/logger.ts';

export type { Logger } from 'pino';

/** The ztunnel's log (see lib/logger). */
export function makeLogger(level: string, node: string): Logger {
  return makeProgramLogger(level, { program: 'ztunnel', node });
}
