import { closeSync, fstatSync, openSync, renameSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { makePrivateDir } from './files.ts';

/** Logs lie in memory (/run is a tmpfs): one file and one older beside it, of this size each. */
const LOG_MAX_BYTES = 4 << 20;

/** A log file that never grows beyond its cap: the older half is kept as `<path>.1`. */
export class LogFile {
  readonly path: string;
  readonly #maxBytes: number;
  #fd: number;
  #size: number;

  constructor(path: string, maxBytes = LOG_MAX_BYTES) {
    makePrivateDir(dirname(path));
    this.path = path;
    this.#maxBytes = maxBytes;
    this.#fd = openSync(path, 'a', 0o600);
    this.#size = fstatSync(this.#fd).size;
  }

  write(chunk: Uint8Array | string): void {
    if (this.#fd < 0) return;
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    try {
      if (this.#size > 0 && this.#size + bytes.length > this.#maxBytes) this.#rotate();
      writeSync(this.#fd, bytes);
      this.#size += bytes.length;
    } catch {
      // A full /run must not end the mesh: the line is lost, the next may fit.
    }
  }

  line(text: string): void {
    this.write(`${new Date().toISOString()} ${text}\n`);
  }

  close(): void {
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
  }

  #rotate(): void {
    closeSync(this.#fd);
    renameSync(this.path, `${this.path}.1`);
    this.#fd = openSync(this.path, 'a', 0o600);
    this.#size = 0;
  }
}
