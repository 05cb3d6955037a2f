import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DirectoryWatch } from './directory-watch.ts';
import { type LimitedRead, readLimited } from './read-limited.ts';

export interface WatchedFileOptions {
  readonly path: string;
  readonly maxBytes: number;
  /** Called with the first content and after each change of it; also when the file cannot be read (any more). */
  readonly onRead: (read: LimitedRead) => void;
}

/** Its writers replace it by rename, in one step. Counted from the first event: in its directory others may write all the time. */
const DEBOUNCE_MS = 10;
const POLL_MS = 500;

/** Follows one small file, level-triggered: watched for speed, looked at from time to time for certainty. */
export class WatchedFile {
  readonly #options: WatchedFileOptions;
  readonly #watch: DirectoryWatch;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;
  #last: string | undefined;
  #signature = '';
  #reading = false;
  #again = false;
  #hinted = false;

  constructor(options: WatchedFileOptions) {
    this.#options = options;
    this.#watch = new DirectoryWatch(() => this.#hint());
  }

  /** Reads it once; then follows it until closed. */
  async start(): Promise<void> {
    await this.#look();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#watch.close();
  }

  #hint(): void {
    if (this.#hinted) return;
    this.#hinted = true;
    this.#schedule(DEBOUNCE_MS);
  }

  #schedule(delayMs: number): void {
    if (this.#closed) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#look(), delayMs);
  }

  async #look(): Promise<void> {
    if (this.#closed) return;
    if (this.#reading) {
      this.#again = true;
      return;
    }
    this.#reading = true;
    this.#again = false;
    this.#hinted = false;
    // The directory may be replaced too: its watch is made anew when it is lost.
    this.#watch.set([dirname(this.#options.path)]);
    const { path, maxBytes, onRead } = this.#options;
    const signature = await signatureOf(path);
    if (signature !== this.#signature || signature === '') {
      const read = await readLimited(path, maxBytes);
      const text = read.ok ? `ok ${read.text}` : `error ${read.error}`;
      this.#signature = signature;
      if (text !== this.#last && !this.#closed) {
        this.#last = text;
        onRead(read);
      }
    }
    this.#reading = false;
    // A hint that came meanwhile is answered at once, not with the next look.
    this.#schedule(this.#again || this.#hinted ? DEBOUNCE_MS : POLL_MS);
  }
}

/** Empty when there is no telling whether it changed: absent, or changed so lately that the time stamp may repeat. */
async function signatureOf(path: string): Promise<string> {
  try {
    const info = await stat(path, { bigint: true });
    if (Date.now() - Number(info.ctimeMs) < 2 * POLL_MS) return '';
    return `${info.dev}:${info.ino}:${info.size}:${info.mtimeNs}:${info.ctimeNs}`;
  } catch {
    return '';
  }
}
