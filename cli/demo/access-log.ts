import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { StringDecoder } from 'node:string_decoder';

const CHUNK_BYTES = 256 << 10;
/** A line longer than this is none of ours. */
const LINE_MAX = 64 << 10;

/** A finished connection as one of its two ztunnels logged it. */
export interface AccessLine {
  readonly direction: 'inbound' | 'outbound';
  /** `namespace/pod`; absent when the mesh knows no workload with that address. */
  readonly source?: string;
  readonly destination?: string;
  /** `address:port` of the destination, as far as this side knows it. */
  readonly destinationAddress?: string;
  /** Host name of the Service that was dialled, where it was one. */
  readonly service?: string;
  /** `namespace/name` of the waypoint to which it went in place of the Service's pods. */
  readonly via?: string;
  /** Proved by the TLS handshake; absent in plaintext. */
  readonly sourceIdentity?: string;
  readonly destinationIdentity?: string;
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly durationMs: number;
  /** In ms since the epoch. */
  readonly beganAt?: number;
  readonly error?: string;
  readonly flags?: string;
  readonly policy?: string;
}

/** A text that is not empty. */
export function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

/** `namespace/name` of the workload at one end of a line. */
export function workload(line: Record<string, unknown>, side: 'src' | 'dst'): string | undefined {
  const name = text(line[`${side}.workload`]);
  return name === undefined ? undefined : `${text(line[`${side}.namespace`]) ?? ''}/${name}`;
}

/** `shop/waypoint` of `shop/waypoint.shop.svc.cluster.local`, as ztunnel names a Service. */
function waypointOf(service: string | undefined): string | undefined {
  return service?.split('.')[0];
}

/** One line of a log as an object; undefined when it is none. */
export function readJsonLine(json: string): Record<string, unknown> | undefined {
  try {
    const line: unknown = JSON.parse(json);
    return typeof line === 'object' && line !== null ? (line as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** Reads one line of a ztunnel's log; undefined when it is not the end of a connection. */
export function parseAccessLine(json: string): AccessLine | undefined {
  const line = readJsonLine(json);
  if (line === undefined) return undefined;
  const { direction, bytes_sent: sent, bytes_recv: received } = line;
  if (line['scope'] !== 'access' || (direction !== 'inbound' && direction !== 'outbound')) return undefined;
  if (typeof sent !== 'number' || typeof received !== 'number') return undefined;
  const durationMs = parseFloat(text(line['duration']) ?? '0') || 0;
  const optional = {
    beganAt: typeof line['time'] === 'number' ? line['time'] - durationMs : undefined,
    source: workload(line, 'src'),
    destination: workload(line, 'dst'),
    destinationAddress: text(line['dst.addr']),
    service: text(line['dst.service']),
    via: waypointOf(text(line['via'])),
    sourceIdentity: text(line['src.identity']),
    destinationIdentity: text(line['dst.identity']),
    error: text(line['error']),
    flags: text(line['response_flags']),
    policy: text(line['policy']),
  };
  return {
    direction,
    bytesSent: sent,
    bytesReceived: received,
    durationMs,
    ...(Object.fromEntries(
      Object.entries(optional).filter(([, value]) => value !== undefined),
    ) as Partial<AccessLine>),
  };
}

/**
 * Whether a connection counts for who watches since a moment: one that had begun before, while the mesh came up, and then
 * failed says nothing of the mesh that is watched.
 */
export function countsSince({ error, beganAt }: AccessLine, since: number): boolean {
  return error === undefined || beganAt === undefined || beganAt >= since;
}

/** Follows a log file that is rotated by renaming. */
export class LogTail {
  readonly #path: string;
  #fd = -1;
  #inode = -1;
  #offset = 0;
  #rest = '';
  #decoder = new StringDecoder('utf8');

  /** @param from where to begin: with what is there already, or after it */
  constructor(path: string, from: 'start' | 'end') {
    this.#path = path;
    if (from === 'end' && this.#open()) this.#offset = fstatSync(this.#fd).size;
  }

  /** The whole lines that were added since the last call. */
  read(): string[] {
    if (this.#fd < 0 && !this.#open()) return [];
    const lines = this.#readOpen();
    // The old file is read to its end before the new one is looked at.
    if (this.#replaced()) {
      closeSync(this.#fd);
      this.#fd = -1;
      if (this.#open()) lines.push(...this.#readOpen());
    }
    return lines;
  }

  close(): void {
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
  }

  #open(): boolean {
    try {
      this.#fd = openSync(this.#path, 'r');
    } catch {
      return false;
    }
    this.#inode = fstatSync(this.#fd).ino;
    this.#offset = 0;
    return true;
  }

  #replaced(): boolean {
    try {
      const fd = openSync(this.#path, 'r');
      const { ino } = fstatSync(fd);
      closeSync(fd);
      return ino !== this.#inode;
    } catch {
      return false;
    }
  }

  #readOpen(): string[] {
    const lines: string[] = [];
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
    for (;;) {
      const length = readSync(this.#fd, chunk, 0, CHUNK_BYTES, this.#offset);
      if (length === 0) return lines;
      this.#offset += length;
      const parts = (this.#rest + this.#decoder.write(chunk.subarray(0, length))).split('\n');
      this.#rest = (parts.pop() ?? '').slice(-LINE_MAX);
      lines.push(...parts);
    }
  }
}
