/** Unix sockets of type SEQPACKET: one packet is one message, with descriptors beside it. No worker thread here. */
import { fchmodSync, lstatSync, unlinkSync } from 'node:fs';
import { LoamError } from '../loam-error.ts';
import { addressOf, check, closeQuietly, errnoName, int32, isErrno, sys, SystemCallError } from './libc.ts';

const AF_UNIX = 1;
const SOCK_SEQPACKET = 5;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
const SCM_RIGHTS = 1;
const MSG_CTRUNC = 0x8;
const MSG_TRUNC = 0x20;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const MSG_CMSG_CLOEXEC = 0x40000000;
const SOCKET_FILE_MODE = 0o600;
const LISTEN_BACKLOG = 16;
/** sockaddr_un.sun_path, with its closing zero byte (unix(7)). */
const PATH_MAX_BYTES = 107;

/** The longest packet that is received; a longer one is refused and ends its connection. */
export const PACKET_MAX_BYTES = 64 * 1024;
/** The most descriptors received beside one packet; more end the connection. */
export const PACKET_MAX_FDS = 16;

// struct msghdr and struct cmsghdr of 64-bit Linux.
const MSGHDR_BYTES = 56;
const CMSG_HEADER_BYTES = 16;
const FD_BYTES = 4;

export type SeqpacketCode =
  | 'SEQPACKET_PATH'
  | 'SEQPACKET_IN_USE'
  | 'SEQPACKET_PEER'
  | 'SEQPACKET_TRUNCATED'
  | 'SEQPACKET_CLOSED'
  | 'SEQPACKET_BUSY'
  | 'SEQPACKET_SYSTEM';

export class SeqpacketError extends LoamError<SeqpacketCode> {}

/** One packet. Who receives it owns the descriptors (close-on-exec) and closes them. */
export interface Packet {
  readonly data: Uint8Array;
  readonly fds: readonly number[];
}

/** The process at the other end, as the kernel recorded it when the connection was made. */
export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/**
 * Listens on a path; the file gets mode 0600. A socket file that a killed process left is replaced.
 *
 * @returns a non-blocking descriptor
 * @throws SeqpacketError SEQPACKET_PATH when the path is too long or is something other than a socket;
 *   SEQPACKET_IN_USE when a live process listens there
 * @throws SystemCallError
 */
export function listenUnix(path: string): number {
  const address = sockaddrUn(path);
  removeStale(path, address);
  const fd = newSocket();
  try {
    // bind() makes the file with the socket's own mode, so there is no moment in which others may connect.
    fchmodSync(fd, SOCKET_FILE_MODE);
    check(sys.bind(fd, address, address.length), 'bind', fd, path);
    check(sys.listen(fd, LISTEN_BACKLOG), 'listen', fd, LISTEN_BACKLOG);
    return fd;
  } catch (error) {
    closeQuietly(fd);
    throw error;
  }
}

/**
 * Connects to a path.
 *
 * @returns a non-blocking descriptor
 * @throws SystemCallError ENOENT, ECONNREFUSED: nobody listens; EAGAIN: the listener is overloaded
 * @throws SeqpacketError SEQPACKET_PATH for a path that is too long
 */
export function connectUnix(path: string): number {
  const address = sockaddrUn(path);
  const fd = newSocket();
  if (sys.connect(fd, address, address.length) === 0) return fd;
  const error = new SystemCallError('connect', [fd, path], errnoName());
  closeQuietly(fd);
  throw error;
}

/** @throws SystemCallError */
export function peerCredentials(fd: number): PeerCredentials {
  const bytes = new Uint8Array(12);
  check(
    sys.getsockopt(fd, SOL_SOCKET, SO_PEERCRED, bytes, int32(bytes.length)),
    'getsockopt',
    fd,
    'SO_PEERCRED',
  );
  const view = new DataView(bytes.buffer);
  return { pid: view.getInt32(0, true), uid: view.getUint32(4, true), gid: view.getUint32(8, true) };
}

/**
 * The peer's credentials, if it runs as our own user.
 *
 * @throws SeqpacketError SEQPACKET_PEER for any other user, also one that our user namespace does not know
 */
export function requireOwnUser(fd: number): PeerCredentials {
  const peer = peerCredentials(fd);
  const own = process.geteuid?.() ?? 0;
  if (peer.uid === own) return peer;
  throw new SeqpacketError(
    'SEQPACKET_PEER',
    `the process at the other end (pid ${peer.pid}) runs as uid ${peer.uid}; only uid ${own} is accepted`,
  );
}

/** Sends and receives packets with descriptors, over buffers that it makes once. One per thread. */
export class PacketIo {
  readonly #data = new Uint8Array(new ArrayBuffer(PACKET_MAX_BYTES));
  readonly #control = new Uint8Array(new ArrayBuffer(CMSG_HEADER_BYTES + PACKET_MAX_FDS * FD_BYTES));
  readonly #iov = new Uint8Array(new ArrayBuffer(16));
  readonly #header = new Uint8Array(new ArrayBuffer(MSGHDR_BYTES));
  readonly #controlView = new DataView(this.#control.buffer);
  readonly #headerView = new DataView(this.#header.buffer);

  /**
   * @returns 'sent', or 'again' when the socket's buffer is full and writability has to be awaited
   * @throws SystemCallError for example EPIPE, EMSGSIZE; SeqpacketError SEQPACKET_TRUNCATED when it is too big
   */
  send(fd: number, data: Uint8Array, fds: readonly number[]): 'sent' | 'again' {
    if (data.length > PACKET_MAX_BYTES || fds.length > PACKET_MAX_FDS) throw tooBig(data.length, fds.length);
    this.#data.set(data);
    this.#controlView.setBigUint64(0, BigInt(CMSG_HEADER_BYTES + fds.length * FD_BYTES), true);
    this.#controlView.setInt32(8, SOL_SOCKET, true);
    this.#controlView.setInt32(12, SCM_RIGHTS, true);
    fds.forEach((each, i) => this.#controlView.setInt32(CMSG_HEADER_BYTES + i * FD_BYTES, each, true));
    this.#prepare(data.length, fds.length === 0 ? 0 : CMSG_HEADER_BYTES + fds.length * FD_BYTES);
    while (sys.sendmsg(fd, this.#header, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
      const errno = errnoName();
      if (errno === 'EAGAIN') return 'again';
      if (errno !== 'EINTR') throw new SystemCallError('sendmsg', [fd, `${data.length} bytes`], errno);
    }
    return 'sent';
  }

  /**
   * @returns the next packet; 'again' when there is none yet; 'end' when the peer closed
   * @throws SeqpacketError SEQPACKET_TRUNCATED when data or descriptors did not fit (what came is closed)
   * @throws SystemCallError
   */
  receive(fd: number): Packet | 'again' | 'end' {
    let length: number;
    for (;;) {
      this.#prepare(PACKET_MAX_BYTES, this.#control.length);
      length = sys.recvmsg(fd, this.#header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
      if (length >= 0) break;
      const errno = errnoName();
      if (errno === 'EAGAIN') return 'again';
      if (errno === 'ECONNRESET') return 'end';
      if (errno !== 'EINTR') throw new SystemCallError('recvmsg', [fd], errno);
    }
    const fds = this.#receivedFds();
    const flags = this.#headerView.getInt32(48, true);
    if ((flags & (MSG_TRUNC | MSG_CTRUNC)) !== 0) {
      closeQuietly(...fds);
      throw new SeqpacketError(
        'SEQPACKET_TRUNCATED',
        `a packet has more than ${PACKET_MAX_BYTES} bytes or ${PACKET_MAX_FDS} descriptors, or descriptors ran out`,
      );
    }
    // An empty packet and the end look alike (recvmsg(2)); the protocols here have no empty packets.
    if (length === 0) {
      closeQuietly(...fds);
      return 'end';
    }
    return { data: this.#data.slice(0, length), fds };
  }

  #prepare(dataBytes: number, controlBytes: number): void {
    const iov = new DataView(this.#iov.buffer);
    iov.setBigUint64(0, addressOf(this.#data), true);
    iov.setBigUint64(8, BigInt(dataBytes), true);
    this.#header.fill(0);
    this.#headerView.setBigUint64(16, addressOf(this.#iov), true);
    this.#headerView.setBigUint64(24, 1n, true);
    if (controlBytes > 0) this.#headerView.setBigUint64(32, addressOf(this.#control), true);
    this.#headerView.setBigUint64(40, BigInt(controlBytes), true);
  }

  #receivedFds(): number[] {
    const fds: number[] = [];
    const end = Number(this.#headerView.getBigUint64(40, true));
    let offset = 0;
    while (offset + CMSG_HEADER_BYTES <= end) {
      const length = Number(this.#controlView.getBigUint64(offset, true));
      if (length < CMSG_HEADER_BYTES) break;
      const level = this.#controlView.getInt32(offset + 8, true);
      const type = this.#controlView.getInt32(offset + 12, true);
      if (level === SOL_SOCKET && type === SCM_RIGHTS) {
        for (let at = offset + CMSG_HEADER_BYTES; at + FD_BYTES <= offset + length; at += FD_BYTES) {
          fds.push(this.#controlView.getInt32(at, true));
        }
      }
      offset += Math.ceil(length / 8) * 8;
    }
    return fds;
  }
}

function newSocket(): number {
  const type = SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC;
  return check(sys.socket(AF_UNIX, type, 0), 'socket', 'AF_UNIX', 'SOCK_SEQPACKET');
}

/** Removes the socket file of a process that is gone. */
function removeStale(path: string, address: Uint8Array): void {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) throw new SeqpacketError('SEQPACKET_PATH', `${path} exists and is not a socket`);
  const probe = newSocket();
  try {
    check(sys.connect(probe, address, address.length), 'connect', probe, path);
  } catch (error) {
    if (isErrno(error, 'ECONNREFUSED')) {
      unlinkSync(path);
      return;
    }
    if (isErrno(error, 'ENOENT')) return;
    // EAGAIN: its backlog is full. EPROTOTYPE: a live socket of another type.
    if (!isErrno(error, 'EAGAIN', 'EPROTOTYPE')) throw error;
  } finally {
    closeQuietly(probe);
  }
  throw new SeqpacketError('SEQPACKET_IN_USE', `another process listens on ${path}`);
}

function sockaddrUn(path: string): Uint8Array {
  const bytes = new TextEncoder().encode(path);
  if (bytes.length === 0 || bytes.length > PATH_MAX_BYTES || bytes.includes(0)) {
    throw new SeqpacketError(
      'SEQPACKET_PATH',
      `the path of a unix socket has 1 to ${PATH_MAX_BYTES} bytes; ${JSON.stringify(path)} has ${bytes.length}`,
    );
  }
  const address = new Uint8Array(2 + bytes.length + 1);
  new DataView(address.buffer).setUint16(0, AF_UNIX, true);
  address.set(bytes, 2);
  return address;
}

function tooBig(bytes: number, fds: number): SeqpacketError {
  return new SeqpacketError(
    'SEQPACKET_TRUNCATED',
    `a packet has at most ${PACKET_MAX_BYTES} bytes and ${PACKET_MAX_FDS} descriptors, not ${bytes} and ${fds}`,
  );
}
