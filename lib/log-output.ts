import { closeSync, constants, fstatSync, openSync, write, writeSync } from 'node:fs';

/** What may wait for a reader that stalls; further lines are dropped, and their number is told once it reads again. */
const MAX_WAITING_CHARS = 8 * 1024 * 1024;
const MAX_CHUNK_CHARS = 256 * 1024;
/** Until the next try, for a pipe that is full. */
const FULL_RETRY_MS = 50;
/** Until the next try, for a disk that is full or a reader that went away. */
const BROKEN_RETRY_MS = 1_000;
/** A write under way for longer is held up by the reader. */
const STALLED_MS = 100;
const WARN_LEVEL = 40;

interface Chunk {
  readonly bytes: Buffer;
  /** How many lines are lost when it cannot be written. */
  readonly lines: number;
}

/**
 * Where log lines go. Never throws, waits for nobody and stays within its bound, whatever becomes of the other end: a
 * full disk or a reader that stalls costs log lines, and no connection. (pino's own destination throws in the first case
 * and grows in the second, and at exit it tries for ever.)
 */
export class LogOutput {
  readonly #given: number;
  readonly #fd: number;
  /** A write may be held up for as long as the other end likes, and ours with it. */
  readonly #mayBlock: boolean;
  #lines: string[] = [];
  #waiting = 0;
  #lost = 0;
  #chunk: Chunk | undefined;
  #writing = false;
  #writingSince = 0;
  #retry: NodeJS.Timeout | undefined;

  /** @param fd stays the caller's */
  constructor(fd: number) {
    this.#given = fd;
    this.#fd = nonBlocking(fd);
    this.#mayBlock = this.#fd === fd && !isFile(fd);
  }

  /** Takes one line, with its line feed. */
  write(line: string): void {
    if (this.#waiting + line.length > MAX_WAITING_CHARS) {
      this.#lost += 1;
      return;
    }
    this.#lines.push(line);
    this.#waiting += line.length;
    if (!this.#writing && this.#retry === undefined) this.#pump();
  }

  /** Before the process ends: writes what the other end takes at once. */
  flushSync(): void {
    if (this.#writing) {
      // Another thread has the chunk. Where its write may block and does, ours would too, for ever; but that its end was
      // not seen yet may also mean that this thread was busy, as before the last words of a start that fails.
      if (this.#mayBlock && performance.now() - this.#writingSince > STALLED_MS) return;
      this.#chunk = undefined;
    }
    try {
      for (let chunk = this.#next(); chunk !== undefined; chunk = this.#next()) {
        this.#chunk = remainder(chunk, writeSync(this.#fd, chunk.bytes));
      }
    } catch {
      // Full or gone: there is nobody to tell.
    }
  }

  /** Ends its retries; what waits is dropped. */
  close(): void {
    clearTimeout(this.#retry);
    this.#lines = [];
    if (this.#fd !== this.#given) closeSync(this.#fd);
  }

  #pump(): void {
    this.#retry = undefined;
    const chunk = this.#next();
    if (chunk === undefined) return;
    this.#writing = true;
    this.#writingSince = performance.now();
    write(this.#fd, chunk.bytes, 0, chunk.bytes.length, null, (error, written) => {
      this.#writing = false;
      if (error === null) {
        this.#chunk = remainder(chunk, written);
        this.#pump();
      } else if (error.code === 'EAGAIN') {
        this.#retryIn(FULL_RETRY_MS);
      } else {
        this.#chunk = undefined;
        this.#lost += chunk.lines;
        this.#retryIn(BROKEN_RETRY_MS);
      }
    });
  }

  #retryIn(ms: number): void {
    this.#retry = setTimeout(() => this.#pump(), ms).unref();
  }

  /** What is to be written next: the rest of the last chunk, else as many lines as fit one. */
  #next(): Chunk | undefined {
    if (this.#chunk !== undefined) return this.#chunk;
    let count = 0;
    let length = 0;
    for (const line of this.#lines) {
      if (count > 0 && length + line.length > MAX_CHUNK_CHARS) break;
      count += 1;
      length += line.length;
    }
    if (count === 0) return undefined;
    const lost = this.#lost;
    const notice =
      lost === 0
        ? ''
        : `${JSON.stringify({ level: WARN_LEVEL, time: Date.now(), lost, msg: 'log lines were lost' })}\n`;
    this.#lost = 0;
    this.#waiting -= length;
    const bytes = Buffer.from(notice + this.#lines.splice(0, count).join(''));
    // A notice that cannot be written either stands for the lines that it tells of.
    this.#chunk = { bytes, lines: count + lost };
    return this.#chunk;
  }
}

function remainder(chunk: Chunk, written: number): Chunk | undefined {
  return written === chunk.bytes.length ? undefined : { ...chunk, bytes: chunk.bytes.subarray(written) };
}

/**
 * A pipe or terminal may be shared with others who want it to block, so it is opened anew. Files never block for long;
 * a socket, which cannot be opened anew, is used as it is.
 */
function nonBlocking(fd: number): number {
  try {
    const stat = fstatSync(fd);
    if (!stat.isFIFO() && !stat.isCharacterDevice()) return fd;
    return openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch {
    return fd;
  }
}

function isFile(fd: number): boolean {
  try {
    return fstatSync(fd).isFile();
  } catch {
    return false;
  }
}
