import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { problemsOf, unacknowledged } from '../../cli/local/problems.ts';
import type { Mesh } from '../mesh/harness.ts';

/** Proxies that lost the controller come back to it within their backoff. */
const RECOVERY_MS = 120_000;

export interface ChaosBackend {
  readonly name: string;
  readonly node: string;
  readonly manifest: string;
  /** What the backend reads its mode from. */
  readonly modeFile: string;
}

type Action = (mesh: Mesh, victim: ChaosBackend) => Promise<void>;

/** Numbers from 0 to below 1 that a seed repeats (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The backend's own processes, which this test has started. */
function pidsOf({ modeFile }: ChaosBackend): number[] {
  return readdirSync('/proc').flatMap((entry) => {
    const pid = Number(entry);
    if (!Number.isInteger(pid)) return [];
    try {
      const args = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
      return (args[0] ?? '').endsWith('node') && args.includes(modeFile) ? [pid] : [];
    } catch {
      return [];
    }
  });
}

function signal(victim: ChaosBackend, name: NodeJS.Signals): void {
  for (const pid of pidsOf(victim)) {
    try {
      process.kill(pid, name);
    } catch {
      // It ended meanwhile.
    }
  }
}

const mode =
  (word: string, ms: number): Action =>
  async (_mesh, { modeFile }) => {
    writeFileSync(modeFile, word);
    await sleep(ms);
    writeFileSync(modeFile, 'ok');
  };

/** What can happen to a backend, its node or the control plane; each leaves things as they were. */
export const ACTIONS: Readonly<Record<string, Action>> = {
  'kill -9': async (_mesh, victim) => {
    signal(victim, 'SIGKILL');
    await sleep(1_000);
  },
  'half-open': async (_mesh, victim) => {
    signal(victim, 'SIGSTOP');
    await sleep(5_000);
    signal(victim, 'SIGCONT');
  },
  slow: mode('slow', 4_000),
  'reset before a response': mode('reset', 3_000),
  'break within a response': mode('break', 1_000),
  'answer 503': mode('error', 3_000),
  'delete the pod': async (mesh, { name, manifest }) => {
    mesh.remove(`${name}.yaml`);
    await sleep(3_000);
    mesh.write(`${name}.yaml`, manifest);
    await sleep(2_000);
  },
  'kill the ztunnel of its node': async (mesh, { node }) => {
    process.kill((await mesh.program('ztunnel', node)).pid, 'SIGKILL');
    await sleep(2_000);
  },
  'kill the controller': async (mesh) => {
    process.kill((await mesh.program('controller')).pid, 'SIGKILL');
    await sleep(1_000);
  },
};

/**
 * Waits until everything that an action touched works again: the promise of a policy needs an endpoint that can serve, so
 * no action may meet what another has left.
 *
 * @param backends how many there must be
 */
export async function recovery(mesh: Mesh, backends: number): Promise<void> {
  const deadline = Date.now() + RECOVERY_MS;
  while (!(await hasRecovered(mesh, backends).catch(() => false))) {
    if (Date.now() > deadline) throw new Error(`the mesh did not recover in ${RECOVERY_MS} ms`);
    await sleep(200);
  }
}

async function hasRecovered(mesh: Mesh, backends: number): Promise<boolean> {
  const status = await mesh.status();
  const { nodes = [], gateways = [] } = status.controller ?? {};
  return (
    status.report.pods.filter(({ name, ready }) => name.startsWith('web-') && ready).length === backends &&
    problemsOf(status).every(({ blocksStart }) => !blocksStart) &&
    unacknowledged(status).length === 0 &&
    // Who has just come back has acknowledged nothing yet.
    [...nodes, ...gateways].every(
      ({ connected, ackedGeneration }) => connected && ackedGeneration === status.controller?.generation,
    )
  );
}
