/**
 * Keeps the CNI plugin on the host. Where the runtime has NRI, the agent holds pods by that, and the plugin holds them only while there
 * is no agent: after a reboot the runtime starts pods before anybody has told it of one.
 */
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { errorText } from '../../../lib/loam-error.ts';
import type { Clock } from '../../clock.ts';
import type { Log } from '../../log.ts';
import type { PluginEntry } from './chain.ts';
import { install, removeEntry, removeProgram, type CniFolders } from './files.ts';

/** Another network plugin may write its list anew at any time. */
const LOOK_MS = 2_000;
/** Until the runtime has read the list without our entry. */
const FORGET_MS = 2_000;

/** `auto`: it holds pods while neither agent nor NRI does; `always`: also beside NRI. */
export type CniMode = 'auto' | 'always' | 'never';

export type CniState =
  | { readonly state: 'installed'; readonly list: string }
  | { readonly state: 'absent' }
  | { readonly state: 'failed'; readonly problem: string };

export interface PluginKeeperOptions {
  readonly mode: CniMode;
  readonly folders: CniFolders;
  readonly entry: PluginEntry;
  /** Namespaces of which it is known that they are not in the mesh; undefined: not known yet. */
  readonly outside: () => readonly string[] | undefined;
  readonly clock: Clock;
  readonly log: Log;
  /** The program that is installed; for tests. */
  readonly program?: string;
}

export class PluginKeeper {
  readonly #options: PluginKeeperOptions;
  #timer: Disposable | undefined;
  #state: CniState = { state: 'absent' };
  #told = '';
  #outside: string | undefined;
  #closed = false;

  constructor(options: PluginKeeperOptions) {
    this.#options = options;
  }

  get state(): CniState {
    return this.#state;
  }

  start(): void {
    if (this.#closed) return;
    this.look();
    this.#timer = this.#options.clock.after(LOOK_MS, () => this.start());
  }

  /** What is on the host stays when the agent ends: it holds pods until the next one is there. */
  close(): void {
    this.#closed = true;
    this.#timer?.[Symbol.dispose]();
  }

  /** Compares what should be with what is, once. */
  look(): void {
    const { folders, entry, log, program } = this.#options;
    try {
      if (this.#options.mode !== 'never') {
        const { list, changed } = install(folders, entry, program);
        if (changed)
          log.info({ list }, 'the network plugin is installed: no new pod starts while nobody holds it');
        this.#state = { state: 'installed', list };
      } else {
        if (removeEntry(folders)) {
          log.info(folders, 'the network plugin is removed, as it is set');
          this.#options.clock.after(FORGET_MS, () => removeProgram(folders));
        }
        this.#state = { state: 'absent' };
      }
      this.#tellOutside();
      this.#told = '';
    } catch (error) {
      const problem = errorText(error);
      this.#state = { state: 'failed', problem };
      if (problem !== this.#told) log.error({ problem }, 'the network plugin cannot be installed');
      this.#told = problem;
    }
  }

  /** For the plugin, while there is no agent: whose pods pass. */
  #tellOutside(): void {
    const { outside, entry } = this.#options;
    const names = outside();
    if (names === undefined) return;
    const text = names
      .toSorted()
      .map((name) => `${name}\n`)
      .join('');
    if (text === this.#outside) return;
    try {
      writeFileSync(`${entry.outside}.new`, text, { mode: 0o600 });
      renameSync(`${entry.outside}.new`, entry.outside);
      this.#outside = text;
    } catch (error) {
      // On a full disk: rather none pass than those of a namespace that has joined since.
      rmSync(entry.outside, { force: true });
      this.#outside = undefined;
      throw error;
    }
  }
}
