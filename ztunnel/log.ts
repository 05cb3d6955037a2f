import { pino, type Logger } from 'pino';
import { LogOutput } from './log-output.ts';

export type { Logger } from 'pino';

const STDOUT = 1;

/** JSON lines on standard output, written without waiting for its reader. What is still unwritten at exit is written then. */
export function makeLogger(level: string, node: string): Logger {
  const output = new LogOutput(STDOUT);
  process.on('exit', () => output.flushSync());
  return pino({ level, base: { program: 'ztunnel', node } }, output);
}
