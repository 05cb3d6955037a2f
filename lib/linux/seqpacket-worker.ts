/**
 * The thread that blocks: it waits in poll() for its SEQPACKET sockets and for the eventfd by which the other thread
 * wakes it, so that no libuv thread is ever occupied. It holds no state but the connections.
 */
import { parentPort, receiveMessageOnPort, workerData, type MessagePort } from 'node:worker_threads';
import { errorText } from '../loam-error.ts';
import { check, closeQuietly, errnoName, sys } from './libc.ts';
import type { FlatError, FromWorker, ToWorker, WorkerStart } from './seqpacket-messages.ts';
import { MAX_UNCONSUMED_PACKETS, MAX_UNSENT_PACKETS } from './seqpacket-messages.ts';
import { PacketIo, requireOwnUser, SeqpacketError, type PeerCredentials } from './unix-socket.ts';

const POLLIN = 0x1;
const POLLOUT = 0x4;
const POLLFD_BYTES = 8;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
/** Only so that this thread notices when Node wants it gone and nobody wrote to the eventfd. */
const POLL_TIMEOUT_MS = 5000;

interface Unsent {
  readonly id: number;
  readonly data: Uint8Array;
  readonly fds: readonly number[];
}

interface Connection {
  readonly id: number;
  readonly fd: number;
  readonly unsent: Unsent[];
  unconsumed: number;
}

class Poller {
  readonly #port: MessagePort;
  readonly #eventFd: number;
  readonly #source: WorkerStart['source'];
  readonly #io = new PacketIo();
  readonly #connections = new Map<number, Connection>();
  #nextId = 0;
  #stopped = false;

  constructor(port: MessagePort, start: WorkerStart) {
    this.#port = port;
    this.#eventFd = start.eventFd;
    this.#source = start.source;
    if (start.source.type === 'connection') this.#open(start.source.fd, start.source.peer);
  }

  run(): void {
    while (!this.#stopped) this.#turn();
    for (const connection of this.#connections.values()) this.#close(connection);
    if (this.#source.type === 'listener') closeQuietly(this.#source.fd);
    closeQuietly(this.#eventFd);
  }

  /** One wait, and everything that it brought. */
  #turn(): void {
    const connections = [...this.#connections.values()];
    const wanted = [
      { fd: this.#eventFd, events: POLLIN },
      { fd: this.#source.type === 'listener' ? this.#source.fd : -1, events: POLLIN },
      ...connections.map(wantOf),
    ];
    const [woken, listening, ...results] = poll(wanted);
    if (woken !== 0) this.#takeMessages();
    connections.forEach((connection, i) => this.#serve(connection, results[i] ?? 0));
    if (listening !== 0 && !this.#stopped) this.#accept();
  }

  #takeMessages(): void {
    sys.read(this.#eventFd, new Uint8Array(8), 8);
    for (;;) {
      const received = receiveMessageOnPort(this.#port) as { message: ToWorker } | undefined;
      if (received === undefined) return;
      this.#take(received.message);
    }
  }

  #take(message: ToWorker): void {
    if (message.type === 'stop') {
      this.#stopped = true;
      return;
    }
    const connection = this.#connections.get(message.connection);
    switch (message.type) {
      case 'send':
        this.#send(connection, message);
        break;
      case 'credit':
        if (connection !== undefined) connection.unconsumed -= 1;
        break;
      case 'close':
        if (connection !== undefined) this.#close(connection);
        break;
    }
  }

  #send(connection: Connection | undefined, packet: Unsent): void {
    if (connection === undefined || connection.unsent.length >= MAX_UNSENT_PACKETS) {
      closeQuietly(...packet.fds);
      const error =
        connection === undefined
          ? new SeqpacketError('SEQPACKET_CLOSED', 'the connection is closed')
          : new SeqpacketError('SEQPACKET_BUSY', `${MAX_UNSENT_PACKETS} packets wait for the peer already`);
      this.#post({ type: 'failed', id: packet.id, error: flat(error) });
      return;
    }
    connection.unsent.push(packet);
    if (connection.unsent.length === 1) this.#flush(connection);
  }

  #flush(connection: Connection): void {
    for (;;) {
      const packet = connection.unsent[0];
      if (packet === undefined) return;
      try {
        if (this.#io.send(connection.fd, packet.data, packet.fds) === 'again') return;
        this.#post({ type: 'sent', id: packet.id });
      } catch (error) {
        this.#post({ type: 'failed', id: packet.id, error: flat(error) });
      }
      connection.unsent.shift();
      closeQuietly(...packet.fds);
    }
  }

  #serve(connection: Connection, events: number): void {
    if (events === 0 || !this.#connections.has(connection.id)) return;
    if ((events & POLLOUT) !== 0) this.#flush(connection);
    if ((events & ~POLLOUT) === 0) return;
    try {
      while (connection.unconsumed < MAX_UNCONSUMED_PACKETS) {
        const packet = this.#io.receive(connection.fd);
        if (packet === 'again') break;
        if (packet === 'end') {
          this.#close(connection);
          return;
        }
        connection.unconsumed += 1;
        this.#post({ type: 'packet', connection: connection.id, ...packet });
      }
    } catch (error) {
      this.#close(connection, error);
      return;
    }
  }

  #accept(): void {
    if (this.#source.type !== 'listener') return;
    const fd = sys.accept4(this.#source.fd, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      const errno = errnoName();
      if (!['EAGAIN', 'EINTR', 'ECONNABORTED'].includes(errno)) {
        this.#refuse(new SeqpacketError('SEQPACKET_SYSTEM', `accept failed with ${errno}`));
        // Descriptors or memory ran out: not to spin while they are.
        sys.poll(new Uint8Array(POLLFD_BYTES), 0, 100);
      }
      return;
    }
    try {
      const peer = requireOwnUser(fd);
      const most = this.#source.maxConnections;
      if (this.#connections.size >= most) {
        throw new SeqpacketError('SEQPACKET_BUSY', `${most} connections are open already (pid ${peer.pid})`);
      }
      this.#open(fd, peer);
    } catch (error) {
      closeQuietly(fd);
      this.#refuse(error);
    }
  }

  #refuse(error: unknown): void {
    this.#post({ type: 'refused', error: flat(error) });
  }

  #open(fd: number, peer: PeerCredentials): void {
    const connection: Connection = { id: this.#nextId, fd, unsent: [], unconsumed: 0 };
    this.#nextId += 1;
    this.#connections.set(connection.id, connection);
    this.#post({ type: 'opened', connection: connection.id, peer });
  }

  #close(connection: Connection, cause?: unknown): void {
    if (!this.#connections.delete(connection.id)) return;
    closeQuietly(connection.fd);
    const closed = flat(
      new SeqpacketError('SEQPACKET_CLOSED', 'the connection was closed before this was sent'),
    );
    for (const packet of connection.unsent) {
      closeQuietly(...packet.fds);
      this.#post({ type: 'failed', id: packet.id, error: closed });
    }
    this.#post({
      type: 'closed',
      connection: connection.id,
      ...(cause === undefined ? {} : { error: flat(cause) }),
    });
    if (this.#source.type === 'connection') this.#stopped = true;
  }

  #post(message: FromWorker): void {
    this.#port.postMessage(message);
  }
}

/**
 * What to wait for on a connection. Nothing is read while the other side has not consumed what it has; then the
 * connection is left out altogether, since poll() reports a hang-up whether asked or not.
 */
function wantOf({ fd, unconsumed, unsent }: Connection): { fd: number; events: number } {
  const events = (unconsumed < MAX_UNCONSUMED_PACKETS ? POLLIN : 0) | (unsent.length > 0 ? POLLOUT : 0);
  return { fd: events === 0 ? -1 : fd, events };
}

/** poll(2): the events of each descriptor, in order; those below 0 are ignored by the kernel. */
function poll(wanted: readonly { fd: number; events: number }[]): number[] {
  const bytes = new Uint8Array(wanted.length * POLLFD_BYTES);
  const view = new DataView(bytes.buffer);
  wanted.forEach(({ fd, events }, i) => {
    view.setInt32(i * POLLFD_BYTES, fd, true);
    view.setInt16(i * POLLFD_BYTES + 4, events, true);
  });
  const result = sys.poll(bytes, wanted.length, POLL_TIMEOUT_MS);
  // On EINTR the results are not written: nothing happened, and the caller waits again.
  if (result < 0 && errnoName() === 'EINTR') return wanted.map(() => 0);
  check(result, 'poll', wanted.length);
  return wanted.map((_, i) => view.getInt16(i * POLLFD_BYTES + 6, true));
}

function flat(error: unknown): FlatError {
  const code = error instanceof SeqpacketError ? error.code : 'SEQPACKET_SYSTEM';
  return { code, message: errorText(error) };
}

if (parentPort !== null) new Poller(parentPort, workerData as WorkerStart).run();
