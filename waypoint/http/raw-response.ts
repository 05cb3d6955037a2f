import { STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';

/** Answers on a connection whose request could not be read, and closes it. */
export function answerRaw(connection: Duplex, status: number): void {
  connection.on('error', () => undefined);
  if (!connection.writable) {
    connection.destroy();
    return;
  }
  connection.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Error'}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`,
  );
}
