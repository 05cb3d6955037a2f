/**
 * The C library's calls that Node lacks, by koffi. Only lib/linux uses this module; everything here is synchronous
 * and must never block (koffi's asynchronous calls would occupy libuv's four threads and starve files and DNS).
 *
 * koffi may be loaded in any number of worker threads: each has its own copy of these bindings.
 *
 * Descriptors opened here are closed here ({@link closeFd}) and never through node:fs: a worker thread closes, when it
 * ends, every number that it got from `fs.open`, whoever owns that number by then.
 */
import koffi from 'koffi';
import { LoamError } from '../loam-error.ts';

// Resolved among the symbols of the running Node, so that glibc and musl both serve.
const libc = koffi.load(null);

/** A failed system call: which, with which arguments, and why. `errno` is the name, for example `EADDRINUSE`. */
export class SystemCallError extends LoamError<'SYSTEM_CALL'> {
  readonly call: string;
  readonly args: readonly unknown[];
  readonly errno: string;

  constructor(call: string, args: readonly unknown[], errno: string) {
    super('SYSTEM_CALL', `${call}(${args.map(String).join(', ')}) failed with ${errno}`);
    this.call = call;
    this.args = args;
    this.errno = errno;
  }

  /** By the number that the kernel gave in an answer. */
  static of(call: string, args: readonly unknown[], errno: number): SystemCallError {
    return new SystemCallError(call, args, ERRNO_NAMES.get(errno) ?? `errno ${errno}`);
  }
}

/** True for a {@link SystemCallError} with one of the given errno names. */
export function isErrno(error: unknown, ...names: readonly string[]): error is SystemCallError {
  return error instanceof SystemCallError && names.includes(error.errno);
}

const ERRNO_NAMES = new Map(Object.entries(koffi.os.errno).map(([name, number]) => [number, name]));

/** The name of the errno that the last call of this thread left. */
function lastErrno(): string {
  const number = koffi.errno();
  // EAGAIN and EWOULDBLOCK are one number on Linux; one name for both.
  if (number === koffi.os.errno['EAGAIN']) return 'EAGAIN';
  return ERRNO_NAMES.get(number) ?? `errno ${number}`;
}

/** The errno name for a result of -1, for callers to whom the failure is an ordinary outcome. */
export function errnoName(): string {
  return lastErrno();
}

/**
 * Passes a result through.
 *
 * @param args what to show of the arguments; never secrets
 * @throws SystemCallError when it is negative
 */
export function check(result: number, call: string, ...args: readonly unknown[]): number {
  if (result < 0) throw new SystemCallError(call, args, lastErrno());
  return result;
}

type Fn<Args extends unknown[]> = (...args: Args) => number;

function bind<Args extends unknown[]>(declaration: string): Fn<Args> {
  return libc.func(declaration);
}

type Bytes = Uint8Array;

/** The raw calls; each returns -1 and leaves errno on failure (see {@link check}). */
export const sys = {
  open: bind<[path: string, flags: number, mode: number]>('int open(const char*, int, uint)'),
  close: bind<[fd: number]>('int close(int)'),
  setns: bind<[fd: number, type: number]>('int setns(int, int)'),
  socket: bind<[domain: number, type: number, protocol: number]>('int socket(int, int, int)'),
  bind: bind<[fd: number, address: Bytes, length: number]>('int bind(int, const void*, uint)'),
  listen: bind<[fd: number, backlog: number]>('int listen(int, int)'),
  connect: bind<[fd: number, address: Bytes, length: number]>('int connect(int, const void*, uint)'),
  accept4: bind<[fd: number, address: Bytes | null, length: Bytes | null, flags: number]>(
    'int accept4(int, void*, void*, int)',
  ),
  getsockname: bind<[fd: number, address: Bytes, length: Bytes]>('int getsockname(int, void*, void*)'),
  getpeername: bind<[fd: number, address: Bytes, length: Bytes]>('int getpeername(int, void*, void*)'),
  getsockopt: bind<[fd: number, level: number, name: number, value: Bytes, length: Bytes]>(
    'int getsockopt(int, int, int, void*, void*)',
  ),
  setsockopt: bind<[fd: number, level: number, name: number, value: Bytes, length: number]>(
    'int setsockopt(int, int, int, const void*, uint)',
  ),
  sendmsg: bind<[fd: number, message: Bytes, flags: number]>('long sendmsg(int, const void*, int)'),
  sendto: bind<
    [fd: number, data: Bytes, length: number, flags: number, address: Bytes, addressLength: number]
  >('long sendto(int, const void*, size_t, int, const void*, uint)'),
  recvmsg: bind<[fd: number, message: Bytes, flags: number]>('long recvmsg(int, void*, int)'),
  poll: bind<[fds: Bytes, count: number, timeoutMs: number]>('int poll(void*, ulong, int)'),
  eventfd: bind<[initial: number, flags: number]>('int eventfd(uint, int)'),
  read: bind<[fd: number, buffer: Bytes, length: number]>('long read(int, void*, size_t)'),
  write: bind<[fd: number, buffer: Bytes, length: number]>('long write(int, const void*, size_t)'),
  fcntl: bind<[fd: number, command: number, argument: number]>('int fcntl(int, int, long)'),
  ioctl: bind<[fd: number, request: number, argument: number]>('int ioctl(int, ulong, long)'),
  memfdCreate: bind<[name: string, flags: number]>('int memfd_create(const char*, uint)'),
  flock: bind<[fd: number, operation: number]>('int flock(int, int)'),
  mount: bind<[source: string, target: string, type: string, flags: number, data: null]>(
    'int mount(const char*, const char*, const char*, ulong, const void*)',
  ),
  syscall: bind<[number: number, a: number, b: number, c: number]>('long syscall(long, long, long, long)'),
  /** bpf(2), for what libbpf's own functions cannot say; attributes as union bpf_attr has them. */
  bpf: bind<[number: number, command: number, attributes: Bytes, length: number]>(
    'long syscall(long, int, void*, uint)',
  ),
  inetPton: bind<[family: number, text: string, address: Bytes]>('int inet_pton(int, const char*, void*)'),
  umount2: bind<[target: string, flags: number]>('int umount2(const char*, int)'),
};

// The same on x86-64 and arm64 (include/uapi/asm-generic).
export const O_RDONLY = 0;
export const O_NONBLOCK = 0o4000;
export const O_CLOEXEC = 0o2000000;
export const F_DUPFD_CLOEXEC = 1030;
export const EFD_CLOEXEC = 0o2000000;
export const EFD_NONBLOCK = 0o4000;

/** A small integer as the C library wants it by address. */
export function int32(value: number): Uint8Array {
  const bytes = new Uint8Array(new ArrayBuffer(4));
  new DataView(bytes.buffer).setInt32(0, value, true);
  return bytes;
}

/**
 * The address of a buffer's first byte, for structures that hold pointers.
 * The buffer must be made over an ArrayBuffer of its own (those do not move) and be kept alive by the caller.
 */
export function addressOf(bytes: Uint8Array): bigint {
  return koffi.address(bytes);
}

/**
 * Another descriptor (close-on-exec) for the same open file.
 *
 * @throws SystemCallError
 */
export function dup(fd: number): number {
  return check(sys.fcntl(fd, F_DUPFD_CLOEXEC, 3), 'fcntl', fd, 'F_DUPFD_CLOEXEC');
}

/**
 * Closes a descriptor that this process owns and that Node has not adopted (`net.Socket({fd})` and
 * `server.listen({fd})` hand it to libuv, which closes it: closing it here too would close a stranger's descriptor).
 *
 * @throws SystemCallError with EBADF when it is not open: a double close, which is a defect of the caller
 */
export function closeFd(fd: number): void {
  // Linux frees the number even when close() is interrupted, so EINTR is no failure.
  if (sys.close(fd) !== 0 && lastErrno() !== 'EINTR') throw new SystemCallError('close', [fd], lastErrno());
}

/** Closes several, all of them even when one fails; for error paths, where nothing more can be done. */
export function closeQuietly(...fds: readonly number[]): void {
  for (const fd of fds) sys.close(fd);
}
