import { ProxyError } from '../../lib/mesh/hbone/proxy-error.ts';
import type { ConnectionRegistry, LiveConnection } from './connection-registry.ts';

/** What a connection costs by itself, about: sockets and streams of both ends, and what is remembered of it. */
export const CONNECTION_BYTES = 32 * 1024;
/** So much is freed for one more connection: what it costs, and what may come to wait in it. */
const ROOM_BYTES = 512 * 1024;
/** Of the limit. Whoever holds less is not why memory is scarce, and to cut it would free nothing to speak of. */
const LEAST_SHARE = 0.1;
/** For so long one look at all connections counts, since each new one may ask. */
const LOOK_COUNTS_MS = 100;

export interface MemoryReliefOptions {
  readonly registry: ConnectionRegistry;
  /** The limit, in bytes, that memory is scarce by. */
  readonly limit: () => number;
  /** A pod has lost so many connections. */
  readonly onCut: (podUid: string, connections: number) => void;
}

interface Holding {
  bytes: number;
  readonly connections: LiveConnection[];
  sorted: boolean;
}

/**
 * Divides scarce memory among the node's pods, as far as their connections hold it. A pod that holds less than an equal
 * part gets one more connection, for which the pod that holds most loses those in which most waits: else one that opens
 * connections and does not read them would keep all others from theirs for as long as it likes (docs/decisions/0109).
 */
export class MemoryRelief {
  readonly #options: MemoryReliefOptions;
  /** By pod, as of the last look while that counts. */
  #holdings: Map<string, Holding> | undefined;
  #total = 0;

  constructor(options: MemoryReliefOptions) {
    this.#options = options;
  }

  /** To be asked while memory is scarce. @returns whether there is room now for one more connection of this pod */
  makeRoomFor(podUid: string): boolean {
    const holdings = (this.#holdings ??= this.#look());
    const own = holdings.get(podUid)?.bytes ?? 0;
    const equal = this.#total / (holdings.size + (holdings.has(podUid) ? 0 : 1));
    const [greediest, holding] = greediestOf(holdings);
    if (holding === undefined || own >= equal || holding.bytes < LEAST_SHARE * this.#options.limit())
      return false;
    const freed = this.#cut(greediest, holding, Math.min(ROOM_BYTES, holding.bytes - equal));
    if (freed === 0) return false;
    this.#hold(holdings, podUid, CONNECTION_BYTES);
    return true;
  }

  #look(): Map<string, Holding> {
    const holdings = new Map<string, Holding>();
    this.#total = 0;
    for (const connection of this.#options.registry.live())
      this.#hold(holdings, connection.podUid, connection.heldBytes).connections.push(connection);
    setTimeout(() => (this.#holdings = undefined), LOOK_COUNTS_MS).unref();
    return holdings;
  }

  #hold(holdings: Map<string, Holding>, podUid: string, bytes: number): Holding {
    let holding = holdings.get(podUid);
    if (holding === undefined) holdings.set(podUid, (holding = { bytes: 0, connections: [], sorted: false }));
    holding.bytes += bytes;
    this.#total += bytes;
    return holding;
  }

  /** At least one, where there is one. @returns how much they held */
  #cut(podUid: string, holding: Holding, wanted: number): number {
    if (!holding.sorted) holding.connections.sort((a, b) => a.heldBytes - b.heldBytes);
    holding.sorted = true;
    let freed = 0;
    let count = 0;
    while (freed < wanted || count === 0) {
      const connection = holding.connections.pop();
      if (connection === undefined) break;
      freed += connection.heldBytes;
      count += 1;
      connection.terminate(
        new ProxyError('MEMORY_SCARCE', 'cut, since memory is scarce and its pod holds the most of it'),
      );
    }
    holding.bytes -= freed;
    this.#total -= freed;
    if (count > 0) this.#options.onCut(podUid, count);
    return freed;
  }
}

function greediestOf(holdings: ReadonlyMap<string, Holding>): [string, Holding | undefined] {
  let found: [string, Holding | undefined] = ['', undefined];
  for (const [podUid, holding] of holdings)
    if (holding.bytes > (found[1]?.bytes ?? 0)) found = [podUid, holding];
  return found;
}
