import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { StringDecoder } from 'node:string_decoder';

const EVERY_MS = 200;
const PIECE = 1 << 20;

/** Reads every line of a log of the local mesh while it is written, also those that a rotation (to `<path>.1`) takes away. */
export class LogFollower {
  readonly #path: string;
  readonly #onLine: (line: string) => void;
  readonly #timer: NodeJS.Timeout;
  #decoder = new StringDecoder('utf8');
  #inode = 0;
  #offset = 0;
  #rest = '';

  constructor(path: string, onLine: (line: string) => void) {
    this.#path = path;
    this.#onLine = onLine;
    this.#timer = setInterval(() => this.#poll(), EVERY_MS);
  }

  /** Reads what is there, and ends. */
  stop(): void {
    clearInterval(this.#timer);
    this.#poll();
  }

  #poll(): void {
    const now = statSync(this.#path, { throwIfNoEntry: false });
    if (now === undefined) return;
    if (this.#inode !== 0 && now.ino !== this.#inode) {
      const former = statSync(`${this.#path}.1`, { throwIfNoEntry: false });
      if (former?.ino !== this.#inode) throw new Error(`${this.#path} was rotated twice between two looks`);
      this.#read(`${this.#path}.1`);
      this.#offset = 0;
      this.#decoder = new StringDecoder('utf8');
    }
    this.#inode = now.ino;
    this.#read(this.#path);
  }

  #read(path: string): void {
    const fd = openSync(path, 'r');
    try {
      const piece = Buffer.alloc(PIECE);
      for (let n = PIECE; n === PIECE;) {
        n = readSync(fd, piece, 0, PIECE, this.#offset);
        this.#offset += n;
        this.#take(this.#decoder.write(piece.subarray(0, n)));
      }
    } finally {
      closeSync(fd);
    }
  }

  #take(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) this.#onLine(line);
  }
}
