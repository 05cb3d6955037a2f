import net from 'node:net';
import { DEFAULT_BACKLOG } from '../../lib/linux/socket.ts';

/**
 * Accepts from a listening descriptor that the agent made, which it owns from here on. Accepted sockets are paused:
 * nothing is read before somebody decided where it goes.
 */
export class Listener {
  readonly #server: net.Server;
  /** Rejects when the descriptor cannot be listened on. */
  readonly ready: Promise<void>;

  constructor(fd: number, onConnection: (socket: net.Socket) => void, onError: (error: Error) => void) {
    this.#server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true });
    this.#server.on('connection', onConnection);
    this.ready = new Promise((resolve, reject) => {
      this.#server.once('listening', resolve);
      this.#server.once('error', reject);
    });
    // Node calls listen() again on the descriptor, which would shrink its backlog to 511.
    this.#server.listen({ fd, backlog: DEFAULT_BACKLOG });
    this.#server.on('error', onError);
  }

  /** Closes this duplicate of the descriptor; connections that wait stay with whoever holds another one. */
  close(): void {
    this.#server.close();
  }
}
