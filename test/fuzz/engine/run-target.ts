import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { siblingModule } from '../../../lib/package-root.ts';

/** What one target's run came to. */
export interface TargetReport {
  readonly name: string;
  readonly executions: number;
  readonly branches: number;
  readonly allBranches: number;
  readonly features: number;
  readonly slowestMs: number;
  /** Inputs that together show everything found. */
  readonly corpus: number;
  /** A character of an input is a byte. */
  readonly findings: readonly { readonly input: string; readonly error: string }[];
}

export interface TargetRun {
  readonly seed: number;
  readonly seconds?: number;
  readonly executions?: number;
  /** Replace the target's corpus in the repository. */
  readonly write?: boolean;
  /** An input that takes longer is a finding, and ends the run. */
  readonly stuckMs?: number;
}

/** More than any parser of a message may need. */
const MAX_HEAP_MB = 512;
const STUCK_MS = 15_000;
const LOOK_MS = 250;

/** Fuzzes one target in a process of its own, so that one that hangs or takes all memory is a finding too. */
export async function runTarget(name: string, run: TargetRun): Promise<TargetReport> {
  const folder = mkdtempSync(join(tmpdir(), 'loam-fuzz-'));
  const current = join(folder, 'input');
  try {
    const { output, error } = await spawnMain(name, run, current);
    if (error === undefined) return JSON.parse(output) as TargetReport;
    const input = inputUnderWay(current);
    return {
      ...{ name, executions: 0, branches: 0, allBranches: 0, features: 0, slowestMs: 0, corpus: 0 },
      findings: [{ input, error }],
    };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function spawnMain(
  name: string,
  run: TargetRun,
  current: string,
): Promise<{ output: string; error?: string }> {
  const args = [
    `--max-old-space-size=${MAX_HEAP_MB}`,
    fileURLToPath(siblingModule(import.meta.url, './main')),
    name,
    ...['--seed', String(run.seed), '--current', current],
    ...(run.seconds === undefined ? [] : ['--seconds', String(run.seconds)]),
    ...(run.executions === undefined ? [] : ['--executions', String(run.executions)]),
    ...(run.write === true ? ['--write'] : []),
  ];
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    const stuckMs = run.stuckMs ?? STUCK_MS;
    let [output, errors, stuck] = ['', '', false];
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (errors = (errors + chunk.toString()).slice(-4_000)));
    const timer = setInterval(() => {
      if (Date.now() - lastInputMs(current) < stuckMs) return;
      stuck = true;
      child.kill('SIGKILL');
    }, LOOK_MS);
    child.on('close', (code) => {
      clearInterval(timer);
      if (code === 0) resolve({ output });
      else if (stuck) resolve({ output, error: `it did not end in ${stuckMs / 1_000} s` });
      else resolve({ output, error: `the process ended with ${code}: ${errors}` });
    });
  });
}

/** When the input under way began; now, before the first one. */
function lastInputMs(path: string): number {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat === undefined || stat.size === 0 ? Date.now() : stat.mtimeMs;
}

/** As main.ts writes it: its length, then its bytes; what is behind belongs to longer ones before. */
function inputUnderWay(path: string): string {
  if (!existsSync(path)) return '';
  const bytes = readFileSync(path);
  return bytes.length < 4 ? '' : bytes.subarray(4, 4 + bytes.readUInt32BE(0)).toString('latin1');
}
