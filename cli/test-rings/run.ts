import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../lib/package-root.ts';
import { runClusterRing } from './cluster/ring.ts';
import { runConformanceRing } from './conformance/ring.ts';
import type { Check, Ring } from './rings.ts';
import { addTallies, failuresOf, NO_TESTS, type Tally } from './tally.ts';
import { runVmRing } from './vm/ring.ts';

/**
 * Reads mocha's closing lines. A run that ended without them, that skipped a test, or whose exit code
 * contradicts them counts as a failure: nothing may pass by not running.
 */
export function tallyOf(output: string, exitCode: number | null): Tally {
  const count = (word: string): number | undefined => {
    const all = [...output.matchAll(new RegExp(`^\\s+(\\d+) ${word}\\b`, 'gm'))];
    return all.length === 0 ? undefined : Number(all.at(-1)?.[1]);
  };
  const passing = count('passing');
  if (passing === undefined) return { passed: 0, failed: 1 };
  const failing = (count('failing') ?? 0) + (count('pending') ?? 0);
  const unexplained = failing === 0 && (exitCode !== 0 || passing === 0) ? 1 : 0;
  return { passed: passing, failed: failing + unexplained };
}

/** Runs a command in the package's folder, shows its output as it comes, and returns it with the exit code. */
function run(
  command: readonly [string, ...string[]],
  env: Readonly<Record<string, string>> = {},
): Promise<{ output: string; code: number | null }> {
  return new Promise((resolve) => {
    const [file, ...args] = command;
    const child = spawn(file, args, {
      cwd: packageRoot(),
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    const take = (chunk: Buffer, to: NodeJS.WriteStream): void => {
      output += chunk.toString();
      to.write(chunk);
    };
    child.stdout.on('data', (chunk: Buffer) => take(chunk, process.stdout));
    child.stderr.on('data', (chunk: Buffer) => take(chunk, process.stderr));
    child.on('error', (error) => resolve({ output: `${output}${error.message}`, code: 127 }));
    child.on('close', (code) => resolve({ output, code }));
  });
}

async function runCheck(check: Check): Promise<Tally> {
  const { output, code } = await run(check.command);
  const good = code === 0;
  if (code === 127) console.log(output);
  console.log(`    ${good ? '✔' : '✗'} ${check.name}`);
  return good
    ? { passed: 1, failed: 0 }
    : { passed: 0, failed: 1, failures: [`${check.name}:\n${failuresOf(output)}`] };
}

/**
 * Runs one ring.
 *
 * @param mochaArgs more arguments for mocha (`--grep`), or files of the ring in place of the whole
 */
export async function runRing(ring: Ring, mochaArgs: readonly string[]): Promise<Tally> {
  console.log(`\n== ${ring.name}`);
  switch (ring.kind) {
    case 'checks': {
      let tally = NO_TESTS;
      for (const check of ring.checks) tally = addTallies(tally, await runCheck(check));
      return tally;
    }
    case 'vm':
      return runVmRing(mochaArgs);
    case 'cluster':
      return runClusterRing((env) =>
        runMocha(
          ring.folder,
          mochaArgs.some(isTestFile) ? mochaArgs : [...mochaArgs, ...(ring.files ?? [])],
          env,
        ),
      );
    case 'conformance':
      return runConformanceRing();
    case 'mocha': {
      const missing = ring.needs();
      if (missing.length > 0) {
        for (const need of missing) console.log(`    ✗ ring ${ring.name} is missing ${need}`);
        return { passed: 0, failed: missing.length };
      }
      return runMocha(ring.folder, mochaArgs);
    }
  }
}

/** Runs the mocha suites of a folder of test/. @param mochaArgs as in {@link runRing} */
async function runMocha(
  folder: string,
  mochaArgs: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Tally> {
  const files = mochaArgs.filter(isTestFile).map(builtFile);
  const others = mochaArgs.filter((arg) => !isTestFile(arg));
  const what = files.length > 0 ? files : ['--recursive', `dist/test/${folder}`, '--extension', 'test.js'];
  const { output, code } = await run(
    [
      process.execPath,
      '--enable-source-maps',
      join('node_modules', 'mocha', 'bin', 'mocha.js'),
      '--no-color',
      // A test that leaves something running has failed already; it must not hold the other rings back.
      '--exit',
      ...(process.env['LOAM_TEST_PATIENCE'] === undefined
        ? []
        : ['--require', './dist/test/support/patient-mocha.js']),
      ...others,
      ...what,
    ],
    env,
  );
  const tally = tallyOf(output, code);
  return tally.failed === 0 ? tally : { ...tally, failures: [`${folder}:\n${failuresOf(output)}`] };
}

function isTestFile(arg: string): boolean {
  return arg.endsWith('.test.ts');
}

/** The compiled counterpart of a test's source file. */
function builtFile(source: string): string {
  return join('dist', source.replace(/\.ts$/, '.js'));
}

/** The test files that do not exist, or are not built. @param sources from the root of the clone: test/unit/… */
export function missingTestFiles(sources: readonly string[]): string[] {
  return sources.filter((source) => !existsSync(join(packageRoot(), builtFile(source))));
}
