import { Backoff } from '../../lib/backoff.ts';
import { errorText } from '../../lib/loam-error.ts';
import { type KeySet, parseJwks } from './jwks.ts';
import { type AddressCheck, fetchJwks, type Loaded, readJwksFile } from './jwks-load.ts';

/** Keys of an issuer as authentication asks for them. */
export interface KeySource {
  /** The last good keys. Before the first success it waits for a load that is under way; undefined: there are none. */
  current(): Promise<KeySet | undefined>;
  /**
   * Newer keys than `known`, since a token names one that is not there. At most one load in a few seconds is started
   * for it, whatever tokens say; undefined: there are none newer.
   */
  newerThan(known: KeySet): Promise<KeySet | undefined>;
  /** Why the last load failed; undefined after a success. */
  readonly problem: string | undefined;
}

/** One key set for admin. */
export interface JwksState {
  readonly uri: string;
  readonly keys: number;
  /** When the keys in use were last confirmed. */
  readonly loadedAt: Date | undefined;
  readonly problem: string | undefined;
  readonly failuresInARow: number;
}

export interface JwksTiming {
  /** Between loads from a URL. */
  readonly refreshMs: number;
  /** Between looks at a file. */
  readonly fileCheckMs: number;
  /** Least time between loads for unknown keys. */
  readonly unknownKeyMs: number;
  readonly retry: { readonly initialMs: number; readonly maxMs: number };
}

/** What became of a fetch from a URL; a look at a file is none. */
export type OnFetch = (uri: string, outcome: 'success' | 'failure') => void;

/** Follows one URI in the background. */
export class JwksEntry implements KeySource {
  readonly uri: string;
  /** Of one fetch; the largest that a rule asks for. */
  timeoutMs = 0;
  users = 0;
  readonly #check: AddressCheck | undefined;
  readonly #onFetch: OnFetch;
  readonly #timing: JwksTiming;
  readonly #backoff: Backoff;
  readonly #abort = new AbortController();
  #keys: KeySet | undefined;
  #version: string | undefined;
  #loadedAt: Date | undefined;
  #problem: string | undefined;
  #failures = 0;
  #loading: Promise<void> | undefined;
  #lastAttempt = -Infinity;
  #timer: NodeJS.Timeout | undefined;

  constructor(uri: string, check: AddressCheck | undefined, timing: JwksTiming, onFetch: OnFetch) {
    this.uri = uri;
    this.#onFetch = onFetch;
    this.#check = check;
    this.#timing = timing;
    this.#backoff = new Backoff(timing.retry);
  }

  get problem(): string | undefined {
    return this.#problem;
  }

  get state(): JwksState {
    return {
      uri: this.uri,
      keys: this.#keys?.size ?? 0,
      loadedAt: this.#loadedAt,
      problem: this.#problem,
      failuresInARow: this.#failures,
    };
  }

  start(): void {
    void this.#load();
  }

  async current(): Promise<KeySet | undefined> {
    if (this.#keys === undefined) await this.#loading;
    return this.#keys;
  }

  async newerThan(known: KeySet): Promise<KeySet | undefined> {
    if (this.#keys === known) {
      const wait = this.#timing.unknownKeyMs - (performance.now() - this.#lastAttempt);
      if (this.#loading !== undefined || wait <= 0) await this.#load();
    }
    return this.#keys === known ? undefined : this.#keys;
  }

  close(): void {
    this.#abort.abort();
    clearTimeout(this.#timer);
  }

  /** One load at a time: whoever asks meanwhile waits for the same. Never rejects. */
  #load(): Promise<void> {
    this.#loading ??= this.#loadOnce().finally(() => (this.#loading = undefined));
    return this.#loading;
  }

  async #loadOnce(): Promise<void> {
    clearTimeout(this.#timer);
    this.#lastAttempt = performance.now();
    let wait: number;
    try {
      const loaded = await this.#read();
      if (loaded !== undefined) {
        this.#keys = parseJwks(loaded.text);
        this.#version = loaded.version;
      }
      this.#loadedAt = new Date();
      this.#problem = undefined;
      this.#failures = 0;
      this.#backoff.reset();
      if (!this.#isFile) this.#onFetch(this.uri, 'success');
      wait = this.#isFile ? this.#timing.fileCheckMs : this.#timing.refreshMs * (0.9 + 0.2 * Math.random());
    } catch (error) {
      // A fetch that nobody wants any more has not failed.
      if (!this.#isFile && !this.#abort.signal.aborted) this.#onFetch(this.uri, 'failure');
      // The last good keys stay in use: an issuer that cannot be asked has not withdrawn them.
      this.#problem = errorText(error);
      this.#failures++;
      wait = this.#isFile ? this.#timing.fileCheckMs : this.#backoff.next();
    }
    if (this.#abort.signal.aborted) return;
    this.#timer = setTimeout(() => void this.#load(), wait);
    this.#timer.unref();
  }

  get #isFile(): boolean {
    return this.uri.startsWith('file:');
  }

  #read(): Promise<Loaded | undefined> {
    if (this.#isFile) return readJwksFile(this.uri, this.#version);
    return fetchJwks(this.uri, {
      ...(this.#check !== undefined && { check: this.#check }),
      timeoutMs: this.timeoutMs,
      signal: this.#abort.signal,
    });
  }
}
