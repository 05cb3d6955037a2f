import { pino, type Logger } from 'pino';
import { LogOutput } from './log-output.ts';

const STDOUT = 1;

/**
 * A program's log: JSON lines on standard output, written without waiting for its reader. What is still unwritten at
 * exit is written then.
 *
 * @param fields what every line carries, `program` first
 */
export function makeLogger(
  level: string,
  fields: { readonly program: string; readonly node?: string },
): Logger {
  const output = new LogOutput(STDOUT);
  process.on('exit', () => output.flushSync());
  return pino({ level, base: { ...fields } }, output);
}
