/** A thread that accepts as fast as it can, to win over the softirq that makes a connection complete. */
import { parentPort, workerData } from 'node:worker_threads';
import { originalDst } from '../../../lib/linux/bpf/index.ts';
import { ipFromBytes } from '../../../lib/linux/ip.ts';
import { errnoName, int32, sys } from '../../../lib/linux/libc.ts';

/** What the thread is given. */
export interface AcceptWork {
  /** Non-blocking. */
  readonly listener: number;
  readonly connections: number;
  /** With it, the destination is asked for at once; without, accept() names the peer. */
  readonly originalDstMapFd?: number;
  /** What each connection must say. */
  readonly expected: string;
}

const AF_INET = 2;
const SOCK_CLOEXEC = 0o2000000;
const work = workerData as AcceptWork;
const wrong = new Set<string>();
const address = Buffer.from(new ArrayBuffer(28));
for (let n = 0; n < work.connections;) {
  // Without asking for the peer where the destination is asked for, as libuv accepts: to be told the peer means to
  // wait for the socket's lock.
  const named = work.originalDstMapFd === undefined;
  const fd = sys.accept4(
    work.listener,
    named ? address : null,
    named ? int32(address.length) : null,
    SOCK_CLOEXEC,
  );
  if (fd < 0) {
    if (errnoName() !== 'EAGAIN') throw new Error(`accept4: ${errnoName()}`);
    continue;
  }
  n += 1;
  const said = say(fd);
  if (said !== work.expected) wrong.add(said);
  sys.close(fd);
}
parentPort?.postMessage([...wrong]);

function say(fd: number): string {
  if (work.originalDstMapFd === undefined) {
    const v4 = address.readUInt16LE(0) === AF_INET;
    const ip = v4 ? address.subarray(4, 8).join('.') : ipFromBytes(address.subarray(8, 24));
    return `${ip}:${address.readUInt16BE(2)}`;
  }
  const to = originalDst(work.originalDstMapFd, fd);
  return to ? `${to.ip}:${to.port}` : 'unknown';
}
