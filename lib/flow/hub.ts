import type { ServerResponse } from 'node:http';
import { FLOW_SCHEMA, isNotable, type EventsWanted, type FlowRecord, type Hello } from './event.ts';
import { EVENTS_PER_SECOND, WINDOW_MS, type FlowBatch, type WatchLevel } from './recorder.ts';

/** Streams at the same time. */
const MAX_READERS = 8;
/** What may wait for one reader; while more does, it gets nothing, and is told how much it missed. */
const MAX_WAITING_BYTES = 4 * 1024 * 1024;

export interface FlowHubOptions {
  readonly hello: Pick<Hello, 'program' | 'version' | 'node' | 'gateway'>;
  /** Tells all workers what is watched now. */
  readonly watch: (level: WatchLevel) => void;
}

interface Reader {
  readonly response: ServerResponse;
  readonly wanted: EventsWanted;
  lostEvents: number;
  lostWindows: number;
}

/**
 * The main thread's side of the flow stream: hands on what the workers record to whoever watches. A slow reader loses
 * lines, which are counted and told, and holds up nobody. Without readers the workers record nothing.
 */
export class FlowHub {
  readonly #options: FlowHubOptions;
  readonly #readers = new Set<Reader>();
  #level: WatchLevel = 'off';

  constructor(options: FlowHubOptions) {
    this.#options = options;
  }

  /**
   * Begins a stream on a response whose head is not written yet. It ends when its reader goes, or with {@link close}.
   *
   * @returns whether there was room for it; else nothing was written
   */
  serve(response: ServerResponse, wanted: EventsWanted): boolean {
    if (this.#readers.size >= MAX_READERS) return false;
    const reader: Reader = { response, wanted, lostEvents: 0, lostWindows: 0 };
    response.on('error', () => undefined);
    response.writeHead(200, {
      'content-type': 'application/x-ndjson',
      'x-content-type-options': 'nosniff',
      'cache-control': 'no-store',
    });
    write(reader, [
      {
        kind: 'hello',
        schema: FLOW_SCHEMA,
        ...this.#options.hello,
        at: Date.now(),
        eventsPerSecond: EVENTS_PER_SECOND,
        windowMs: WINDOW_MS,
      },
    ]);
    response.on('close', () => {
      this.#readers.delete(reader);
      this.#settle();
    });
    this.#readers.add(reader);
    this.#settle();
    return true;
  }

  /** Takes over what a worker recorded. */
  apply(batch: FlowBatch): void {
    const { events, lost, window } = batch;
    for (const reader of this.#readers) {
      const wanted =
        reader.wanted === 'all' ? events : reader.wanted === 'notable' ? events.filter(isNotable) : [];
      if (reader.response.writableLength > MAX_WAITING_BYTES) {
        reader.lostEvents += wanted.length + (reader.wanted === 'none' ? 0 : lost);
        if (window !== undefined) reader.lostWindows += 1;
        continue;
      }
      const records: FlowRecord[] = [...wanted, ...(window === undefined ? [] : [window])];
      if (lost > 0 && reader.wanted !== 'none') records.push(lostLine('rate', lost, 0));
      if (reader.lostEvents + reader.lostWindows > 0) {
        records.unshift(lostLine('reader', reader.lostEvents, reader.lostWindows));
        reader.lostEvents = reader.lostWindows = 0;
      }
      write(reader, records);
    }
  }

  /** Another process takes over: readers are to ask it, too. What is served here to its end is still told. */
  leave(): void {
    for (const reader of this.#readers) write(reader, [{ kind: 'leaving', at: Date.now() }]);
  }

  /** Ends all streams. */
  close(): void {
    for (const { response } of this.#readers) response.end();
  }

  #settle(): void {
    const all = [...this.#readers];
    const level = all.length === 0 ? 'off' : all.some((r) => r.wanted !== 'none') ? 'events' : 'windows';
    if (level === this.#level) return;
    this.#level = level;
    this.#options.watch(level);
  }
}

function lostLine(why: 'rate' | 'reader', events: number, windows: number): FlowRecord {
  return { kind: 'lost', at: Date.now(), why, events, windows };
}

function write({ response }: Reader, records: readonly FlowRecord[]): void {
  if (records.length === 0) return;
  response.write(records.map((record) => `${JSON.stringify(record)}\n`).join(''));
}
