import type { Logger } from 'pino';
import { Backoff } from '../backoff.ts';
import { errorText } from '../loam-error.ts';
import type { KubeReads } from './client.ts';
import { hasStatus, KubeApiError } from './errors.ts';
import { Lister } from './list.ts';
import { isResource, type KubeResource, resourceKey } from './resource.ts';
import { parseWatchEvent, WatchEnded } from './watch-event.ts';

export interface ReflectorOptions<T extends KubeResource> {
  readonly client: KubeReads;
  /** Of the collection: `/api/v1/pods`, `/apis/loam.dev/v1/namespaces/shop/egresspolicies`. */
  readonly path: string;
  readonly query?: { readonly fieldSelector?: string; readonly labelSelector?: string };
  /**
   * What is kept of an object; all of it by default. It must keep metadata's name, namespace and uid, and should keep
   * resourceVersion: without it each new list reports every object as changed. When it throws, the object counts as malformed.
   */
  pick?(object: KubeResource): T;
  /** Called once for each change; `now` is undefined for what is gone, `before` for what is new. */
  onChange?(key: string, now: T | undefined, before: T | undefined): void;
  /** Called each time that a whole list has been taken over: the first time, and after each list made anew. */
  onSync?(): void;
  /** Called when `problem` has changed. */
  onProblem?(): void;
  readonly log: Logger;
  /** For tests; see DEFAULT_TIMES. */
  readonly times?: Partial<ReflectorTimes>;
  readonly pageSize?: number;
}

export interface ReflectorTimes {
  /** A watch without a byte for so long is dead. The server sends a bookmark every minute. */
  readonly silenceMs: number;
  /** How long the server is asked to keep a watch up, at least; at most twice that. */
  readonly watchMs: number;
  /** Until a kind that the cluster does not know is looked for again. */
  readonly absentMs: number;
  /** For how long a collection that held objects must be unknown before they count as gone. */
  readonly vanishedMs: number;
  readonly retryMs: number;
  readonly maxRetryMs: number;
}

const DEFAULT_TIMES: ReflectorTimes = {
  silenceMs: 90_000,
  watchMs: 240_000,
  absentMs: 10_000,
  vanishedMs: 30_000,
  retryMs: 200,
  maxRetryMs: 10_000,
};
const PAGE_SIZE = 500;
/** A watch that the server ends sooner than this, and with nothing said, is no good order. */
const SHORT_WATCH_MS = 1_000;

/**
 * Keeps the objects of one collection as the API server has them: a list in pages, then a watch. Whatever goes wrong (the
 * server away, a history that is no more, a connection that has silently died, a line that makes no sense), it keeps what it
 * holds, says why in `problem`, and lists anew. Nothing ends it but `close`.
 */
export class Reflector<T extends KubeResource = KubeResource> {
  readonly #options: ReflectorOptions<T>;
  readonly #times: ReflectorTimes;
  readonly #closed = new AbortController();
  readonly #lister: Lister;
  readonly #backoff: Backoff;
  #objects = new Map<string, T>();
  /** Those whose present state makes no sense: what is held of them is older. */
  #malformed = new Map<string, string>();
  #synced = false;
  #problem: string | undefined;
  #running: Promise<void> | undefined;
  #missingSinceMs: number | undefined;

  constructor(options: ReflectorOptions<T>) {
    this.#options = options;
    this.#times = { ...DEFAULT_TIMES, ...options.times };
    this.#lister = new Lister(
      options.client,
      options.path,
      options.query ?? {},
      options.pageSize ?? PAGE_SIZE,
    );
    this.#backoff = new Backoff({
      initialMs: this.#times.retryMs,
      maxMs: this.#times.maxRetryMs,
      jitter: 0.3,
    });
  }

  /** By `namespace/name`, or `name`. The map is always the same one. */
  get objects(): ReadonlyMap<string, T> {
    return this.#objects;
  }

  /** Whether a whole list was taken over once; what is held may be old, see `problem`. */
  get synced(): boolean {
    return this.#synced;
  }

  /** Why what is held may not be what the server has; undefined while all is well. */
  get problem(): string | undefined {
    if (this.#problem !== undefined) return this.#problem;
    const [first] = this.#malformed;
    if (first === undefined) return undefined;
    const [key, reason] = first;
    const more = this.#malformed.size > 1 ? ` (and ${this.#malformed.size - 1} more)` : '';
    return `${this.#options.path}: ${key} is malformed: ${reason}${more}`;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Ends it; the objects stay. */
  async close(): Promise<void> {
    this.#closed.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#ended) {
      try {
        const version = await this.#list();
        if (version === undefined) await this.#sleep(this.#times.absentMs);
        else await this.#watchWhileHeard(version);
      } catch (error) {
        if (this.#ended) return;
        await this.#failed(error);
      }
    }
  }

  get #ended(): boolean {
    return this.#closed.signal.aborted;
  }

  async #failed(error: unknown): Promise<void> {
    const asked = error instanceof KubeApiError ? (error.retryAfterMs ?? 0) : 0;
    const waitMs = Math.max(asked, this.#backoff.next());
    if (!isExpired(error)) {
      this.#setProblem(`${this.#options.path}: ${errorText(error)}`);
      this.#options.log.warn(
        { path: this.#options.path, reason: errorText(error), waitMs },
        'the API cannot be followed',
      );
    }
    await this.#sleep(waitMs);
  }

  /** Returns where a watch goes on from; undefined where the cluster does not know the kind. */
  async #list(): Promise<string | undefined> {
    const now = new Map<string, T>();
    const malformed = new Map<string, string>();
    const version = await this.#lister.list((item) => {
      const [key, picked] = this.#picked(item, malformed);
      if (picked !== undefined) now.set(key, picked);
    }, this.#closed.signal);
    if (version === undefined && !this.#isGone()) {
      throw new Error(
        'the API server does not know the kind any more; what was known of it stays in force for now',
      );
    }
    if (version !== undefined) this.#missingSinceMs = undefined;
    this.#malformed = malformed;
    this.#replace(now);
    this.#synced = true;
    this.#setProblem(undefined);
    this.#guarded(() => this.#options.onSync?.());
    return version;
  }

  /**
   * A server that starts, or one of several that is older, may not know a kind for a while: what was in force must not be lost
   * by that. (A definition that is deleted takes its objects with it, and the watch tells.)
   */
  #isGone(): boolean {
    if (this.#objects.size === 0) return true;
    const now = performance.now();
    this.#missingSinceMs ??= now;
    return now - this.#missingSinceMs >= this.#times.vanishedMs;
  }

  #replace(now: ReadonlyMap<string, T>): void {
    for (const [key, object] of now) this.#set(key, object);
    for (const key of [...this.#objects.keys()]) {
      if (!now.has(key) && !this.#malformed.has(key)) this.#remove(key);
    }
  }

  #set(key: string, object: T): void {
    const before = this.#objects.get(key);
    if (before !== undefined && isSameState(before, object)) return;
    this.#objects.set(key, object);
    this.#guarded(() => this.#options.onChange?.(key, object, before));
  }

  #remove(key: string): void {
    const before = this.#objects.get(key);
    if (before === undefined) return;
    this.#objects.delete(key);
    this.#guarded(() => this.#options.onChange?.(key, undefined, before));
  }

  /** The object's key, and what is kept of it; undefined where it makes no sense: then what was known of it stays. */
  #picked(object: unknown, malformed: Map<string, string>): [string, T | undefined] {
    if (!isResource(object)) {
      malformed.set('an object without a name', 'metadata.name is missing');
      return ['', undefined];
    }
    const key = resourceKey(object);
    try {
      const picked = this.#options.pick?.(object) ?? (object as T);
      malformed.delete(key);
      return [key, picked];
    } catch (error) {
      malformed.set(key, errorText(error));
      this.#options.log.warn(
        { path: this.#options.path, key, reason: errorText(error) },
        'an object is malformed',
      );
      return [key, undefined];
    }
  }

  /** Watches until there must be a new list, be it that nothing was heard: the list then shows whether there was nothing to say. */
  async #watchWhileHeard(from: string): Promise<void> {
    try {
      await this.#watchOn(from);
    } catch (error) {
      if (!(error instanceof KubeApiError) || error.code !== 'KUBE_TIMEOUT') throw error;
      this.#options.log.debug({ path: this.#options.path }, 'a watch was silent: listing anew');
    }
  }

  /** Watches until there must be a new list. */
  async #watchOn(from: string): Promise<void> {
    let version = from;
    for (;;) {
      const startedMs = performance.now();
      const before = version;
      try {
        version = await this.#watch(version);
      } finally {
        if (performance.now() - startedMs > this.#times.maxRetryMs) this.#backoff.reset();
      }
      if (this.#ended) return;
      if (performance.now() - startedMs < SHORT_WATCH_MS && version === before)
        await this.#sleep(this.#backoff.next());
    }
  }

  /** One watch to its end in good order. Returns where the next one goes on from. */
  async #watch(from: string): Promise<string> {
    const { client, path, query } = this.#options;
    const { watchMs, silenceMs } = this.#times;
    let version = from;
    const onLine = (line: string): void => {
      if (this.#ended || line === '') return;
      const event = parseWatchEvent(line);
      this.#backoff.reset();
      version = event.resourceVersion ?? version;
      if (event.type === 'BOOKMARK') return;
      const problem = this.problem;
      if (event.type === 'DELETED') {
        this.#malformed.delete(resourceKey(event.object));
        this.#remove(resourceKey(event.object));
      } else {
        const [key, picked] = this.#picked(event.object, this.#malformed);
        if (picked !== undefined) this.#set(key, picked);
      }
      if (this.problem !== problem) this.#guarded(() => this.#options.onProblem?.());
    };
    await client.lines(
      path,
      {
        ...query,
        watch: true,
        allowWatchBookmarks: true,
        resourceVersion: from,
        timeoutSeconds: Math.max(1, Math.round((watchMs * (1 + Math.random())) / 1000)),
      },
      onLine,
      { silenceMs, signal: this.#closed.signal },
    );
    return version;
  }

  #setProblem(problem: string | undefined): void {
    const before = this.problem;
    this.#problem = problem;
    if (this.problem !== before) this.#guarded(() => this.#options.onProblem?.());
  }

  /** What a listener throws is its own fault, and must not end what others rely on. */
  #guarded(tell: () => void): void {
    try {
      tell();
    } catch (error) {
      this.#options.log.error({ err: error, path: this.#options.path }, 'a listener failed');
    }
  }

  #sleep(ms: number): Promise<void> {
    const { signal } = this.#closed;
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      signal.addEventListener('abort', done);
    });
  }
}

function isSameState(a: KubeResource, b: KubeResource): boolean {
  const { uid, resourceVersion } = a.metadata;
  return (
    resourceVersion !== undefined && resourceVersion === b.metadata.resourceVersion && uid === b.metadata.uid
  );
}

/** The history from where a watch should have begun is no more: an ordinary thing. */
function isExpired(error: unknown): boolean {
  return error instanceof WatchEnded ? error.expired : hasStatus(error, 410);
}
