import type { Logger } from 'pino';
import type { Log } from './proxy/mesh.ts';
import { makeLogger as makeProgramLogger } from '../lib/logger.ts';

export type { Logger } from 'pino';

/** The ztunnel's log (see lib/logger). */
export function makeLogger(level: string, node: string): Logger {
  return makeProgramLogger(level, { program: 'ztunnel', node });
}

/** The data path's way of logging, on top of pino's. */
export function fieldsLast(log: Logger): Log {
  return {
    debug: (message, fields = {}) => log.debug(fields, message),
    info: (message, fields = {}) => log.info(fields, message),
    warn: (message, fields = {}) => log.warn(fields, message),
    error: (message, fields = {}) => log.error(fields, message),
  };
}
