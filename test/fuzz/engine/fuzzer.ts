import type { Coverage } from './coverage.ts';
import { Features, shows } from './features.ts';
import { mutateBytes, type Pool } from './mutate.ts';
import { SeededRandom } from './random.ts';
import { DEFAULT_MAX_LENGTH, type FuzzTarget } from './target.ts';

const MAX_STACKED = 6;
/** Later inputs found what is hard to find, so every other time one of them is taken. */
const YOUNG = 32;
const MAX_FINDINGS = 5;
const MAX_WORDS = 4_000;
const MAX_TRIM_RUNS = 200;

export interface Finding {
  readonly input: Buffer;
  readonly error: string;
}

export interface FuzzReport {
  readonly executions: number;
  /** Branches taken, of all in what was loaded. */
  readonly branches: number;
  readonly allBranches: number;
  /** Branches and how often they were taken, in classes. */
  readonly features: number;
  readonly corpus: readonly Buffer[];
  readonly findings: readonly Finding[];
  readonly slowestMs: number;
}

/** Ends a run: by executions, which is the same everywhere, or by time. */
export interface Budget {
  readonly executions?: number;
  readonly ms?: number;
}

/** Coverage-guided: what takes a branch that nothing took before is kept, and changed further. */
export class Fuzzer {
  readonly #target: FuzzTarget;
  readonly #coverage: Coverage;
  readonly #random: SeededRandom;
  readonly #features: Features;
  readonly #pool: Pool;
  readonly #maxLength: number;
  readonly #corpus: Buffer[] = [];
  readonly #findings = new Map<string, Finding>();
  readonly #onInput: (input: Buffer) => void;
  #executions = 0;
  #slowestMs = 0;

  /** @param onInput told each input before it runs, so that one that never ends can be named */
  constructor(
    target: FuzzTarget,
    coverage: Coverage,
    seed: number,
    onInput: (input: Buffer) => void = () => undefined,
  ) {
    this.#target = target;
    this.#coverage = coverage;
    this.#onInput = onInput;
    this.#random = new SeededRandom(seed);
    this.#features = new Features(coverage.counters.length);
    this.#maxLength = target.maxLength ?? DEFAULT_MAX_LENGTH;
    const words = [...(target.words ?? []), ...coverage.literals].slice(0, MAX_WORDS);
    this.#pool = {
      words: words.length === 0 ? [Buffer.of(0)] : words.map((word) => Buffer.from(word)),
      other: () => this.#random.of(this.#corpus),
    };
  }

  /** Runs the inputs that are known, then changed ones until the budget is used up. */
  async run(known: readonly Buffer[], budget: Budget): Promise<FuzzReport> {
    const until = performance.now() + (budget.ms ?? Infinity);
    const most = budget.executions ?? Infinity;
    const isOver = (): boolean =>
      this.#executions >= most || this.#findings.size >= MAX_FINDINGS || performance.now() >= until;
    for (const input of known) await this.#try(input.subarray(0, this.#maxLength), false);
    if (this.#corpus.length === 0) this.#corpus.push(Buffer.alloc(0));
    while (!isOver()) await this.#try(this.#changed(), true);
    return {
      executions: this.#executions,
      branches: this.#features.branches,
      allBranches: this.#coverage.branches,
      features: this.#features.count,
      corpus: await this.#minimised(),
      findings: [...this.#findings.values()],
      slowestMs: this.#slowestMs,
    };
  }

  #changed(): Buffer {
    const { length } = this.#corpus;
    const at = this.#random.oneIn(2)
      ? this.#random.below(length)
      : length - 1 - this.#random.below(Math.min(YOUNG, length));
    let input = this.#corpus[at] as Buffer;
    const changes = 1 + this.#random.below(MAX_STACKED);
    const mutate = this.#target.mutate ?? mutateBytes;
    for (let i = 0; i < changes; i += 1)
      input = mutate(input, this.#random, this.#pool).subarray(0, this.#maxLength);
    return input;
  }

  /** Runs one input; keeps it if it shows something new. */
  async #try(input: Buffer, trim: boolean): Promise<void> {
    const error = await this.#execute(input);
    const { counters, branches } = this.#coverage;
    if (error !== undefined) {
      await this.#found(input, error);
      return;
    }
    const missing = this.#features.missing(counters, branches);
    if (missing.length === 0) return;
    const kept = trim ? await this.#trimmed(input, (c) => shows(c, missing)) : input;
    await this.#execute(kept);
    this.#features.add(counters, this.#coverage.branches);
    this.#corpus.push(Buffer.from(kept));
  }

  /** Takes pieces out of an input as long as it shows the same. */
  async #trimmed(input: Buffer, isSame: (counters: Uint8Array, error?: string) => boolean): Promise<Buffer> {
    let kept = input;
    let runs = 0;
    for (let size = Math.ceil(input.length / 2); size >= 1; size = Math.floor(size / 2)) {
      for (let at = 0; at < kept.length && runs < MAX_TRIM_RUNS;) {
        const shorter = Buffer.concat([kept.subarray(0, at), kept.subarray(at + size)]);
        const error = await this.#execute(shorter);
        runs += 1;
        if (isSame(this.#coverage.counters, error)) kept = shorter;
        else at += size;
      }
    }
    return kept;
  }

  /** @returns what was thrown, in one line that names the place */
  async #execute(input: Buffer): Promise<string | undefined> {
    this.#executions += 1;
    this.#coverage.clear();
    this.#onInput(input);
    const startedMs = performance.now();
    try {
      const running = this.#target.run(input);
      if (running !== undefined) await running;
      return undefined;
    } catch (error) {
      return placeOf(error);
    } finally {
      this.#slowestMs = Math.max(this.#slowestMs, performance.now() - startedMs);
    }
  }

  async #found(input: Buffer, error: string): Promise<void> {
    const key = error.replace(/^[^\n]*\n/, '').trim() || error;
    if (this.#findings.has(key)) return;
    const shortest = await this.#trimmed(input, (_, thrown) => thrown === error);
    this.#findings.set(key, { input: Buffer.from(shortest), error });
  }

  /** The fewest and shortest inputs that show all that is known. */
  async #minimised(): Promise<Buffer[]> {
    const kept: Buffer[] = [];
    const shown = new Features(this.#coverage.counters.length);
    for (const input of [...this.#corpus].sort((a, b) => a.length - b.length)) {
      if ((await this.#execute(input)) !== undefined) continue;
      if (shown.add(this.#coverage.counters, this.#coverage.branches) > 0) kept.push(input);
    }
    return kept;
  }
}

/** Message and first frame of ours. */
function placeOf(error: unknown): string {
  if (!(error instanceof Error)) return `thrown: ${String(error)}`;
  const frame = (error.stack ?? '')
    .split('\n')
    .find((line) => /^\s+at /.test(line) && !line.includes('node:'));
  return `${error.name}: ${error.message.split('\n')[0] ?? ''}\n${frame?.trim() ?? ''}`;
}
