import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { packageRoot } from '../../lib/package-root.ts';
import type { Mesh } from '../mesh/harness.ts';

/** A stream that ended early with an error, though neither end meant to. */
export interface Cut {
  readonly route: string;
  readonly error: string;
  readonly at: string;
}

/** What became of the streams of one phase. */
export interface StreamCounts {
  readonly whole: number;
  /** One of the two ends reset it on purpose. */
  readonly reset: number;
  readonly cut: number;
  readonly bytes: number;
  readonly byRoute: Readonly<Record<string, { whole: number; reset: number; cut: number }>>;
  /** The first of them. */
  readonly cuts: readonly Cut[];
  /** What must not be: other bytes than were sent, a stream that ended early in good order, one that hangs. */
  readonly violations: readonly object[];
}

export function soakFile(name: string): string {
  return join(packageRoot(), 'test', 'soak', 'app', name);
}

/** app/stream-load.mjs, running in a pod. */
export class StreamLoad {
  readonly #child: ChildProcess;
  readonly #lines: Interface;
  readonly #ended: Promise<never>;
  #said = '';

  private constructor(child: ChildProcess) {
    this.#child = child;
    if (child.stdout === null) throw new Error('a load needs its output');
    this.#lines = createInterface({ input: child.stdout });
    child.stderr?.on('data', (chunk: Buffer) => (this.#said += chunk.toString()));
    this.#ended = once(child, 'close').then(() => {
      throw new Error(`the load ended: ${this.#said}`);
    });
    this.#ended.catch(() => undefined);
  }

  static async in(
    mesh: Mesh,
    pod: string,
    options: { readonly seed: number; readonly concurrent: number; readonly routes: readonly string[] },
  ): Promise<StreamLoad> {
    const { seed, concurrent, routes } = options;
    const child = await mesh.spawn(
      pod,
      ...(['node', soakFile('stream-load.mjs')] as const),
      ...[String(seed), String(concurrent), ...routes],
    );
    const load = new StreamLoad(child);
    await load.#answer();
    return load;
  }

  async go(): Promise<void> {
    this.#child.stdin?.write('go\n');
    await this.#answer();
  }

  /** Starts no more streams, and waits for those that are open. */
  async stop(): Promise<StreamCounts> {
    this.#child.stdin?.write('stop\n');
    return (await this.#answer()) as StreamCounts;
  }

  end(): void {
    this.#child.stdin?.end('quit\n');
    this.#child.kill();
  }

  async #answer(): Promise<unknown> {
    const [line] = (await Promise.race([once(this.#lines, 'line'), this.#ended])) as [string];
    return JSON.parse(line);
  }
}
