/** Reading the map of observed connections, many at a time: it may have tens of thousands. */
import { BpfError } from './errors.ts';
import { buffer } from './layout.ts';
import { ENOENT, errnoName, lastErrno, libbpf } from './libbpf.ts';
import {
  changedAt,
  isOverAt,
  netnsAt,
  OBSERVED_CONNECTION_BYTES,
  readObserved,
  type ObservedConnection,
} from './observe-layout.ts';

/** More than any bucket of the map has. */
const BATCH = 2048;
const KEY_BYTES = 8;
/** The map may grow while it is walked; it ends all the same. */
const MAX_BATCHES = 256;

/**
 * Walks the map once, and takes out the connections that are over and those of pods that are not observed any more.
 *
 * @param since only what changed from then on is told; ns of the kernel's monotonic clock
 * @returns what changed, and how many entries each pod has left
 */
export function walkConnections(
  fd: number,
  since: bigint,
  isObserved: (netns: bigint) => boolean,
): { readonly changed: ObservedConnection[]; readonly held: ReadonlyMap<bigint, number> } {
  const keys = buffer(BATCH * KEY_BYTES);
  const values = buffer(BATCH * OBSERVED_CONNECTION_BYTES);
  const [count, next] = [buffer(4), buffer(KEY_BYTES)];
  const changed: ObservedConnection[] = [];
  const held = new Map<bigint, number>();
  const gone: bigint[] = [];
  let from: Buffer | null = null;
  for (let i = 0; i < MAX_BATCHES; i += 1) {
    count.writeUInt32LE(BATCH, 0);
    const isLast = libbpf().lookupBatch(fd, from, next, keys, values, count, null) !== 0;
    if (isLast && lastErrno() !== ENOENT) fail('walk');
    for (let n = 0; n < count.readUInt32LE(0); n += 1) {
      const at = n * OBSERVED_CONNECTION_BYTES;
      const cookie = keys.readBigUInt64LE(n * KEY_BYTES);
      const netns = netnsAt(values, at);
      const isWanted = isObserved(netns);
      const isOver = isOverAt(values, at);
      if (isWanted && changedAt(values, at) >= since) changed.push(readObserved(cookie, values, at));
      if (isOver || !isWanted) gone.push(cookie);
      else held.set(netns, (held.get(netns) ?? 0) + 1);
    }
    if (isLast) break;
    from = Buffer.from(next);
  }
  takeOut(fd, gone);
  return { changed, held };
}

function takeOut(fd: number, cookies: readonly bigint[]): void {
  const count = buffer(4);
  for (let begin = 0; begin < cookies.length; begin += BATCH) {
    const some = cookies.slice(begin, begin + BATCH);
    const keys = buffer(some.length * KEY_BYTES);
    some.forEach((cookie, i) => keys.writeBigUInt64LE(cookie, i * KEY_BYTES));
    count.writeUInt32LE(some.length, 0);
    if (libbpf().deleteBatch(fd, keys, count, null) !== 0 && lastErrno() !== ENOENT) fail('delete');
  }
}

function fail(what: string): never {
  const errno = lastErrno();
  throw new BpfError('BPF_MAP', `${what} in map observed_connections: failed with ${errnoName(errno)}`, {
    errno,
  });
}
