import type { Socket } from 'node:net';
import { setResetOnClose } from '../../linux/reset-on-close.ts';
import { socketFd } from './socket-fd.ts';

/**
 * Sees to it that a connection which this process relays is reset when the process dies in the middle of it, however it
 * dies. The kernel would send a FIN by itself, and the application could not tell a stream that was cut from a whole one.
 * Once all was written and the own half closed in good order (`finish`), a close is an ordinary one again.
 */
export function resetIfKilled(socket: Socket): void {
  const fd = socketFd(socket);
  if (fd === undefined || socket.writableFinished) return;
  setResetOnClose(fd, true);
  socket.once('finish', () => {
    // Before Node closes it, which it does in the same turn when the other half is closed too.
    const now = socketFd(socket);
    if (now !== undefined) setResetOnClose(now, false);
  });
}
