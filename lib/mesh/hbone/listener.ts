import net from 'node:net';
import { setResetOnClose } from '../../linux/reset-on-close.ts';
import { DEFAULT_BACKLOG, isListening } from '../../linux/socket.ts';

/** How long a destroyed listener may take this thread's time. */
const WATCH_INTERVAL_MS = 250;

/** What the process has too little of, as metrics name it. */
export type Scarcity = 'no-descriptors' | 'no-memory';

export interface ListenerHandlers {
  connection(socket: net.Socket): void;
  /** Whether a socket that was just accepted is one too many, and for want of what. */
  isTooMany(socket: net.Socket): Scarcity | undefined;
  /** One was reset for that. */
  crowded(scarcity: Scarcity): void;
  /** Accepting failed, or the listener was destroyed by somebody: told once, and it is closed then. */
  failed(error: Error): void;
}

/**
 * Accepts from a listening descriptor that the agent made, which it owns from here on. Accepted sockets are paused:
 * nothing is read before somebody decided where it goes.
 */
export class Listener {
  readonly #server: net.Server;
  readonly #watch: NodeJS.Timeout;
  /** Rejects when the descriptor cannot be listened on. */
  readonly ready: Promise<void>;

  /** @param clientsAre `applications`: their connections are reset when this process dies (see death-reset.ts) */
  constructor(fd: number, handlers: ListenerHandlers, clientsAre: 'applications' | 'tunnels' = 'tunnels') {
    try {
      // Inherited by what is accepted, so that there is no moment without it.
      setResetOnClose(fd, clientsAre === 'applications');
    } catch {
      // No socket: `ready` says so.
    }
    this.#server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true });
    this.#server.on('connection', (socket) => {
      const scarcity = handlers.isTooMany(socket);
      if (scarcity === undefined) {
        handlers.connection(socket);
        return;
      }
      socket.on('error', () => undefined);
      socket.resetAndDestroy();
      handlers.crowded(scarcity);
    });
    this.ready = new Promise((resolve, reject) => {
      this.#server.once('listening', resolve);
      this.#server.once('error', reject);
    });
    // Node calls listen() again on the descriptor, which would shrink its backlog to 511; it takes the number only as
    // an argument of its own where a descriptor is given.
    this.#server.listen({ fd }, DEFAULT_BACKLOG);
    this.#server.on('error', (error) => handlers.failed(error));
    // A pod may destroy its listeners (`ss --kill`). Such a one is readable for ever and libuv tells nobody that each
    // accept fails: kept, it would take the whole thread. The agent notices by itself and makes a new one.
    this.#watch = setInterval(() => {
      if (isListening(fd)) return;
      this.close();
      handlers.failed(new Error('somebody destroyed the listening socket'));
    }, WATCH_INTERVAL_MS).unref();
  }

  /** Closes this duplicate of the descriptor; connections that wait stay with whoever holds another one. */
  close(): void {
    clearInterval(this.#watch);
    this.#server.close();
  }
}
