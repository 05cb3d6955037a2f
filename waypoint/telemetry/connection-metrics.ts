import type { WaypointFlag } from './response-flags.ts';
import { flagsLabel } from './request-metrics.ts';
import { SeriesTable, type Series, type SeriesBatch } from './series-table.ts';
import {
  PEER_LABELS,
  peerLabelValues,
  securityPolicy,
  UNKNOWN,
  unknownPeers,
  type Peers,
} from './workload-labels.ts';

/** Labels of the TCP metrics, for connections whose protocol the waypoint does not read. */
export const CONNECTION_LABELS = [
  ...PEER_LABELS,
  'request_protocol',
  'response_flags',
  'connection_security_policy',
] as const;

const FLAGS_AT = CONNECTION_LABELS.indexOf('response_flags');

export interface ConnectionCounts {
  opened: number;
  closed: number;
  failed: number;
  /** Bytes to the client: Istio's metric counts response bytes as sent. */
  sent: number;
  received: number;
}

/** Metrics of opaque TCP connections of one worker thread. */
export class ConnectionMetrics {
  readonly #table: SeriesTable<ConnectionCounts>;

  constructor(maxLabelSets?: number) {
    this.#table = new SeriesTable({
      zero: () => ({ opened: 0, closed: 0, failed: 0, sent: 0, received: 0 }),
      overflow: [...unknownPeers(), 'tcp', '-', UNKNOWN],
      ...(maxLabelSets !== undefined && { maxLabelSets }),
    });
  }

  /** Counts a connection that was opened up to its endpoint; the handle takes its bytes and its end. */
  open(peers: Peers): ConnectionHandle {
    const labels = connectionLabelValues(peers);
    return new ConnectionHandle(this.#table, this.#table.get(labels), labels);
  }

  /** Counts a connection that could not be opened. */
  refused(peers: Peers, flags: readonly WaypointFlag[]): void {
    const series = this.#table.get(withFlags(connectionLabelValues(peers), flags));
    series.counts.failed += 1;
    this.#table.touch(series);
  }

  takeBatch(evict: boolean, now: number = performance.now()): SeriesBatch<ConnectionCounts> {
    const evicted = evict ? this.#table.evict(now) : [];
    return { changed: this.#table.take(now), evicted: evicted.map(({ labels }) => labels) };
  }
}

/** One open connection: additions cost no look-up. */
export class ConnectionHandle {
  readonly #table: SeriesTable<ConnectionCounts>;
  readonly #series: Series<ConnectionCounts>;
  readonly #labels: readonly string[];
  #ended = false;

  constructor(
    table: SeriesTable<ConnectionCounts>,
    series: Series<ConnectionCounts>,
    labels: readonly string[],
  ) {
    this.#table = table;
    this.#series = series;
    this.#labels = labels;
    series.held += 1;
    series.counts.opened += 1;
    table.touch(series);
  }

  /** Bytes from the client. */
  request(bytes: number): void {
    this.#series.counts.received += bytes;
    this.#table.touch(this.#series);
  }

  /** Bytes to the client. */
  response(bytes: number): void {
    this.#series.counts.sent += bytes;
    this.#table.touch(this.#series);
  }

  /** The end; a second call does nothing. With flags, it is counted as failed too. */
  close(flags: readonly WaypointFlag[]): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#series.held -= 1;
    const series = this.#table.get(withFlags(this.#labels, flags));
    series.counts.closed += 1;
    if (flags.length > 0) series.counts.failed += 1;
    this.#table.touch(series);
  }
}

/** The values of {@link CONNECTION_LABELS}, without a flag. */
export function connectionLabelValues(peers: Peers): string[] {
  return [...peerLabelValues(peers), 'tcp', '-', securityPolicy(peers.source)];
}

function withFlags(labels: readonly string[], flags: readonly WaypointFlag[]): string[] {
  return labels.with(FLAGS_AT, flagsLabel(flags));
}
