/**
 * Unix SOCK_SEQPACKET connections that carry descriptors, which Node lacks. Each server and each client has a worker
 * thread of its own that blocks in poll(); this side only exchanges messages with it.
 */
import { statSync, unlinkSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { siblingModule } from '../package-root.ts';
import { check, closeQuietly, dup, EFD_CLOEXEC, EFD_NONBLOCK, sys } from './libc.ts';
import type { FlatError, FromWorker, ToWorker, WorkerStart } from './seqpacket-messages.ts';
import { connectUnix, listenUnix, requireOwnUser, SeqpacketError } from './unix-socket.ts';
import type { Packet, PeerCredentials } from './unix-socket.ts';

export { PACKET_MAX_BYTES, PACKET_MAX_FDS, SeqpacketError } from './unix-socket.ts';
export type { Packet, PeerCredentials, SeqpacketCode } from './unix-socket.ts';

const DEFAULT_MAX_CONNECTIONS = 16;

/**
 * One connection, at either end. Packets that arrive before `onPacket` was called wait (32 at most; then the peer
 * waits). Packets still waiting when this side closes are dropped and their descriptors closed.
 */
export class SeqpacketConnection {
  readonly peer: PeerCredentials;
  readonly #thread: Thread;
  readonly #id: number;
  #state: 'open' | 'ended' | 'closed' = 'open';
  #over = false;
  #error: Error | undefined;
  #waiting: Packet[] = [];
  #packetListener: ((packet: Packet) => void) | undefined;
  #closeListener: ((error: Error | undefined) => void) | undefined;

  /** Made by {@link SeqpacketServer} and {@link SeqpacketClient} only. */
  constructor(thread: Thread, id: number, peer: PeerCredentials) {
    this.#thread = thread;
    this.#id = id;
    this.peer = peer;
  }

  /**
   * Sets who gets the packets, in order; each call of the listener takes over the packet's descriptors.
   * What the listener throws is not caught: it must handle its own failures.
   */
  onPacket(listener: (packet: Packet) => void): void {
    this.#packetListener = listener;
    this.#deliver();
  }

  /**
   * Sets who hears, once and after the last packet, that the connection is over: without an error when either side
   * closed it, else with the reason (a packet too big, a failed system call).
   */
  onClose(listener: (error: Error | undefined) => void): void {
    this.#closeListener = listener;
    this.#deliver();
  }

  /**
   * Sends one packet (not empty). The descriptors are duplicated before this returns: the caller keeps its own.
   *
   * @returns resolves when the kernel has taken the packet, which does not mean that the peer has read it
   * @throws SeqpacketError (by rejection) SEQPACKET_CLOSED, SEQPACKET_BUSY when 64 packets wait already,
   *   SEQPACKET_TRUNCATED when it is too big, SEQPACKET_SYSTEM
   */
  async send(data: Uint8Array, fds: readonly number[] = []): Promise<void> {
    if (this.#state !== 'open') throw new SeqpacketError('SEQPACKET_CLOSED', 'the connection is closed');
    if (data.length === 0) throw new SeqpacketError('SEQPACKET_TRUNCATED', 'a packet cannot be empty');
    await this.#thread.send(this.#id, data, fds);
  }

  /** Ends the connection; the close listener is called afterwards. Packets not yet sent fail. */
  close(): void {
    if (this.#state === 'closed') return;
    for (const packet of this.#waiting.splice(0)) closeQuietly(...packet.fds);
    if (this.#state === 'open') this.#thread.post({ type: 'close', connection: this.#id });
    this.#state = 'closed';
    queueMicrotask(() => this.#deliver());
  }

  /** @internal From the worker thread. */
  handlePacket(packet: Packet): void {
    if (this.#state === 'closed') {
      closeQuietly(...packet.fds);
      return;
    }
    this.#waiting.push(packet);
    this.#deliver();
  }

  /** @internal From the worker thread: there will be no more packets. */
  handleClosed(error: Error | undefined): void {
    this.#error = error;
    if (this.#state === 'open') this.#state = 'ended';
    this.#over = true;
    this.#deliver();
  }

  #deliver(): void {
    while (this.#packetListener !== undefined) {
      const packet = this.#waiting.shift();
      if (packet === undefined) break;
      if (this.#state === 'open') this.#thread.post({ type: 'credit', connection: this.#id });
      this.#packetListener(packet);
    }
    if (!this.#over || this.#waiting.length > 0 || this.#closeListener === undefined) return;
    const listener = this.#closeListener;
    this.#closeListener = undefined;
    this.#state = 'closed';
    listener(this.#error);
  }
}

export interface SeqpacketServerOptions {
  readonly path: string;
  /** Connections at once; further ones are accepted and closed, and `onRefused` hears of it. 16 unless told. */
  readonly maxConnections?: number;
  onConnection(connection: SeqpacketConnection): void;
  /** A connection was turned away: another user's (SEQPACKET_PEER), too many (SEQPACKET_BUSY), no descriptors left. */
  onRefused(error: SeqpacketError): void;
  /** The worker thread failed: the server is unusable. */
  onFailure(error: Error): void;
}

type Handlers = Pick<SeqpacketServerOptions, 'onConnection' | 'onRefused' | 'onFailure'>;

/** Listens on a path (file mode 0600; only processes of our own uid are accepted). */
export class SeqpacketServer {
  readonly #path: string;
  readonly #inode: bigint;
  readonly #thread: Thread;

  private constructor(options: SeqpacketServerOptions) {
    const fd = listenUnix(options.path);
    this.#path = options.path;
    this.#inode = statSync(options.path, { bigint: true }).ino;
    const maxConnections = options.maxConnections ?? DEFAULT_MAX_CONNECTIONS;
    this.#thread = new Thread({ type: 'listener', fd, maxConnections }, options);
  }

  /**
   * @throws SeqpacketError SEQPACKET_IN_USE when a live process listens there (a dead one's file is replaced);
   *   SEQPACKET_PATH
   * @throws SystemCallError
   */
  static listen(options: SeqpacketServerOptions): SeqpacketServer {
    return new SeqpacketServer(options);
  }

  /** Ends all connections and the thread, and removes the socket's file unless another process replaced it. */
  async close(): Promise<void> {
    const found = statSync(this.#path, { bigint: true, throwIfNoEntry: false });
    if (found?.ino === this.#inode) unlinkSync(this.#path);
    await this.#thread.stop();
  }
}

/** Connects to a path. */
export const SeqpacketClient = {
  /**
   * Connects once, without retrying. The connection keeps the process alive until it is over.
   *
   * @throws SystemCallError (by rejection) ENOENT, ECONNREFUSED: nobody listens; EAGAIN: the listener is overloaded
   * @throws SeqpacketError (by rejection) SEQPACKET_PEER when the listener runs as another user; SEQPACKET_PATH
   */
  async connect(path: string): Promise<SeqpacketConnection> {
    const fd = connectUnix(path);
    let peer: PeerCredentials;
    try {
      peer = requireOwnUser(fd);
    } catch (error) {
      closeQuietly(fd);
      throw error;
    }
    return new Promise((resolve, reject) => {
      new Thread(
        { type: 'connection', fd, peer },
        { onConnection: resolve, onRefused: reject, onFailure: reject },
      );
    });
  },
};

/** All that run. A thread blocked in poll() cannot be ended by Node, and exiting would wait for it. */
const threads = new Set<Thread>();
process.on('exit', () => {
  for (const thread of threads) thread.post({ type: 'stop' });
});

/** The worker thread, from outside. */
class Thread {
  readonly #worker: Worker;
  readonly #eventFd: number;
  readonly #handlers: Handlers;
  readonly #connections = new Map<number, SeqpacketConnection>();
  readonly #sends = new Map<
    number,
    { resolve: () => void; reject: (error: Error) => void; fds: readonly number[] }
  >();
  readonly #exited: Promise<void>;
  #running = true;
  #nextSend = 0;

  constructor(source: WorkerStart['source'], handlers: Handlers) {
    this.#handlers = handlers;
    this.#eventFd = check(sys.eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), 'eventfd');
    const start: WorkerStart = { eventFd: dup(this.#eventFd), source };
    this.#worker = new Worker(siblingModule(import.meta.url, './seqpacket-worker'), {
      workerData: start,
      name: 'seqpacket',
    });
    this.#worker.on('message', (message: FromWorker) => this.#receive(message));
    this.#worker.on('error', (error) => this.#handlers.onFailure(error as Error));
    this.#exited = new Promise((resolve) => {
      this.#worker.once('exit', () => {
        this.#ended();
        resolve();
      });
    });
    threads.add(this);
  }

  send(connection: number, data: Uint8Array, fds: readonly number[]): Promise<void> {
    if (!this.#running) return Promise.reject(closedError());
    const copies: number[] = [];
    try {
      for (const fd of fds) copies.push(dup(fd));
    } catch (error) {
      closeQuietly(...copies);
      throw error;
    }
    const id = this.#nextSend++;
    return new Promise((resolve, reject) => {
      this.#sends.set(id, { resolve, reject, fds: copies });
      this.post({ type: 'send', connection, id, data, fds: copies });
    });
  }

  post(message: ToWorker): void {
    if (!this.#running) return;
    this.#worker.postMessage(message);
    const one = new Uint8Array(8);
    one[0] = 1;
    sys.write(this.#eventFd, one, one.length);
  }

  async stop(): Promise<void> {
    this.post({ type: 'stop' });
    await this.#exited;
  }

  #receive(message: FromWorker): void {
    switch (message.type) {
      case 'opened': {
        const connection = new SeqpacketConnection(this, message.connection, message.peer);
        this.#connections.set(message.connection, connection);
        this.#handlers.onConnection(connection);
        break;
      }
      case 'refused':
        this.#handlers.onRefused(restore(message.error));
        break;
      case 'packet':
        this.#connections.get(message.connection)?.handlePacket({ data: message.data, fds: message.fds });
        break;
      case 'sent':
        this.#settle(message.id)?.resolve();
        break;
      case 'failed':
        this.#settle(message.id)?.reject(restore(message.error));
        break;
      case 'closed': {
        const connection = this.#connections.get(message.connection);
        this.#connections.delete(message.connection);
        connection?.handleClosed(message.error === undefined ? undefined : restore(message.error));
        break;
      }
    }
  }

  #settle(id: number): { resolve: () => void; reject: (error: Error) => void } | undefined {
    const send = this.#sends.get(id);
    this.#sends.delete(id);
    return send;
  }

  #ended(): void {
    this.#running = false;
    threads.delete(this);
    closeQuietly(this.#eventFd);
    for (const send of this.#sends.values()) {
      // Never looked at by the worker: their descriptors are still ours.
      closeQuietly(...send.fds);
      send.reject(closedError());
    }
    this.#sends.clear();
    for (const connection of this.#connections.values()) connection.handleClosed(closedError());
    this.#connections.clear();
  }
}

function restore(error: FlatError): SeqpacketError {
  return new SeqpacketError(error.code, error.message);
}

function closedError(): SeqpacketError {
  return new SeqpacketError('SEQPACKET_CLOSED', 'the thread that serves the connection has ended');
}
