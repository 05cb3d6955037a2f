/** Files that lie in memory only and cannot change any more: how large state goes from one process to another. */
import { fstatSync, readSync, writeSync } from 'node:fs';
import { check, closeFd, sys, SystemCallError } from './libc.ts';

const MFD_CLOEXEC = 1;
const MFD_ALLOW_SEALING = 2;
const F_ADD_SEALS = 1033;
const F_GET_SEALS = 1034;
/** F_SEAL_SEAL, _SHRINK, _GROW, _WRITE: neither content nor seals change, also for its maker. */
const SEALED = 1 | 2 | 4 | 8;

/**
 * A new sealed file with this content.
 *
 * @param name shown in /proc/PID/fd, for people
 * @returns its descriptor, the caller's
 * @throws SystemCallError, Error ENOSPC when memory is short
 */
export function sealedMemory(name: string, content: Uint8Array): number {
  const fd = check(sys.memfdCreate(name, MFD_CLOEXEC | MFD_ALLOW_SEALING), 'memfd_create', name);
  try {
    for (let at = 0; at < content.length;) at += writeSync(fd, content, at, content.length - at, at);
    check(sys.fcntl(fd, F_ADD_SEALS, SEALED), 'fcntl', fd, 'F_ADD_SEALS');
    return fd;
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}

/**
 * The size of a sealed file of memory.
 *
 * @returns undefined when the descriptor is of anything else, or of one that somebody may still change
 */
export function sealedSize(fd: number): number | undefined {
  // Only a memfd (or a huge page's file) has seals.
  const seals = sys.fcntl(fd, F_GET_SEALS, 0);
  return seals >= 0 && (seals & SEALED) === SEALED ? fstatSync(fd).size : undefined;
}

/**
 * The whole content of a sealed file.
 *
 * @throws SystemCallError EINVAL when it is not sealed, EFBIG when it is larger than allowed
 */
export function readSealed(fd: number, maxBytes: number): Buffer {
  const size = sealedSize(fd);
  if (size === undefined) throw new SystemCallError('fcntl', [fd, 'F_GET_SEALS'], 'EINVAL');
  if (size > maxBytes)
    throw new SystemCallError('read', [fd, `${size} bytes, allowed: ${maxBytes}`], 'EFBIG');
  const content = Buffer.allocUnsafe(size);
  for (let at = 0; at < size;) {
    const read = readSync(fd, content, at, size - at, at);
    if (read === 0) throw new SystemCallError('read', [fd], 'EIO');
    at += read;
  }
  return content;
}
