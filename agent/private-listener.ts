import { chmodSync } from 'node:fs';
import type { Server } from 'node:net';

/**
 * Listens on a unix socket that only root may connect to.
 *
 * @throws Error EADDRINUSE where something is at the path: whether that is a former agent's is for the caller to know
 */
export async function listenPrivately(server: Server, path: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    // The listening socket's file appears within this call, so its mode is set before anybody can be told of it.
    const before = process.umask(0o177);
    server.listen(path, () => {
      server.off('error', reject);
      resolve();
    });
    process.umask(before);
  });
  chmodSync(path, 0o600);
}
