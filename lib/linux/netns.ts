/** Network namespaces: opening them, working inside one for a moment, and telling them apart. */
import { fstatSync } from 'node:fs';
import {
  check,
  closeFd,
  closeQuietly,
  O_CLOEXEC,
  O_NONBLOCK,
  O_RDONLY,
  sys,
  SystemCallError,
} from './libc.ts';

const AF_INET = 2;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const CLONE_NEWNET = 0x40000000;
// ioctl_nsfs(2): answers with the CLONE_NEW… flag of the namespace that a descriptor refers to.
const NS_GET_NSTYPE = 0xb703;
const SOL_SOCKET = 1;
const SO_NETNS_COOKIE = 71;

/** What tells two network namespaces apart while either is held open: inode and device of the nsfs file. */
export interface NetnsInode {
  readonly dev: bigint;
  readonly ino: bigint;
}

/**
 * Opens a network namespace by the path of its file (`/run/netns/NAME`, `/proc/PID/ns/net`).
 *
 * @returns a close-on-exec descriptor, the caller's to close with `closeFd`; it keeps the namespace alive
 * @throws SystemCallError ENOENT when there is no such file; EINVAL when the file is no network namespace, which is
 *   also what is left at `/run/netns/NAME` when its mount is gone
 */
export function openNetns(path: string): number {
  // O_NONBLOCK: the path may name anything, and opening a FIFO would block.
  const fd = check(sys.open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0), 'open', path);
  if (!isNetns(fd)) {
    closeFd(fd);
    throw new SystemCallError('openNetns', [path], 'EINVAL');
  }
  return fd;
}

/** True when the descriptor refers to a network namespace. */
export function isNetns(fd: number): boolean {
  return sys.ioctl(fd, NS_GET_NSTYPE, 0) === CLONE_NEWNET;
}

/** A descriptor for the namespace that this thread is in now; the caller's to close. */
export function openCurrentNetns(): number {
  return openNetns('/proc/thread-self/ns/net');
}

// Per thread, as each worker thread has its own copy of this module.
let home: number | undefined;
let inside: number | undefined;

/**
 * Runs `body` with this thread inside a network namespace, then returns to where it was. May be nested.
 * Only what `body` does synchronously happens inside: it must not return a promise, start a worker thread, or hand
 * work to libuv's threads (those stay outside).
 *
 * When the way back fails the process aborts: it would otherwise go on in a pod's namespace unnoticed.
 *
 * @throws SystemCallError when the namespace cannot be entered; whatever `body` throws; TypeError for a promise
 */
export function inNetns<T>(netnsFd: number, body: () => T): T {
  home ??= openCurrentNetns();
  const outside = inside;
  check(sys.setns(netnsFd, CLONE_NEWNET), 'setns', netnsFd, 'CLONE_NEWNET');
  inside = netnsFd;
  let result: T;
  try {
    result = body();
  } finally {
    if (sys.setns(outside ?? home, CLONE_NEWNET) !== 0) process.abort();
    inside = outside;
  }
  if (result instanceof Promise) throw new TypeError('the body of inNetns must be synchronous');
  return result;
}

/**
 * The kernel's cookie of a network namespace: unique while the machine runs, never used again. BPF programs see the
 * same number by `bpf_get_netns_cookie`. Needs kernel 5.14 (SO_NETNS_COOKIE).
 */
export function netnsCookie(netnsFd: number): bigint {
  const socket = inNetns(netnsFd, () =>
    check(sys.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), 'socket', 'AF_INET', 'SOCK_DGRAM'),
  );
  try {
    const value = new Uint8Array(new ArrayBuffer(8));
    const length = Uint8Array.of(8, 0, 0, 0);
    check(
      sys.getsockopt(socket, SOL_SOCKET, SO_NETNS_COOKIE, value, length),
      'getsockopt',
      socket,
      'SO_NETNS_COOKIE',
    );
    return new DataView(value.buffer).getBigUint64(0, true);
  } finally {
    closeQuietly(socket);
  }
}

/** Inode and device of an open network namespace. */
export function netnsInode(netnsFd: number): NetnsInode {
  const { dev, ino } = fstatSync(netnsFd, { bigint: true });
  return { dev, ino };
}

/** True when both are the same namespace. */
export function sameNetns(a: NetnsInode, b: NetnsInode): boolean {
  return a.dev === b.dev && a.ino === b.ino;
}
