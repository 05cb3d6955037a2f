import { EventEmitter, once } from 'node:events';
import type { Readable } from 'node:stream';

/** All that comes until the end, of a paused stream too. Unlike an async iterator it leaves the stream's other half alone. */
export async function readAll(stream: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  stream.resume();
  if (!stream.readableEnded) await once(stream, 'end');
  return Buffer.concat(chunks).toString();
}

/** Waits for an event, also through errors. */
export function happened(emitter: EventEmitter, event: string): Promise<void> {
  return new Promise((resolve) => emitter.once(event, () => resolve()));
}

/** The error code with which a socket ends. */
export async function errorCode(socket: Readable): Promise<string | undefined> {
  // A socket that nobody reads does not hear of a reset.
  socket.resume();
  const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
  return error.code;
}

/** Waits until a look finds something, turn by turn of the event loop; the test's own time limit ends it. */
export async function eventually<T>(look: () => T | undefined | false): Promise<T> {
  for (;;) {
    const found = look();
    if (found !== undefined && found !== false) return found;
    await new Promise((resolve) => setImmediate(resolve));
  }
}
