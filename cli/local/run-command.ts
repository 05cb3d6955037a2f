import { spawn } from 'node:child_process';
import { LocalMeshError } from './errors.ts';

/** Nothing that is run here should take long; a command that hangs must not hang the mesh. */
const COMMAND_TIMEOUT_MS = 20_000;
const OUTPUT_MAX_BYTES = 4 << 20;

/**
 * Runs a command of the machine to its end.
 *
 * @param input text for its standard input
 * @returns its standard output
 * @throws LocalMeshError with the command and what it said, when it does not exit with 0
 */
export async function runCommand(command: readonly [string, ...string[]], input = ''): Promise<string> {
  const { code, stdout, stderr } = await tryCommand(command, input);
  if (code !== 0) {
    const said = (stderr || stdout).trim().slice(-600);
    throw new LocalMeshError(
      'LOCAL_MESH_COMMAND',
      `${command.join(' ').slice(0, 300)} failed (${code}): ${said}`,
    );
  }
  return stdout;
}

export interface CommandResult {
  /** Exit code; 127 when it could not be started, 128 when a signal ended it. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Like {@link runCommand}, for commands that may fail. */
export function tryCommand(command: readonly [string, ...string[]], input = ''): Promise<CommandResult> {
  return new Promise((resolve) => {
    const [file, ...args] = command;
    const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'], timeout: COMMAND_TIMEOUT_MS });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk: Buffer) => {
      if (stdout.length < OUTPUT_MAX_BYTES) stdout += chunk.toString();
    });
    child.stderr.on('data', (chunk: Buffer) => {
      if (stderr.length < OUTPUT_MAX_BYTES) stderr += chunk.toString();
    });
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
    child.on('error', (error) => resolve({ code: 127, stdout, stderr: error.message }));
    child.on('close', (code) => resolve({ code: code ?? 128, stdout, stderr }));
  });
}

/** Runs lines of `ip` in a network namespace (none: the machine's own) as one batch; the first failure ends it. */
export async function ipBatch(netns: string | undefined, lines: readonly string[]): Promise<void> {
  const where = netns === undefined ? [] : ['-n', netns];
  await runCommand(['ip', ...where, '-batch', '-'], `${lines.join('\n')}\n`);
}
