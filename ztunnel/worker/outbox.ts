import type { MessagePort } from 'node:worker_threads';
import type { AccessRecord } from '../../lib/mesh/telemetry/access-log.ts';
import type { SpanRecord } from '../../lib/mesh/telemetry/span.ts';
import type { Log } from '../proxy/mesh.ts';
import type { LogLevel } from '../../lib/mesh/log.ts';
import type { FromWorker } from './messages.ts';

const FLUSH_MS = 50;
/** Lines that wait at once; beyond it the oldest are kept and a count of the lost ones is reported. */
const MAX_WAITING = 20_000;
const MAX_SPANS = 4_096;
const RANK: Record<LogLevel, number> = { debug: 0, info: 1, warn: 2, error: 3 };

/** The worker's log and access log: lines travel to the main thread in batches, so that a slow log never stops a connection. */
export class Outbox {
  readonly #port: MessagePort;
  #level: LogLevel;
  #records: AccessRecord[] = [];
  #lost = 0;
  #spans: SpanRecord[] = [];
  #lostSpans = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(port: MessagePort, level: LogLevel) {
    this.#port = port;
    this.#level = level;
  }

  set level(level: LogLevel) {
    this.#level = level;
  }

  readonly access = (record: AccessRecord): void => {
    if (RANK[record.level] < RANK[this.#level]) return;
    if (this.#records.length >= MAX_WAITING) this.#lost += 1;
    else this.#records.push(record);
    this.#timer ??= setTimeout(() => this.flush(), FLUSH_MS).unref();
  };

  readonly span = (span: SpanRecord): void => {
    if (this.#spans.length >= MAX_SPANS) this.#lostSpans += 1;
    else this.#spans.push(span);
    this.#timer ??= setTimeout(() => this.flush(), FLUSH_MS).unref();
  };

  readonly log: Log = {
    debug: (message, fields) => this.#log('debug', message, fields),
    info: (message, fields) => this.#log('info', message, fields),
    warn: (message, fields) => this.#log('warn', message, fields),
    error: (message, fields) => this.#log('error', message, fields),
  };

  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const records = this.#records;
    this.#records = [];
    if (records.length > 0) this.post({ type: 'access', records });
    if (this.#lost > 0) this.#log('warn', 'access log lines were lost', { lost: this.#lost });
    this.#lost = 0;
    if (this.#spans.length > 0) this.post({ type: 'spans', spans: this.#spans, lost: this.#lostSpans });
    this.#spans = [];
    this.#lostSpans = 0;
  }

  post(message: FromWorker): void {
    this.#port.postMessage(message);
  }

  #log(level: LogLevel, message: string, fields: Readonly<Record<string, unknown>> = {}): void {
    if (RANK[level] >= RANK[this.#level]) this.post({ type: 'log', level, message, fields });
  }
}
