/** Plain blocking sockets inside a namespace: each step of a test is over before the next. */
import { check, closeFd, errnoName, int32, sys } from '../../../lib/linux/libc.ts';
import { inNetns } from '../../../lib/linux/netns.ts';
import { errnoName as nameOf } from '../../../lib/linux/bpf/libbpf.ts';
import ipaddr from 'ipaddr.js';
import { PATIENCE } from '../../support/patience.ts';

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM_CLOEXEC = 0o2000001;
const SOL_SOCKET = 1;
const SOL_IP = 0;
const IP_BIND_ADDRESS_NO_PORT = 24;
const MSG_FASTOPEN = 0x20000000;
const IPPROTO_TCP = 6;
const TCP_REPAIR = 19;
const TCP_FASTOPEN = 23;
const TCP_FASTOPEN_CONNECT = 30;
const SO_REUSEADDR = 2;
const SO_ERROR = 4;
const SO_LINGER = 13;
const SO_REUSEPORT = 15;
const SO_RCVTIMEO = 20;
const SO_SNDTIMEO = 21;
const SO_BINDTODEVICE = 25;
const POLLIN = 1;
const POLLOUT = 4;
const TIMEOUT_S = Math.ceil(2 * PATIENCE);
export const MPTCP = 262;

/** What connect() said: `ok`, or the errno's name. `EINPROGRESS` is a time-out. */
export type ConnectResult = string;

/** Address and port as the kernel gives them: dotted, or IPv6 in its usual form (also v4-mapped). */
export interface Address {
  readonly ip: string;
  readonly port: number;
}

export interface SocketOptions {
  readonly family?: 4 | 6;
  readonly protocol?: number;
  /** Of a listener; 4096 by default. */
  readonly backlog?: number;
}

/** A TCP socket of a namespace. */
export class Sock implements Disposable {
  readonly fd: number;
  readonly family: 4 | 6;
  /** Shows IPv4 addresses without the `::ffff:` that an IPv6 socket has them with. */
  readonly #plain: boolean;
  #scope = 0;
  #open = true;

  private constructor(fd: number, family: 4 | 6, plain = false) {
    this.fd = fd;
    this.family = family;
    this.#plain = plain;
  }

  static open(netnsFd: number, options: SocketOptions = {}): Sock {
    const family = options.family ?? 4;
    const fd = inNetns(netnsFd, () =>
      check(
        sys.socket(family === 4 ? AF_INET : AF_INET6, SOCK_STREAM_CLOEXEC, options.protocol ?? 0),
        'socket',
      ),
    );
    return new Sock(fd, family).#timeouts();
  }

  /** A listener on an address of a namespace. */
  static listen(netnsFd: number, ip: string, port: number, options: SocketOptions = {}): Sock {
    const socket = Sock.open(netnsFd, options);
    socket.option(SO_REUSEADDR, 1);
    socket.bind(ip, port);
    check(sys.listen(socket.fd, options.backlog ?? 4096), 'listen');
    return socket;
  }

  /** A steered listener of lib/linux: what it accepts shows addresses as ztunnel takes them. */
  static adoptSteered(fd: number): Sock {
    return new Sock(fd, 6, true);
  }

  option(name: number, value: number): this {
    check(sys.setsockopt(this.fd, SOL_SOCKET, name, int32(value), 4), 'setsockopt', name);
    return this;
  }

  reusePort(): this {
    return this.option(SO_REUSEPORT, 1);
  }

  /** close() then sends a reset, and leaves no TIME_WAIT. */
  resetOnClose(): this {
    const linger = new Uint8Array([1, 0, 0, 0, 0, 0, 0, 0]);
    check(sys.setsockopt(this.fd, SOL_SOCKET, SO_LINGER, linger, 8), 'SO_LINGER');
    return this;
  }

  /** connect() only remembers the destination; the first write sends the SYN. */
  fastOpenConnect(): this {
    check(sys.setsockopt(this.fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, int32(1), 4), 'TCP_FASTOPEN_CONNECT');
    return this;
  }

  /** Takes what comes with a SYN. */
  fastOpen(): this {
    check(sys.setsockopt(this.fd, IPPROTO_TCP, TCP_FASTOPEN, int32(16), 4), 'TCP_FASTOPEN');
    return this;
  }

  /** As checkpoint and restore do: connect() then only pretends. */
  repair(): this {
    check(sys.setsockopt(this.fd, IPPROTO_TCP, TCP_REPAIR, int32(1), 4), 'TCP_REPAIR');
    return this;
  }

  bindToDevice(name: string): this {
    const bytes = Buffer.from(`${name}\0`);
    check(sys.setsockopt(this.fd, SOL_SOCKET, SO_BINDTODEVICE, bytes, bytes.length), 'SO_BINDTODEVICE', name);
    return this;
  }

  /** The interface on which link-local addresses are meant. */
  scope(index: number): this {
    this.#scope = index;
    return this;
  }

  bind(ip: string, port: number): this {
    const address = sockaddr(this.family, ip, port, this.#scope);
    check(sys.bind(this.fd, address, address.length), 'bind', ip, port);
    return this;
  }

  /** Binds to an address and leaves the choice of the port to connect(). */
  bindAddressNoPort(ip: string): this {
    check(sys.setsockopt(this.fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, int32(1), 4), 'IP_BIND_ADDRESS_NO_PORT');
    return this.bind(ip, 0);
  }

  startListening(): this {
    check(sys.listen(this.fd, 16), 'listen');
    return this;
  }

  connect(ip: string, port: number): ConnectResult {
    const address = sockaddr(this.family, ip, port, this.#scope);
    if (sys.connect(this.fd, address, address.length) === 0) return 'ok';
    const error = errnoName();
    // Node's threads signal each other; the connection goes on meanwhile.
    return error === 'EINTR' ? this.connected() : error;
  }

  /** Dissolves the connection: connect() to AF_UNSPEC. */
  disconnect(): void {
    check(sys.connect(this.fd, Buffer.from(new ArrayBuffer(16)), 16), 'connect', 'AF_UNSPEC');
  }

  /** Begins to connect without waiting. */
  connectLater(ip: string, port: number): ConnectResult {
    return this.nonBlocking().connect(ip, port);
  }

  nonBlocking(): this {
    const F_SETFL = 4;
    const O_NONBLOCK = 0o4000;
    check(sys.fcntl(this.fd, F_SETFL, O_NONBLOCK), 'fcntl', 'F_SETFL');
    return this;
  }

  /** The next connection with what accept() itself says of the peer, or undefined when none comes. */
  accept(timeoutMs = 1000): (Disposable & { readonly socket: Sock; readonly peer: Address }) | undefined {
    if (!this.#ready(POLLIN, timeoutMs)) return undefined;
    const address = Buffer.from(new ArrayBuffer(28));
    const fd = check(sys.accept4(this.fd, address, int32(address.length), 0o2000000), 'accept4');
    const socket = new Sock(fd, this.family, this.#plain).#timeouts();
    return { socket, peer: parse(address, this.#plain), [Symbol.dispose]: () => socket[Symbol.dispose]() };
  }

  peer(): Address {
    return this.#address('getpeername');
  }

  local(): Address {
    return this.#address('getsockname');
  }

  send(text: string): void {
    const bytes = Buffer.from(text);
    check(sys.write(this.fd, bytes, bytes.length), 'write');
  }

  /** Connects and sends in one call. */
  sendTo(text: string, ip: string, port: number): void {
    const bytes = Buffer.from(text);
    const address = sockaddr(this.family, ip, port, this.#scope);
    check(
      sys.sendto(this.fd, bytes, bytes.length, MSG_FASTOPEN, address, address.length),
      'sendto',
      ip,
      port,
    );
  }

  /** What arrives next; '' at the end of the stream. */
  receive(): string {
    const bytes = Buffer.from(new ArrayBuffer(4096));
    const n = sys.read(this.fd, bytes, bytes.length);
    return n < 0 ? errnoName() : bytes.toString('utf8', 0, n);
  }

  /** Closes it, once. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    closeFd(this.fd);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Waits for an event, through signals; false after the time. */
  #ready(events: number, timeoutMs: number): boolean {
    const pollfd = Buffer.from(new ArrayBuffer(8));
    pollfd.writeInt32LE(this.fd, 0);
    pollfd.writeInt16LE(events, 4);
    const wait = Math.ceil(timeoutMs * PATIENCE);
    let result = sys.poll(pollfd, 1, wait);
    while (result < 0 && errnoName() === 'EINTR') result = sys.poll(pollfd, 1, wait);
    return check(result, 'poll') > 0;
  }

  /** How a connect() that goes on without us ends. */
  connected(): ConnectResult {
    if (!this.#ready(POLLOUT, 2000)) return 'EINPROGRESS';
    const value = Buffer.from(new ArrayBuffer(4));
    check(sys.getsockopt(this.fd, SOL_SOCKET, SO_ERROR, value, int32(4)), 'getsockopt', 'SO_ERROR');
    const errno = value.readInt32LE(0);
    return errno === 0 ? 'ok' : nameOf(errno);
  }

  #timeouts(): this {
    const time = Buffer.from(new ArrayBuffer(16));
    time.writeBigInt64LE(BigInt(TIMEOUT_S), 0);
    for (const option of [SO_RCVTIMEO, SO_SNDTIMEO]) {
      check(sys.setsockopt(this.fd, SOL_SOCKET, option, time, 16), 'setsockopt', option);
    }
    return this;
  }

  #address(call: 'getpeername' | 'getsockname'): Address {
    const bytes = Buffer.from(new ArrayBuffer(28));
    check(sys[call](this.fd, bytes, int32(bytes.length)), call);
    return parse(bytes, this.#plain);
  }
}

/** Connects from a namespace and closes again. */
export function dial(netnsFd: number, ip: string, port: number, options: SocketOptions = {}): ConnectResult {
  using socket = Sock.open(netnsFd, options);
  return socket.connect(ip, port);
}

function sockaddr(family: 4 | 6, ip: string, port: number, scope: number): Buffer {
  const bytes = Buffer.from(new ArrayBuffer(family === 4 ? 16 : 28));
  bytes.writeUInt16LE(family === 4 ? AF_INET : AF_INET6, 0);
  bytes.writeUInt16BE(port, 2);
  if (family === 4) bytes.set(ipaddr.IPv4.parse(ip).toByteArray(), 4);
  else bytes.set(ipaddr.IPv6.parse(ip).toByteArray(), 8);
  if (family === 6 && ip.startsWith('fe80:')) bytes.writeUInt32LE(scope, 24);
  return bytes;
}

function parse(bytes: Buffer, plain: boolean): Address {
  const port = bytes.readUInt16BE(2);
  if (bytes.readUInt16LE(0) === AF_INET) return { ip: bytes.subarray(4, 8).join('.'), port };
  const ip = new ipaddr.IPv6([...bytes.subarray(8, 24)]);
  if (!ip.isIPv4MappedAddress()) return { ip: ip.toRFC5952String(), port };
  return { ip: `${plain ? '' : '::ffff:'}${ip.toIPv4Address().toString()}`, port };
}
