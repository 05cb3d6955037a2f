/**
 * What ztunnel does with sockets by descriptor: it marks its own before connect(), and asks of an accepted one where
 * the application wanted to go. It holds only the two maps' descriptors, given to it by the agent.
 */
import { sys } from '../libc.ts';
import { BpfError } from './errors.ts';
import {
  ADDRESS_BYTES,
  buffer,
  OWN_SOCKET_BYTES,
  readAddress,
  writeOwnSocket,
  type Endpoint,
} from './layout.ts';
import { ENOENT, errnoName, lastErrno, libbpf } from './libbpf.ts';
import { mapSizes } from './map.ts';

const UPDATE_ANY = 0;
const SOCKADDR_STORAGE_BYTES = 128;

// Used again for every connection: these functions are synchronous, and each thread has its own copy of the module.
const key = buffer(4);
const ownSocket = buffer(OWN_SOCKET_BYTES);
const address = buffer(ADDRESS_BYTES);
const length = buffer(4);
const socketAddress = buffer(SOCKADDR_STORAGE_BYTES);

/**
 * Refuses maps that are laid out otherwise than this version knows them: the kernel would read and write beyond the
 * buffers here. Their layout stays for ever (docs/decisions/0111), so that agents and ztunnels of any versions work together.
 *
 * @throws BpfError BPF_LAYOUT, or BPF_MAP for what is no map
 */
export function checkOwnMaps(maps: { readonly ownSockets: number; readonly originalDst: number }): void {
  const expected = [
    ['own_sockets', maps.ownSockets, OWN_SOCKET_BYTES],
    ['original_dst', maps.originalDst, ADDRESS_BYTES],
  ] as const;
  for (const [name, fd, bytes] of expected) {
    const { keyBytes, valueBytes } = mapSizes(fd);
    if (keyBytes === key.length && valueBytes === bytes) continue;
    const has = `keys of ${keyBytes} and values of ${valueBytes} bytes`;
    throw new BpfError('BPF_LAYOUT', `map ${name} has ${has}, and should have ${key.length} and ${bytes}`);
  }
}

/**
 * Marks a socket as one of the mesh's own, so that its connect() is not redirected. To be called before connect().
 *
 * @param mapFd the own_sockets map
 * @param sockFd an unconnected TCP socket in an enrolled pod's network namespace
 * @param truePeer for a connection to the application of that pod: the client that accept() and getpeername() show
 *   it. Without it the socket counts as one that leaves the pod.
 * @throws BpfError BPF_MAP when the mark could not be set: the socket must not be connected then
 */
export function markOwnSocket(mapFd: number, sockFd: number, truePeer?: Endpoint): void {
  key.writeInt32LE(sockFd, 0);
  writeOwnSocket(ownSocket, truePeer);
  if (libbpf().update(mapFd, key, ownSocket, UPDATE_ANY) === 0) return;
  const errno = lastErrno();
  throw new BpfError('BPF_MAP', `socket ${sockFd} cannot be marked as our own: ${errnoName(errno)}`, {
    errno,
  });
}

/**
 * The destination that the application asked for, of a socket that the outbound listener accepted.
 *
 * @param mapFd the original_dst map
 * @returns undefined when none is known: the connection came by another way and must be reset
 */
export function originalDst(mapFd: number, acceptedFd: number): Endpoint | undefined {
  // accept() can win over the softirq that just made this socket. Asking for the peer takes the socket's lock, which
  // that softirq holds until the record is moved to the socket.
  length.writeInt32LE(socketAddress.length, 0);
  sys.getpeername(acceptedFd, socketAddress, length);
  key.writeInt32LE(acceptedFd, 0);
  if (libbpf().lookup(mapFd, key, address) === 0) return readAddress(address, 0);
  const errno = lastErrno();
  if (errno === ENOENT) return undefined;
  const text = `original destination of socket ${acceptedFd} cannot be read: ${errnoName(errno)}`;
  throw new BpfError('BPF_MAP', text, { errno });
}
