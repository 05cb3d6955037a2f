/** Keeps the kernel told which process the node's kubelet is: it may be restarted at any time. */
import { errorText } from '../../lib/loam-error.ts';
import type { Kubelet } from '../../lib/linux/bpf/index.ts';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import type { FoundKubelet, KubeletFinder } from './kubelet-finder.ts';

/** A kubelet waits longer than this before it probes after its start. */
const LOOK_MS = 500;
/** The kernel's entry is written again this often although nothing has changed: somebody may have taken it away. */
const WRITE_MS = 10_000;

export interface KubeletWatchOptions {
  readonly finder: Pick<KubeletFinder, 'look'>;
  readonly setKubelet: (kubelet: Kubelet | undefined) => void;
  /** Why the programs do not see what a process dials; undefined: they do. */
  readonly whyUnseen: (pid: number) => string | undefined;
  readonly clock: Clock;
  readonly log: Log;
}

export class KubeletWatch {
  readonly #options: KubeletWatchOptions;
  #known: FoundKubelet | undefined;
  #writtenAt = -Infinity;
  #problem: string | undefined;
  #timer: Disposable | undefined;

  constructor(options: KubeletWatchOptions) {
    this.#options = options;
  }

  /** The process whose probes pass; undefined: there is none, and probes are as anybody's connections. */
  get pid(): number | undefined {
    return this.#known?.hostPid;
  }

  /** Why probes are as anybody's connections; undefined: they pass. */
  get problem(): string | undefined {
    return this.#problem;
  }

  start(): void {
    this.#look();
  }

  /** What the kernel was told stays: a new agent goes on from it. */
  close(): void {
    this.#timer?.[Symbol.dispose]();
  }

  #look(): void {
    const { finder, clock } = this.#options;
    try {
      this.#tell(finder.look(), clock.now());
    } catch (error) {
      this.#note(errorText(error));
    }
    this.#timer = clock.after(LOOK_MS, () => this.#look());
  }

  #tell(found: FoundKubelet | undefined, now: number): void {
    if (found === this.#known && now - this.#writtenAt < WRITE_MS) return;
    this.#options.setKubelet(found);
    if (found !== this.#known) this.#options.log.info({ pid: found?.hostPid }, 'probes of this kubelet pass');
    this.#known = found;
    this.#writtenAt = now;
    this.#note(found === undefined ? 'no kubelet runs on the node' : this.#options.whyUnseen(found.hostPid));
  }

  #note(problem: string | undefined): void {
    if (problem !== undefined && problem !== this.#problem)
      this.#options.log.warn({ problem }, 'probes of the kubelet do not pass');
    this.#problem = problem;
  }
}
