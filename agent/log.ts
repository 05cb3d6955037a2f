import { pino, type Logger } from 'pino';

/** What the agent's parts need of a logger. */
export type Log = Pick<Logger, 'debug' | 'info' | 'warn' | 'error'>;

/** JSON lines on standard output. */
export function makeLogger(level: string, node: string): Logger {
  return pino({ level, base: { program: 'agent', node } });
}
