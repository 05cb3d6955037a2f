/** TCP sockets that are made inside a pod's network namespace and then used from outside it. IPv4 only, so far. */
import { randomInt } from 'node:crypto';
import { Socket } from 'node:net';
import ipaddr from 'ipaddr.js';
import { check, closeFd, closeQuietly, dup, errnoName, int32, sys, SystemCallError } from './libc.ts';
import { inNetns } from './netns.ts';

export { closeFd, dup };

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const IPPROTO_TCP = 6;
const SOL_SOCKET = 1;
const SOL_IP = 0;
const SO_REUSEADDR = 2;
const SO_KEEPALIVE = 9;
const SO_ACCEPTCONN = 30;
const TCP_NODELAY = 1;
const TCP_KEEPIDLE = 4;
const TCP_KEEPINTVL = 5;
const TCP_KEEPCNT = 6;
const IP_BIND_ADDRESS_NO_PORT = 24;
const SOCKADDR_IN_BYTES = 16;
const LOWEST_PORT = 1024;
const HIGHEST_PORT = 65535;
/** With half of all ports taken, one listener in 10^19 would find none. */
const BIND_TRIES = 64;
const SOCKADDR_MAX_BYTES = 28;

/**
 * Where steered listeners are bound. TCP never connects to the broadcast address (tcp_v4_connect answers ENETUNREACH
 * by rule, whatever routes and addresses a privileged pod sets up), so only sk_lookup leads here.
 */
export const STEERED_LISTENER_ADDRESS = '255.255.255.255';

/** Keep-alive of mesh connections (ambient-facts C2): idle 180 s, then every 180 s, 9 times. */
const KEEPALIVE_IDLE_S = 180;
const KEEPALIVE_INTERVAL_S = 180;
const KEEPALIVE_PROBES = 9;

/** Connections that the kernel holds for a listener until they are accepted; net.core.somaxconn caps it. */
export const DEFAULT_BACKLOG = 4096;

/** An IP address (IPv4 dotted, also where the socket shows it v4-mapped) and a port. */
export interface Address {
  readonly ip: string;
  readonly port: number;
}

/**
 * A TCP listener inside a network namespace that is reached by sk_lookup steering alone: it sits on an ephemeral port
 * of an address that nobody can dial, so no pod can squat on its port, join it, or talk to it around the steering.
 * What it accepts has the original destination as its local address. Accepted sockets inherit keep-alive and no-delay.
 *
 * @returns non-blocking, close-on-exec, listening; the caller's, until `server.listen({fd})` makes it libuv's
 * @throws SystemCallError
 */
export function listenTcp4(options: { readonly netnsFd: number; readonly backlog?: number }): number {
  const backlog = options.backlog ?? DEFAULT_BACKLOG;
  return inNetns(options.netnsFd, () => {
    const fd = newTcp4();
    try {
      bindAnywhere(fd, STEERED_LISTENER_ADDRESS);
      // After bind(), so that the port is chosen as if it were unset; for the accepted sockets, which inherit it: they
      // hold the port that the client dialled, and an application that (re)starts there must get it with SO_REUSEADDR.
      setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1, 'SO_REUSEADDR');
      setOption(fd, IPPROTO_TCP, TCP_NODELAY, 1, 'TCP_NODELAY');
      setKeepAlive(fd);
      check(sys.listen(fd, backlog), 'listen', fd, backlog);
      return fd;
    } catch (error) {
      closeQuietly(fd);
      throw error;
    }
  });
}

/**
 * An unconnected TCP socket of a network namespace: non-blocking, close-on-exec. To be marked as our own and bound by
 * the caller where needed, then adopted by {@link adoptUnconnected}.
 *
 * @throws SystemCallError
 */
export function tcpSocket4(netnsFd: number): number {
  return inNetns(netnsFd, newTcp4);
}

/**
 * Binds a socket to a local IPv4 address. With port 0 the port is chosen at connect(), when the whole tuple is known
 * (IP_BIND_ADDRESS_NO_PORT), so that one source address serves many destinations with the same port.
 *
 * @throws SystemCallError for example EADDRNOTAVAIL
 */
export function bind4(fd: number, ip: string, port: number): void {
  if (port === 0) setOption(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1, 'IP_BIND_ADDRESS_NO_PORT');
  const address = sockaddrIn(ip, port);
  check(sys.bind(fd, address, address.length), 'bind', fd, ip, port);
}

/** Switches TCP keep-alive on with the mesh's times: 180 s idle, 180 s between probes, 9 probes. */
export function setKeepAlive(fd: number): void {
  setOption(fd, SOL_SOCKET, SO_KEEPALIVE, 1, 'SO_KEEPALIVE');
  setOption(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S, 'TCP_KEEPIDLE');
  setOption(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S, 'TCP_KEEPINTVL');
  setOption(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES, 'TCP_KEEPCNT');
}

/**
 * Whether a listener still listens. Destroyed by SOCK_DESTROY (`ss --kill`) it never will again, and accept() on it
 * fails with EINVAL.
 *
 * @throws SystemCallError
 */
export function isListening(fd: number): boolean {
  const value = new Uint8Array(4);
  check(sys.getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, value, int32(4)), 'getsockopt', fd, 'SO_ACCEPTCONN');
  return value[0] === 1;
}

/**
 * A socket's own address, read from the kernel (of what a steered listener accepted: the original destination).
 *
 * @throws SystemCallError
 */
export function localAddress(fd: number): Address {
  return readAddress(fd, 'getsockname');
}

/**
 * The other end's address as the kernel (and the mesh's getpeername hook) shows it.
 *
 * @throws SystemCallError ENOTCONN when the socket is not connected, or not any more
 */
export function peerAddress(fd: number): Address {
  return readAddress(fd, 'getpeername');
}

/**
 * Adopts an unconnected descriptor as a Node socket (half-open allowed). The caller must `connect()` it before it
 * yields to the event loop: Node starts to read an adopted descriptor at once, and the read of one that is still
 * unconnected fails with ENOTCONN. From here on the descriptor belongs to libuv: destroying the socket closes it.
 */
export function adoptUnconnected(fd: number): Socket {
  return new Socket({ fd, allowHalfOpen: true });
}

/**
 * Connects from inside a network namespace (for administrative look-ups, for example of a node's admin port).
 * The caller adds the 'connect', 'error' and 'close' listeners before it yields to the event loop.
 *
 * @param ip an IPv4 address in dotted form: names are not resolved
 * @throws SystemCallError when the socket cannot be made
 */
export function connectInNetns(netnsFd: number, ip: string, port: number): Socket {
  ipv4Bytes(ip);
  return adoptUnconnected(tcpSocket4(netnsFd)).connect({ host: ip, port });
}

function newTcp4(): number {
  const type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
  return check(sys.socket(AF_INET, type, IPPROTO_TCP), 'socket', 'AF_INET', 'SOCK_STREAM');
}

/**
 * Binds to any port. First as the kernel chooses, from the namespace's range; a pod can have made that range small, or
 * have taken all of it with wildcard sockets, and must not escape enrolment by it.
 */
function bindAnywhere(fd: number, ip: string): void {
  const ports = [0, ...Array.from({ length: BIND_TRIES }, () => randomInt(LOWEST_PORT, HIGHEST_PORT + 1))];
  for (const port of ports) {
    const address = sockaddrIn(ip, port);
    if (sys.bind(fd, address, address.length) === 0) return;
    if (errnoName() !== 'EADDRINUSE') throw new SystemCallError('bind', [fd, ip, port], errnoName());
  }
  throw new SystemCallError('bind', [fd, ip, `any of ${ports.length} ports`], 'EADDRINUSE');
}

function setOption(fd: number, level: number, option: number, value: number, name: string): void {
  check(sys.setsockopt(fd, level, option, int32(value), 4), 'setsockopt', fd, name, value);
}

function ipv4Bytes(ip: string): number[] {
  if (!ipaddr.IPv4.isValidFourPartDecimal(ip))
    throw new SystemCallError('inet_pton', ['AF_INET', ip], 'EINVAL');
  return ipaddr.IPv4.parse(ip).octets;
}

/** struct sockaddr_in: family in host order, port and address in network order. */
function sockaddrIn(ip: string, port: number): Uint8Array {
  const bytes = new Uint8Array(SOCKADDR_IN_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, AF_INET, true);
  view.setUint16(2, port, false);
  bytes.set(ipv4Bytes(ip), 4);
  return bytes;
}

function readAddress(fd: number, call: 'getsockname' | 'getpeername'): Address {
  const bytes = new Uint8Array(SOCKADDR_MAX_BYTES);
  check(sys[call](fd, bytes, int32(bytes.length)), call, fd);
  const view = new DataView(bytes.buffer);
  const family = view.getUint16(0, true);
  const port = view.getUint16(2, false);
  if (family === AF_INET) return { ip: [...bytes.subarray(4, 8)].join('.'), port };
  if (family !== AF_INET6) throw new SystemCallError(call, [fd, `address family ${family}`], 'EAFNOSUPPORT');
  const v6 = new ipaddr.IPv6([...bytes.subarray(8, 24)]);
  return { ip: v6.isIPv4MappedAddress() ? v6.toIPv4Address().toString() : v6.toString(), port };
}
