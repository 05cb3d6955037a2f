import { type Logger, symbols } from 'pino';
import type { LogFormat } from './model.ts';

/** One line of an access log; `undefined` fields are not written. */
export interface AccessRecord {
  readonly level: 'info' | 'warn' | 'error' | 'debug';
  readonly message: string;
  readonly fields: Readonly<Record<string, string | number | undefined>>;
  /** Absent: JSON. */
  readonly format?: LogFormat;
}

/** The record once for each form. */
export function inForms(record: AccessRecord, forms: readonly LogFormat[]): AccessRecord[] {
  return forms.map((format) => (format === 'json' ? record : { ...record, format }));
}

/** Where lines of the access log go: among those of the program, told from them by their scope. */
export class AccessLog {
  readonly #log: Logger;
  readonly #stream: { write(line: string): void };

  constructor(log: Logger) {
    this.#log = log.child({ scope: 'access' });
    this.#stream = (log as unknown as Record<symbol, { write(line: string): void }>)[symbols.streamSym] ?? {
      write: () => undefined,
    };
  }

  write(record: AccessRecord): void {
    const { level, message, fields, format } = record;
    if (format !== 'text') this.#log[level](fields, message);
    else if (this.#log.isLevelEnabled(level)) this.#stream.write(textLine(record, new Date()));
  }
}

/** A line as people read it, with Istio's ztunnel's columns: time, level, scope, message, fields. */
export function textLine({ level, message, fields }: AccessRecord, at: Date): string {
  const words = Object.entries(fields).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}=${typeof value === 'number' ? value : word(value)}`],
  );
  return `${at.toISOString()}\t${level}\taccess\t${message}\t${words.join(' ')}\n`;
}

/** In quotation marks where it could be taken for something else; what cannot be seen is escaped. */
function word(text: string): string {
  if (/^[\x21\x23-\x3c\x3e-\x7e]+$/.test(text)) return text;
  return JSON.stringify(text).replace(UNSEEN, escaped);
}

/** What JSON leaves as it is, and terminals obey: controls of one byte, other ends of lines, changes of direction. */
const UNSEEN = /[\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
