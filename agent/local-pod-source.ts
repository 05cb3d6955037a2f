/** The local mesh's pods: a JSON file that its command line replaces by renaming, watched. */
import { readFileSync, statSync, watch, type FSWatcher } from 'node:fs';
import { basename, dirname } from 'node:path';
import { systemClock, type Clock } from './clock.ts';
import type { PodSource, PodSpec, SourceState } from './pod-source.ts';
import { parsePodsFile, type BadEntry, type PodsFile } from './pods-file.ts';

/** Several events belong to one replacement of the file. */
const SETTLE_MS = 20;
/** The file is read again at least this often: a lost event costs seconds, not for ever. */
const REREAD_MS = 2000;
const MAX_FILE_BYTES = 16 * 1024 * 1024;

export class LocalPodSource implements PodSource {
  readonly #file: string;
  readonly #clock: Clock;
  #state: SourceState = { synced: false, complete: false, pods: new Map(), problems: [] };
  #text: string | undefined;
  #onChange: () => void = () => undefined;
  #watcher: FSWatcher | undefined;
  #timer: Disposable | undefined;
  #dueAt = Infinity;
  #closed = false;

  constructor(file: string, clock: Clock = systemClock) {
    this.#file = file;
    this.#clock = clock;
  }

  get state(): SourceState {
    return this.#state;
  }

  start(onChange: () => void): void {
    this.#onChange = onChange;
    this.#read();
  }

  close(): void {
    this.#closed = true;
    this.#watcher?.close();
    this.#timer?.[Symbol.dispose]();
  }

  #read(): void {
    this.#watch();
    const before = JSON.stringify([this.#state.synced, [...this.#state.pods], this.#state.problems]);
    this.#state = this.#next();
    const after = JSON.stringify([this.#state.synced, [...this.#state.pods], this.#state.problems]);
    this.#schedule(REREAD_MS);
    if (before !== after) this.#onChange();
  }

  #next(): SourceState {
    let text: string;
    try {
      const found = statSync(this.#file);
      // Reading a FIFO would block for ever.
      if (!found.isFile()) throw new Error('not a regular file');
      if (found.size > MAX_FILE_BYTES) throw new Error(`more than ${MAX_FILE_BYTES} bytes`);
      text = readFileSync(this.#file, 'utf8');
    } catch (error) {
      this.#text = undefined;
      const problem = { where: this.#file, message: (error as Error).message, allowed: 'a readable file' };
      return { ...this.#state, problems: [problem] };
    }
    if (text === this.#text) return this.#state;
    this.#text = text;
    return merge(this.#state, parsePodsFile(this.#file, text));
  }

  /** The folder is watched, since the file is replaced and not written; where that fails, time does it. */
  #watch(): void {
    if (this.#watcher !== undefined) return;
    try {
      const name = basename(this.#file);
      const watcher = watch(dirname(this.#file), { persistent: false }, (_event, changed) => {
        if (changed === null || changed === name) this.#schedule(SETTLE_MS);
      });
      watcher.on('error', () => {
        watcher.close();
        this.#watcher = undefined;
      });
      this.#watcher = watcher;
    } catch {
      this.#watcher = undefined;
    }
  }

  #schedule(delayMs: number): void {
    if (this.#closed) return;
    const dueAt = this.#clock.now() + delayMs;
    if (delayMs !== REREAD_MS && dueAt >= this.#dueAt) return;
    this.#timer?.[Symbol.dispose]();
    this.#dueAt = dueAt;
    this.#timer = this.#clock.after(delayMs, () => {
      this.#dueAt = Infinity;
      this.#read();
    });
  }
}

/**
 * What holds after a file was read. Of an unusable entry the pod's last good state stays. While an entry cannot even
 * be told whose it is, no pod counts as removed: it might be that one.
 */
export function merge(last: SourceState, file: PodsFile): SourceState {
  if (!file.readable) return { ...last, problems: file.problems };
  const pods = new Map(file.pods);
  const anonymous = file.bad.some(({ uid, podName }) => uid === undefined && podName === undefined);
  for (const [uid, pod] of last.pods) {
    const broken = file.bad.some((bad) => isThis(bad, pod));
    if (broken || (anonymous && !pods.has(uid))) pods.set(uid, pod);
  }
  const known = [...last.pods.values()];
  const complete = file.bad.every((bad) => known.some((pod) => isThis(bad, pod)));
  return { synced: true, complete, pods, problems: file.problems };
}

function isThis(bad: BadEntry, pod: PodSpec): boolean {
  return bad.uid === pod.uid || (bad.uid === undefined && bad.podName === `${pod.namespace}/${pod.name}`);
}
