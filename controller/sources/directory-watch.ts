import { type FSWatcher, watch } from 'node:fs';

/**
 * Watches a changing set of directories and calls back at any event below them. Only a hint to look again: what is
 * true is read from the directories themselves.
 */
export class DirectoryWatch {
  readonly #watchers = new Map<string, FSWatcher>();
  readonly #onEvent: () => void;

  constructor(onEvent: () => void) {
    this.#onEvent = onEvent;
  }

  /** Watches exactly these directories from now on. One that cannot be watched is left to the periodic scan. */
  set(dirs: readonly string[]): void {
    for (const [dir, watcher] of this.#watchers) {
      if (dirs.includes(dir)) continue;
      this.#watchers.delete(dir);
      watcher.close();
    }
    for (const dir of dirs) if (!this.#watchers.has(dir)) this.#add(dir);
  }

  #add(dir: string): void {
    try {
      const watcher = watch(dir, { persistent: false });
      watcher.on('change', this.#onEvent);
      watcher.on('error', () => {
        if (this.#watchers.get(dir) === watcher) this.#watchers.delete(dir);
        watcher.close();
      });
      this.#watchers.set(dir, watcher);
    } catch {
      // No inotify watch to be had (a limit), or the directory just went: the periodic scan goes on.
    }
  }

  close(): void {
    this.set([]);
  }
}
