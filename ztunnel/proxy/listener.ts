import net from 'node:net';
import type { DescriptorReserve } from './descriptor-reserve.ts';
import { DEFAULT_BACKLOG } from '../../lib/linux/socket.ts';

export interface ListenerHandlers {
  connection(socket: net.Socket): void;
  /** One was reset, since too few descriptors are left. */
  crowded(): void;
  failed(error: Error): void;
}

/**
 * Accepts from a listening descriptor that the agent made, which it owns from here on. Accepted sockets are paused:
 * nothing is read before somebody decided where it goes.
 */
export class Listener {
  readonly #server: net.Server;
  /** Rejects when the descriptor cannot be listened on. */
  readonly ready: Promise<void>;

  constructor(fd: number, reserve: DescriptorReserve, handlers: ListenerHandlers) {
    this.#server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true });
    this.#server.on('connection', (socket) => {
      if (!reserve.isTouchedBy(socket)) {
        handlers.connection(socket);
        return;
      }
      socket.on('error', () => undefined);
      socket.resetAndDestroy();
      handlers.crowded();
    });
    this.ready = new Promise((resolve, reject) => {
      this.#server.once('listening', resolve);
      this.#server.once('error', reject);
    });
    // Node calls listen() again on the descriptor, which would shrink its backlog to 511.
    this.#server.listen({ fd, backlog: DEFAULT_BACKLOG });
    this.#server.on('error', (error) => handlers.failed(error));
  }

  /** Closes this duplicate of the descriptor; connections that wait stay with whoever holds another one. */
  close(): void {
    this.#server.close();
  }
}
