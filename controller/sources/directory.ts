import { createHash } from 'node:crypto';
import { EventEmitter } from 'node:events';
import type { Logger } from 'pino';
import { errorText } from '../../lib/loam-error.ts';
import { Absences, CONFIRM_MS } from './absences.ts';
import { accept, type Acceptance, type HeldObject, type ReadFile } from './accept.ts';
import { DirectoryWatch } from './directory-watch.ts';
import type { LastGoodStore } from './last-good.ts';
import { readLimited } from './read-limited.ts';
import { type ReadDocument, readManifest } from './read-object.ts';
import type { ObjectSet, Problem, Source, SourceGate } from './source.ts';
import { type FoundFile, walkManifests } from './walk.ts';

export interface DirectorySourceOptions {
  readonly dir: string;
  readonly rootNamespace: string;
  /** Of the identities that policies may name. */
  readonly trustDomain: string;
  readonly store: LastGoodStore;
  readonly log: Logger;
}

const MAX_FILE_BYTES = 1024 * 1024;
/** Editors write in several steps; the file is read when it has been quiet for so long. */
const DEBOUNCE_MS = 50;
/** A directory in which something is written all the time, be it a log, is read so long after the first event. */
const MAX_DEBOUNCE_MS = 200;
/** How often all files are looked at whatever the watches say. */
const RESCAN_MS = 1000;
/** A file changed this shortly before it was read may change again without a new time stamp. */
const RACY_MS = 2000;

interface CachedFile {
  readonly signature: string;
  readonly racy: boolean;
  readonly digest: string;
  readonly error?: string;
  readonly documents: readonly ReadDocument[];
}

interface Scan {
  readonly fingerprint: string;
  readonly files: readonly ReadFile[];
}

/** A directory of Kubernetes manifests, watched. */
export class DirectorySource implements Source {
  readonly #options: DirectorySourceOptions;
  readonly #events = new EventEmitter<{ change: [ObjectSet] }>();
  readonly #watch = new DirectoryWatch(() => this.#hint());
  readonly #closed = new AbortController();
  readonly #absences = new Absences();
  #cache = new Map<string, CachedFile>();
  #held: ReadonlyMap<string, HeldObject> = new Map();
  #current: ObjectSet = { generation: 0, objects: new Map(), problems: [], files: [] };
  #gate: SourceGate = { name: 'manifests', ready: false, reason: 'not read yet' };
  /** Set when the last good state on disk is unusable: then nothing broken may be passed over. */
  #lostState: string | undefined;
  #timer: NodeJS.Timeout | undefined;
  #scanning: Promise<void> | undefined;
  #scanAgain = false;
  #applied = '';
  /** When the first event came that no scan has answered yet. */
  #hintedAtMs: number | undefined;

  constructor(options: DirectorySourceOptions) {
    this.#options = options;
  }

  get current(): ObjectSet {
    return this.#current;
  }

  gate(): SourceGate {
    return this.#gate;
  }

  onChange(listener: (set: ObjectSet) => void, signal: AbortSignal): void {
    this.#events.on('change', listener);
    signal.addEventListener('abort', () => this.#events.off('change', listener), { once: true });
  }

  async start(): Promise<void> {
    const loaded = await this.#options.store.load();
    if (loaded.state === 'loaded') this.#held = loaded.objects;
    if (loaded.state === 'unreadable') {
      this.#lostState = loaded.reason;
      this.#options.log.error({ reason: loaded.reason }, 'the last good state cannot be read');
    }
    while (this.#applied === '' && !this.#closed.signal.aborted) {
      await this.#scan();
      if (this.#applied === '') await new Promise((resolve) => setTimeout(resolve, CONFIRM_MS));
    }
  }

  async close(): Promise<void> {
    this.#closed.abort();
    clearTimeout(this.#timer);
    this.#watch.close();
    await this.#scanning;
  }

  #hint(): void {
    const now = performance.now();
    this.#hintedAtMs ??= now;
    this.#schedule(Math.max(0, Math.min(DEBOUNCE_MS, this.#hintedAtMs + MAX_DEBOUNCE_MS - now)));
  }

  #schedule(delayMs: number): void {
    if (this.#closed.signal.aborted) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#scan(), delayMs);
  }

  /** One scan at a time; a request during a scan leads to one more. */
  async #scan(): Promise<void> {
    if (this.#scanning !== undefined) {
      this.#scanAgain = true;
      return this.#scanning;
    }
    this.#hintedAtMs = undefined;
    this.#scanning = this.#scanOnce();
    let next = RESCAN_MS;
    try {
      await this.#scanning;
      if (this.#absences.size > 0) next = CONFIRM_MS;
    } catch (error) {
      this.#fail(errorText(error));
    } finally {
      this.#scanning = undefined;
      if (this.#scanAgain || this.#hintedAtMs !== undefined) next = DEBOUNCE_MS;
      this.#scanAgain = false;
      this.#schedule(next);
    }
  }

  /** The directory as a whole cannot be read: everything stays as it was. */
  #fail(reason: string): void {
    const problem: Problem = {
      severity: 'error',
      file: '.',
      message: `the manifests cannot be read: ${reason}`,
    };
    if (this.#current.problems.some((p) => p.message === problem.message)) return;
    this.#options.log.error({ reason }, 'the manifests cannot be read');
    if (this.#applied === '') this.#gate = { name: 'manifests', ready: false, reason: problem.message };
    this.#current = { ...this.#current, problems: [...this.#current.problems, problem] };
    // The same content, when it can be read again, must replace this report.
    this.#applied = this.#applied === '' ? '' : 'failed';
    this.#events.emit('change', this.#current);
  }

  async #scanOnce(): Promise<void> {
    const scan = await this.#read();
    if (this.#closed.signal.aborted) return;
    if (scan.fingerprint === this.#applied && this.#absences.size === 0) return;
    const { objects, problems } = accept(scan.files, this.#held, this.#options);
    const settled = this.#absences.withMissing(
      objects,
      this.#held,
      (file) => this.#cache.get(file)?.signature,
      performance.now(),
    );
    await this.#apply(scan, { objects: settled, problems });
  }

  async #apply(scan: Scan, result: Acceptance): Promise<void> {
    const changed = this.#applied === '' || !sameObjects(this.#held, result.objects);
    const before = this.#held;
    this.#held = result.objects;
    this.#applied = scan.fingerprint;
    this.#current = {
      generation: this.#current.generation + (changed ? 1 : 0),
      objects: result.objects,
      problems: result.problems,
      files: scan.files.map(({ file, error }) => ({ file, ...(error === undefined ? {} : { error }) })),
    };
    this.#setGate(result);
    this.#report(result.problems);
    this.#events.emit('change', this.#current);
    // A mesh that follows at once counts for more than a disk that is slow; a crash in between repeats the step.
    if (this.#gate.ready && (before !== this.#held || changed)) await this.#save();
  }

  #setGate(result: Acceptance): void {
    const errors = result.problems.filter((problem) => problem.severity === 'error').length;
    if (this.#lostState !== undefined && errors > 0) {
      const reason = `the last good state is lost (${this.#lostState}) and ${errors} manifests are wrong: correct them first`;
      this.#gate = { name: 'manifests', ready: false, reason };
    } else {
      this.#lostState = undefined;
      this.#gate = { name: 'manifests', ready: true, reason: '' };
    }
  }

  async #save(): Promise<void> {
    try {
      await this.#options.store.save(this.#held);
    } catch (error) {
      this.#options.log.error({ err: error }, 'the last good state cannot be written');
    }
  }

  #report(problems: readonly Problem[]): void {
    for (const problem of problems) {
      if (problem.severity === 'error') this.#options.log.warn({ problem }, 'manifest problem');
      else this.#options.log.info({ problem }, 'manifest warning');
    }
  }

  async #read(): Promise<Scan> {
    const walk = await walkManifests(this.#options.dir);
    this.#watch.set(walk.dirs);
    const cache = new Map<string, CachedFile>();
    const hash = createHash('sha256');
    for (const found of walk.files) {
      const known = this.#cache.get(found.file);
      const cached =
        known?.signature === found.signature && !known.racy ? known : await readFound(found, known);
      cache.set(found.file, cached);
      hash.update(`${JSON.stringify(found.file)}:${cached.digest}\n`);
    }
    this.#cache = cache;
    const files = [...cache].map(([file, { error, documents }]) => ({
      file,
      ...(error === undefined ? {} : { error }),
      documents,
    }));
    return { fingerprint: hash.digest('hex'), files };
  }
}

async function readFound(found: FoundFile, known: CachedFile | undefined): Promise<CachedFile> {
  const racy = Date.now() - found.changedAtMs < RACY_MS;
  const base = { signature: found.signature, racy };
  const read =
    found.error === undefined
      ? await readLimited(found.path, MAX_FILE_BYTES)
      : { ok: false as const, error: found.error };
  if (!read.ok) return { ...base, digest: `error ${read.error}`, error: read.error, documents: [] };
  const digest = createHash('sha256').update(read.text).digest('hex');
  if (known?.digest === digest) return { ...known, ...base };
  return { ...base, digest, documents: readManifest(found.file, read.text) };
}

function sameObjects(a: ReadonlyMap<string, HeldObject>, b: ReadonlyMap<string, HeldObject>): boolean {
  if (a.size !== b.size) return false;
  for (const [key, held] of a) {
    const other = b.get(key);
    if (other === undefined || JSON.stringify(held.object) !== JSON.stringify(other.object)) return false;
  }
  return true;
}
