import { spawn, type ChildProcess } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { entryOf, ownInstallation } from '../local/installation.ts';
import { meshEnvironment } from '../local/programs.ts';
import { MeshError } from '../mesh/errors.ts';

/** So long a controller may take to come up, and to tell somebody all. */
export const TRIAL_PATIENCE_MS = 180_000;
/** Of its log, in an error. */
const MAX_SAID = 600;
const ENDED_BY_SIGNAL = 130;

/** What identities and uids are made of. */
export interface TrialMesh {
  readonly trustDomain: string;
  readonly clusterId: string;
}

/** A trial whose controller can be started. */
export interface Trial {
  /** Of its controller: where its objects are. */
  readonly flags: Readonly<Record<string, string>>;
  readonly mesh: TrialMesh;
  /** Whether what the controller says of a file, or of an object in it, is of the proposal. */
  readonly isProposed: (file: string) => boolean;
  /** What of the proposal counts for nothing, as lines for a person. */
  readonly passedOver: readonly string[];
}

/** Where a trial's files are, in its folder. */
export const trialPaths = (folder: string): Readonly<Record<'state' | 'status' | 'tokens', string>> => ({
  state: join(folder, 'state'),
  status: join(folder, 'status.sock'),
  tokens: join(folder, 'tokens.json'),
});

/**
 * A controller of this command's own, on loopback.
 *
 * @throws MeshError MESH_STATE where this installation has none, MESH_ANSWER when it does not come up
 */
export async function startTrial(
  folder: string,
  { flags, mesh }: Trial,
): Promise<AsyncDisposable & { readonly port: number }> {
  const installation = ownInstallation();
  const entry = entryOf(installation, 'controller');
  if (entry === undefined) throw new MeshError('MESH_STATE', 'this installation has no controller');
  const all = {
    ...trialPaths(folder),
    listen: '127.0.0.1:0',
    ...{ 'trust-domain': mesh.trustDomain, 'cluster-id': mesh.clusterId },
    ...flags,
  };
  const child = spawn(
    installation.node,
    [entry, ...Object.entries(all).flatMap(([name, value]) => [`--${name}`, value])],
    { stdio: ['ignore', 'pipe', 'pipe'], env: meshEnvironment('') },
  );
  // Whoever ends the command leaves neither process nor objects behind.
  const given = (): void => {
    child.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
    process.exit(ENDED_BY_SIGNAL);
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const signal of signals) process.on(signal, given);
  const end = async (): Promise<void> => {
    await ended(child);
    for (const signal of signals) process.off(signal, given);
  };
  try {
    return { port: await portOf(child), [Symbol.asyncDispose]: end };
  } catch (error) {
    await end();
    throw error;
  }
}

/** Its log says where it serves. @throws MeshError MESH_ANSWER when it ends before */
async function portOf(child: ChildProcess): Promise<number> {
  const said: string[] = [];
  const errors: string[] = [];
  child.stderr?.on('data', (chunk: Buffer) => errors.push(chunk.toString()));
  const failed = new Promise<never>((_, reject) => {
    const fail = (how: string): void =>
      reject(
        new MeshError(
          'MESH_ANSWER',
          `a controller for the proposal ${how}: ${(errors.length > 0 ? errors : said).slice(-2).join(' ').slice(0, MAX_SAID).trim()}`,
        ),
      );
    child.once('exit', () => fail('ended'));
    child.once('error', ({ message }) => fail(`did not start (${message})`));
    setTimeout(() => fail(`did not serve within ${TRIAL_PATIENCE_MS / 1000} s`), TRIAL_PATIENCE_MS).unref();
  });
  // Whoever loses the race is not listened to any more.
  failed.catch(() => undefined);
  const serving = (async (): Promise<number> => {
    if (child.stdout === null) return failed;
    for await (const line of createInterface({ input: child.stdout })) {
      said.push(line);
      const port = servingPort(line);
      if (port !== undefined) {
        child.stdout.resume();
        return port;
      }
    }
    return failed;
  })();
  return Promise.race([serving, failed]);
}

function servingPort(line: string): number | undefined {
  try {
    const { msg, port } = JSON.parse(line) as { readonly msg?: unknown; readonly port?: unknown };
    return msg === 'serving' && typeof port === 'number' ? port : undefined;
  } catch {
    return undefined;
  }
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const over = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  const hard = setTimeout(() => child.kill('SIGKILL'), 5_000);
  await over;
  clearTimeout(hard);
}
