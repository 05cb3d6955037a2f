/**
 * The ring `vm`: other kernels than this machine's. On Debian 12's own 6.1 the whole BPF ring and a core of the mesh
 * ring pass; a kernel that lacks what Loam needs is refused by name.
 */
import { errorText } from '../../../lib/loam-error.ts';
import { join } from 'node:path';
import { packageRoot } from '../../../lib/package-root.ts';
import { addTallies, NO_TESTS, type Tally } from '../tally.ts';
import { debianKernel, staticBusybox, userModeLinux } from './packages.ts';
import { runInVm } from './qemu.ts';
import { runInUml } from './user-mode-linux.ts';

/** An emulated machine is some ten to twenty times as slow. More where this one has other work: LOAM_TEST_PATIENCE of the ring. */
const PATIENCE = 10;
/** What test/support/patience.ts allows. */
const MOST_PATIENCE = 100;
const VM_TIMEOUT_MS = 240 * 60_000;
const UML_TIMEOUT_MS = 10 * 60_000;
const WANTED_KERNEL = /^6\.1\./;

/** The core of the mesh: mTLS between nodes, policy, both families, every program killed, and `loam off`. */
const MESH_CORE = ['plain/wire', 'plain/policy', 'plain/dual-stack', 'crash', 'off'].map(
  (name) => `test/mesh/${name}.test.ts`,
);

/** What `loam` and the agent must name on the kernel that lacks it. */
const LACKS = [/missing: the kernel's type information/];

/** Runs the ring. @param args more arguments of `loam test` (`--grep`) */
export async function runVmRing(args: readonly string[]): Promise<Tally> {
  let tally = NO_TESTS;
  for (const part of [refused, debian61]) {
    try {
      tally = addTallies(tally, await part(args));
    } catch (error) {
      console.log(`    ✗ ${errorText(error)}`);
      tally = addTallies(tally, { passed: 0, failed: 1 });
    }
  }
  return tally;
}

async function debian61(args: readonly string[]): Promise<Tally> {
  const kernel = await debianKernel();
  console.log(`  kernel ${kernel.release} in QEMU, emulated: the bpf ring and the core of the mesh ring`);
  const {
    kernel: booted,
    output,
    exitCode,
  } = await runInVm({
    kernel,
    busybox: await staticBusybox(),
    command: [process.execPath, '--enable-source-maps', main(), 'test', 'bpf', ...MESH_CORE, ...args],
    patience: guestPatience(process.env['LOAM_TEST_PATIENCE']),
    timeoutMs: VM_TIMEOUT_MS,
  });
  const isWanted = check(
    `the machine ran Debian's 6.1 kernel (${booted ?? 'none'})`,
    WANTED_KERNEL.test(booted ?? ''),
  );
  return addTallies(isWanted, guestTally(output, exitCode));
}

/** How patient the guest's tests are, where the ring itself is to be so patient. Exported for its test. */
export function guestPatience(own = '1'): number {
  return Math.min(PATIENCE * Number(own), MOST_PATIENCE);
}

/** The guest's own last line; a guest that ended without one has failed. Exported for its test. */
export function guestTally(output: string, exitCode: number | undefined): Tally {
  const [, passed, failed] = [...output.matchAll(/^(\d+) passed, (\d+) failed\s*$/gm)].at(-1) ?? [];
  if (passed === undefined || failed === undefined) return { passed: 0, failed: 1 };
  const tally = { passed: Number(passed), failed: Number(failed) };
  const unexplained = exitCode !== 0 && tally.failed === 0;
  return unexplained ? { ...tally, failed: 1 } : tally;
}

async function refused(): Promise<Tally> {
  const linux = await userModeLinux();
  console.log('  a kernel without type information and MPTCP (User Mode Linux)');
  let tally = NO_TESTS;
  const node = [process.execPath, '--enable-source-maps'];
  const agent = join(packageRoot(), 'dist', 'agent', 'main.js');
  const agentFlags = [
    '--instance',
    'vm',
    '--node',
    'vm',
    '--pods',
    '/x',
    '--zds',
    '/run/z',
    '--status',
    '/run/s',
  ];
  for (const [who, command] of [
    ['loam', [...node, main(), 'local', 'up', packageRoot()]],
    ['the agent', [...node, agent, ...agentFlags]],
  ] as const) {
    const { kernel, output, exitCode } = await runInUml(linux, command, UML_TIMEOUT_MS);
    const isRefused = exitCode !== undefined && exitCode !== 0 && LACKS.every((lack) => lack.test(output));
    if (!isRefused) console.log(output);
    tally = addTallies(
      tally,
      check(`${who} refuses kernel ${kernel ?? '?'} and names what it lacks`, isRefused),
    );
  }
  return tally;
}

function main(): string {
  return join(packageRoot(), 'dist', 'cli', 'main.js');
}

function check(name: string, holds: boolean): Tally {
  console.log(`    ${holds ? '✔' : '✗'} ${name}`);
  return holds ? { passed: 1, failed: 0 } : { passed: 0, failed: 1 };
}
