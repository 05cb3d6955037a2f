import type { ProxyError } from '../../lib/mesh/hbone/proxy-error.ts';

export type Direction = 'inbound' | 'outbound';

/** A live connection as the registry sees it. */
export interface LiveConnection {
  readonly podUid: string;
  readonly direction: Direction;
  /** Memory that it takes, about: for comparing connections. */
  readonly heldBytes: number;
  /** Asks the policies again, outbound the egress rules; a connection that is no longer allowed ends itself. */
  recheck(): void;
  /** Ends it at once, by reset, and reports the error. Must be harmless on one that ended already. */
  terminate(error: ProxyError): void;
  /** A row for admin. */
  describe(): ConnectionRow;
}

/** One line of GET /connections. */
export interface ConnectionRow {
  readonly id: number;
  readonly podUid: string;
  readonly direction: Direction;
  readonly state: 'opening' | 'open';
  readonly since: string;
  readonly source: EndpointRow;
  /** The waypoint through which it goes, or came. */
  readonly via?: string;
  readonly destination: EndpointRow & { readonly service?: string; readonly hboneAddress?: string };
  readonly bytesSent: number;
  readonly bytesReceived: number;
}

export interface EndpointRow {
  readonly address: string;
  readonly workload?: string;
  readonly namespace?: string;
  readonly identity?: string;
}

/**
 * Every connection that lives, from before its first policy check: a policy that changes while the check waits, or
 * right after it, finds the connection here, so that none slips through between check and use.
 */
export class ConnectionRegistry {
  readonly #live = new Set<LiveConnection>();
  readonly #perPod = new Map<string, number>();
  #recheckScheduled = false;

  /** @returns takes it out again; to be called exactly once */
  register(connection: LiveConnection): () => void {
    this.#live.add(connection);
    this.#perPod.set(connection.podUid, this.countOf(connection.podUid) + 1);
    return () => {
      if (!this.#live.delete(connection)) return;
      const rest = this.countOf(connection.podUid) - 1;
      if (rest > 0) this.#perPod.set(connection.podUid, rest);
      else this.#perPod.delete(connection.podUid);
    };
  }

  get size(): number {
    return this.#live.size;
  }

  live(): Iterable<LiveConnection> {
    return this.#live;
  }

  countOf(podUid: string): number {
    return this.#perPod.get(podUid) ?? 0;
  }

  /** Policies or workloads changed: asks again for all, once for all changes of this turn of the event loop. */
  recheckSoon(): void {
    if (this.#recheckScheduled) return;
    this.#recheckScheduled = true;
    setImmediate(() => {
      this.#recheckScheduled = false;
      for (const connection of [...this.#live]) connection.recheck();
    });
  }

  terminatePod(podUid: string, error: ProxyError): void {
    for (const connection of [...this.#live]) {
      if (connection.podUid === podUid) connection.terminate(error);
    }
  }

  terminateAll(error: ProxyError): void {
    for (const connection of [...this.#live]) connection.terminate(error);
  }

  rows(): ConnectionRow[] {
    return [...this.#live].map((connection) => connection.describe());
  }

  /** Live connections of each direction. */
  counts(): Record<Direction, number> {
    const counts = { inbound: 0, outbound: 0 };
    for (const connection of this.#live) counts[connection.direction] += 1;
    return counts;
  }
}
