import { destination, pino, type Logger } from 'pino';

export type { Logger } from 'pino';

/**
 * JSON lines on standard output, written without waiting: a reader that stalls must not stop the control plane's
 * thread. What is still unwritten at exit is written then.
 */
export function makeLogger(level: string, node: string): Logger {
  const output = destination({ dest: 1, sync: false });
  process.on('exit', () => {
    try {
      output.flushSync();
    } catch {
      // Standard output is gone; there is nobody to tell.
    }
  });
  return pino({ level, base: { program: 'ztunnel', node } }, output);
}
