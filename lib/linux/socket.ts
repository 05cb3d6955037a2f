/** TCP sockets of either family that are made inside a pod's network namespace and then used from outside it. */
import { randomInt } from 'node:crypto';
import { Socket } from 'node:net';
import { ipFamily, ipFromBytes, ipToBytes, type IpFamily } from './ip.ts';
import {
  check,
  closeFd,
  closeQuietly,
  dup,
  errnoName,
  int32,
  isErrno,
  sys,
  SystemCallError,
} from './libc.ts';
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
const SOL_IPV6 = 41;
const SO_REUSEADDR = 2;
const SO_KEEPALIVE = 9;
const SO_ACCEPTCONN = 30;
const TCP_NODELAY = 1;
const TCP_KEEPIDLE = 4;
const TCP_KEEPINTVL = 5;
const TCP_KEEPCNT = 6;
const IP_BIND_ADDRESS_NO_PORT = 24;
const IPV6_V6ONLY = 26;
const IPV6_FREEBIND = 78;
const SOCKADDR_IN_BYTES = 16;
const SOCKADDR_IN6_BYTES = 28;
const LOWEST_PORT = 1024;
const HIGHEST_PORT = 65535;
/** With half of all ports taken, one listener in 10^19 would find none. */
const BIND_TRIES = 64;
const SOCKADDR_MAX_BYTES = SOCKADDR_IN6_BYTES;

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

/** An IP address in the form of ./ip.ts (IPv4 dotted, also where the socket shows it v4-mapped) and a port. */
export interface Address {
  readonly ip: string;
  readonly port: number;
}

/**
 * A TCP listener inside a network namespace that is reached by sk_lookup steering alone: it sits on an ephemeral port
 * of an address that nobody can dial, so no pod can squat on its port, join it, or talk to it around the steering.
 * It is an IPv6 socket bound to the v4-mapped form of that address, which the kernel gives connections of both
 * families (decision 0090); where the kernel has no IPv6, an IPv4 socket.
 * What it accepts has the original destination as its local address. Accepted sockets inherit keep-alive and no-delay.
 *
 * @returns non-blocking, close-on-exec, listening; the caller's, until `server.listen({fd})` makes it libuv's
 * @throws SystemCallError
 */
export function listenSteered(options: { readonly netnsFd: number; readonly backlog?: number }): number {
  const backlog = options.backlog ?? DEFAULT_BACKLOG;
  return inNetns(options.netnsFd, () => {
    const { fd, family } = newDualStack();
    try {
      bindAnywhere(fd, STEERED_LISTENER_ADDRESS, family);
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
 * @param family of the address that it is to dial
 * @throws SystemCallError EAFNOSUPPORT for IPv6 where the kernel has none
 */
export function tcpSocket(netnsFd: number, family: IpFamily = 4): number {
  return inNetns(netnsFd, () => newTcp(family));
}

/**
 * Binds a socket to a local address of its own family. With port 0 the port is chosen at connect(), when the whole
 * tuple is known (IP_BIND_ADDRESS_NO_PORT), so that one source address serves many destinations with the same port.
 *
 * @throws SystemCallError for example EADDRNOTAVAIL
 */
export function bindTo(fd: number, ip: string, port: number): void {
  const address = sockaddr(ip, port);
  if (port === 0) setOption(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1, 'IP_BIND_ADDRESS_NO_PORT');
  check(sys.bind(fd, address, address.length), 'bind', fd, ip, port);
}

/**
 * Binds a socket to a source address that the namespace need not have as an address: 127/8, or one of a range that is
 * routed to lo (./private-sources.ts). The port is chosen at connect(), as with {@link bindTo}.
 *
 * @throws SystemCallError
 */
export function bindSource(fd: number, ip: string): void {
  if (ipFamily(ip) === 6) setOption(fd, SOL_IPV6, IPV6_FREEBIND, 1, 'IPV6_FREEBIND');
  bindTo(fd, ip, 0);
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
 * @param ip an address: names are not resolved
 * @throws SystemCallError when the socket cannot be made; EINVAL for what is no address
 */
export function connectInNetns(netnsFd: number, ip: string, port: number): Socket {
  return adoptUnconnected(tcpSocket(netnsFd, familyOf(ip))).connect({ host: ip, port });
}

function newTcp(family: IpFamily): number {
  const [number, name] = family === 4 ? [AF_INET, 'AF_INET'] : [AF_INET6, 'AF_INET6'];
  const type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
  return check(sys.socket(number, type, IPPROTO_TCP), 'socket', name, 'SOCK_STREAM');
}

function newDualStack(): { readonly fd: number; readonly family: IpFamily } {
  let fd: number;
  try {
    fd = newTcp(6);
  } catch (error) {
    if (!isErrno(error, 'EAFNOSUPPORT')) throw error;
    return { fd: newTcp(4), family: 4 };
  }
  // The pod's net.ipv6.bindv6only must not decide it.
  if (sys.setsockopt(fd, SOL_IPV6, IPV6_V6ONLY, int32(0), 4) === 0) return { fd, family: 6 };
  const error = new SystemCallError('setsockopt', [fd, 'IPV6_V6ONLY', 0], errnoName());
  closeQuietly(fd);
  throw error;
}

/**
 * Binds to any port. First as the kernel chooses, from the namespace's range; a pod can have made that range small, or
 * have taken all of it with wildcard sockets, and must not escape enrolment by it.
 */
function bindAnywhere(fd: number, ip: string, family: IpFamily): void {
  const ports = [0, ...Array.from({ length: BIND_TRIES }, () => randomInt(LOWEST_PORT, HIGHEST_PORT + 1))];
  for (const port of ports) {
    const address = sockaddr(ip, port, family);
    if (sys.bind(fd, address, address.length) === 0) return;
    if (errnoName() !== 'EADDRINUSE') throw new SystemCallError('bind', [fd, ip, port], errnoName());
  }
  throw new SystemCallError('bind', [fd, ip, `any of ${ports.length} ports`], 'EADDRINUSE');
}

function setOption(fd: number, level: number, option: number, value: number, name: string): void {
  check(sys.setsockopt(fd, level, option, int32(value), 4), 'setsockopt', fd, name, value);
}

function familyOf(ip: string): IpFamily {
  const family = ipFamily(ip);
  if (family === undefined) throw new SystemCallError('inet_pton', [ip], 'EINVAL');
  return family;
}

/**
 * struct sockaddr_in or sockaddr_in6: family in host order, port and address in network order.
 *
 * @param family of the socket; an IPv6 socket takes an IPv4 address v4-mapped
 */
function sockaddr(ip: string, port: number, family = familyOf(ip)): Uint8Array {
  const address = ipToBytes(ip) ?? [];
  const bytes = new Uint8Array(family === 4 ? SOCKADDR_IN_BYTES : SOCKADDR_IN6_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, family === 4 ? AF_INET : AF_INET6, true);
  view.setUint16(2, port, false);
  if (family === 4) bytes.set(address.slice(-4), 4);
  else bytes.set(address, 8);
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
  return { ip: ipFromBytes(bytes.subarray(8, 24)), port };
}
