import { JWKS_FOLDER } from '../../lib/jwks-folder.ts';
import { errorText } from '../../lib/loam-error.ts';
import { type KeySet, parseJwks } from './jwks.ts';
import { JwksEntry, type JwksState, type JwksTiming, type KeySource, type OnFetch } from './jwks-entry.ts';
import { type AddressCheck, isWithin } from './jwks-load.ts';

const DEFAULT_TIMING: JwksTiming = {
  refreshMs: 5 * 60_000,
  fileCheckMs: 1_000,
  unknownKeyMs: 5_000,
  retry: { initialMs: 1_000, maxMs: 60_000 },
};
const DEFAULT_TIMEOUT_MS = 5_000;
const MAX_TIMEOUT_MS = 30_000;

export interface JwksCacheOptions {
  /** Which addresses keys may be fetched from; all but special ones where nothing is said. */
  readonly check?: AddressCheck;
  /** Below which files of keys are; without a slash at its end. */
  readonly folder?: string;
  readonly timing?: Partial<JwksTiming>;
  /** Told of each fetch. */
  readonly onFetch?: OnFetch;
}

/** Where a rule's keys come from: `jwks` as a text, else `jwksUri` (http, https or file). */
export interface KeyLocation {
  readonly jwks: string;
  readonly jwksUri: string;
  /** Of one fetch, in milliseconds; 0: the default of 5 s. */
  readonly timeout: number;
}

/** The key sets that rules use, each followed once however many rules name it. */
export class JwksCache {
  readonly #check: AddressCheck | undefined;
  readonly #folder: string;
  readonly #timing: JwksTiming;
  readonly #onFetch: OnFetch;
  readonly #entries = new Map<string, JwksEntry>();

  constructor(options: JwksCacheOptions = {}) {
    this.#check = options.check;
    this.#folder = options.folder ?? JWKS_FOLDER;
    this.#timing = { ...DEFAULT_TIMING, ...options.timing };
    this.#onFetch = options.onFetch ?? (() => undefined);
  }

  /**
   * The keys of a rule, followed from now until {@link release}. A location that cannot be used is a source without
   * keys that says why, so that its tokens are refused.
   */
  acquire({ jwks, jwksUri, timeout }: KeyLocation): KeySource {
    if (jwks !== '') return inlineSource(jwks);
    if (!/^(https?|file):\/\//.test(jwksUri) || !URL.canParse(jwksUri))
      return fixedSource(
        undefined,
        `jwksUri ${JSON.stringify(jwksUri)} is not one of http://, https://, file://`,
      );
    if (jwksUri.startsWith('file:') && !isWithin(this.#folder, jwksUri))
      return fixedSource(undefined, `jwksUri ${JSON.stringify(jwksUri)} is not below ${this.#folder}`);
    const known = this.#entries.get(jwksUri);
    const entry = known ?? new JwksEntry(jwksUri, this.#check, this.#timing, this.#onFetch);
    const timeoutMs = Math.min(MAX_TIMEOUT_MS, timeout === 0 ? DEFAULT_TIMEOUT_MS : timeout);
    entry.timeoutMs = Math.max(entry.timeoutMs, timeoutMs);
    entry.users++;
    if (known === undefined) {
      this.#entries.set(jwksUri, entry);
      entry.start();
    }
    return entry;
  }

  /** Ends one {@link acquire}. After the last one for a URI it is followed no more. */
  release(source: KeySource): void {
    if (!(source instanceof JwksEntry) || this.#entries.get(source.uri) !== source) return;
    source.users--;
    if (source.users > 0) return;
    source.close();
    this.#entries.delete(source.uri);
  }

  /** What is followed, for admin. */
  states(): JwksState[] {
    return [...this.#entries.values()].map(({ state }) => state);
  }

  /** Gives up what is under way and leaves no timer. Sources keep the keys that they have. */
  close(): void {
    for (const entry of this.#entries.values()) entry.close();
    this.#entries.clear();
  }
}

function inlineSource(jwks: string): KeySource {
  try {
    return fixedSource(parseJwks(jwks), undefined);
  } catch (error) {
    return fixedSource(undefined, `jwks: ${errorText(error)}`);
  }
}

function fixedSource(keys: KeySet | undefined, problem: string | undefined): KeySource {
  return {
    current: () => Promise.resolve(keys),
    newerThan: () => Promise.resolve(undefined),
    problem,
  };
}
