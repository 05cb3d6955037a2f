import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { packageRoot } from '../../lib/package-root.ts';
import { takeDown } from '../local/down.ts';
import { LocalMeshError } from '../local/errors.ts';
import { ask } from '../local/http.ts';
import { LOCK_TAKEN } from '../local/lock.ts';
import { meshPaths } from '../local/paths.ts';
import { waitingText } from '../local/problems.ts';
import { runningMesh, startSupervisor, waitUntilReady, type StartedSupervisor } from '../local/up.ts';
import { findWrong } from './expectations.ts';
import { Observer } from './observer.ts';
import { findWrongRequests } from './request-expectations.ts';
import { momentLine, summaryText } from './plain.ts';
import { hints, screen } from './screen.ts';
import { Terminal } from './terminal.ts';

const READY_TIMEOUT_MS = 90_000;
const LOOK_INTERVAL_MS = 300;
const PLAIN_INTERVAL_MS = 2_000;
/** How long the mesh may take to go before it is given up on; the next start would clean it. */
const END_TIMEOUT_MS = 30_000;

export interface DemoOptions {
  readonly mesh: string;
  /** Check what was seen, and answer with the exit code. */
  readonly once: boolean;
  /** End by itself after so long; undefined: when the user ends it. */
  readonly seconds: number | undefined;
  /** With `once`: so much longer where not everything was seen yet that should be; 0 where absent. */
  readonly patienceSeconds?: number;
}

/** Runs the demo from start to clean end. @returns the exit code */
export async function runDemo(options: DemoOptions): Promise<number> {
  const running = await runningMesh(options.mesh);
  if (running !== undefined)
    throw new LocalMeshError(
      'LOCAL_MESH_STATE',
      `a mesh ${options.mesh} runs already, of ${running.manifests}: end it there, or with: loam local down --name ${options.mesh}`,
    );
  const interrupted = new AbortController();
  const onSignal = (): void => {
    if (interrupted.signal.aborted) console.error('still removing everything, a moment …');
    interrupted.abort();
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const signal of signals) process.on(signal, onSignal);
  const manifests = join(packageRoot(), 'deploy', 'examples', 'shop');
  let supervisor: StartedSupervisor | undefined;
  try {
    supervisor = startSupervisor({
      ...{ mesh: options.mesh, manifests, temporaryManifests: true, dieWithParent: true },
    });
    return await show(options, supervisor, interrupted.signal);
  } catch (error) {
    if (interrupted.signal.aborted) return 130;
    throw error;
  } finally {
    if (supervisor !== undefined) await end(options.mesh, supervisor);
    for (const signal of signals) process.off(signal, onSignal);
  }
}

async function show(
  options: DemoOptions,
  supervisor: StartedSupervisor,
  interrupted: AbortSignal,
): Promise<number> {
  console.log(
    'Starting two nodes and the shop: frontend, auth and its fallback, three payments, backend, Redis, a waypoint; and a kiosk.',
  );
  const status = await waitUntilReady(
    {
      mesh: options.mesh,
      timeoutMs: READY_TIMEOUT_MS,
      signal: interrupted,
      onWaiting: (problems) => console.log(`  waiting for ${waitingText(problems)}`),
    },
    supervisor,
  );
  let supervisorEnd: number | undefined;
  void supervisor.exited.then((code) => (supervisorEnd = code));
  const observer = new Observer(status);
  const over = (): boolean => interrupted.aborted || supervisorEnd !== undefined;
  const deadline = options.seconds === undefined ? Infinity : Date.now() + options.seconds * 1000;
  const last = deadline + (options.patienceSeconds ?? 0) * 1000;
  const wrong = (): string[] => [
    ...findWrong(observer.edges()),
    ...findWrongRequests(observer.requestsSeen()),
    ...observer.view().problems.map(({ what, why }) => `${what}: ${why}`),
  ];
  const timeIsUp = (): boolean => {
    const now = Date.now();
    return now >= deadline && (!options.once || now >= last || wrong().length === 0);
  };
  const terminal = process.stdout.isTTY
    ? new Terminal(process.stdout, process.env['NO_COLOR'] === undefined)
    : undefined;
  if (terminal === undefined) for (const hint of hints(status.report)) console.log(hint);
  try {
    let printedAt = Date.now();
    while (!over() && !timeIsUp()) {
      await observer.look();
      const view = observer.view();
      terminal?.paint((size) => screen(view, size));
      if (terminal === undefined && Date.now() - printedAt >= PLAIN_INTERVAL_MS) {
        console.log(momentLine(view));
        printedAt = Date.now();
      }
      await sleep(LOOK_INTERVAL_MS, undefined, { signal: interrupted }).catch(() => undefined);
    }
  } finally {
    terminal?.[Symbol.dispose]();
    observer.close();
  }
  const end = observer.view();
  // Of a mesh that is gone it is no news that nothing of it answers.
  const gone = supervisorEnd !== undefined;
  console.log(`\n${summaryText(gone ? { ...end, problems: [] } : end)}\n`);
  if (supervisorEnd !== undefined && !interrupted.aborted) {
    console.log(endedText(options.mesh, supervisorEnd, supervisor.said()));
    return 1;
  }
  if (!options.once) return 0;
  if (interrupted.aborted) return 130;
  const found = wrong();
  if (found.length === 0) {
    console.log(
      "All is as the shop's own manifests say: every call is mutual TLS between the identities shown, requests are",
    );
    console.log(
      'split as configured, no failure of an application reached a client, and what no policy allows was denied.',
    );
    return 0;
  }
  console.log("NOT as the shop's own manifests say:");
  for (const text of found) console.log(`  ${text}`);
  return 1;
}

/** Nobody but another command tells a supervisor to end in good order. */
function endedText(mesh: string, code: number, said: string): string {
  if (code === 0) return `The mesh ${mesh} was taken down from elsewhere.`;
  return `The mesh ended by itself (${code})${said === '' ? '' : `: ${said}`}`;
}

async function end(mesh: string, supervisor: StartedSupervisor): Promise<void> {
  const already = await Promise.race([supervisor.exited, sleep(0, undefined)]);
  // The mesh is another process's: its end is none of our business.
  if (already === LOCK_TAKEN) return;
  console.log('Removing everything …');
  if (already === undefined) await askToStop(mesh, supervisor);
  const patience = new AbortController();
  const ended = await Promise.race([
    supervisor.exited,
    sleep(END_TIMEOUT_MS, undefined, { signal: patience.signal }).catch(() => undefined),
  ]);
  patience.abort();
  if (ended === undefined) {
    console.error(
      `the supervisor of mesh ${mesh} (pid ${supervisor.pid}) does not end; its log: ${meshPaths(mesh).supervisorLog}`,
    );
    return;
  }
  // One that was killed, or ended before it could listen to signals, has left something.
  if (ended !== 0) await takeDown(mesh);
  console.log('All gone.');
}

async function askToStop(mesh: string, supervisor: StartedSupervisor): Promise<void> {
  await ask({ socketPath: meshPaths(mesh).controlSocket }, '/stop', 'POST').catch(() => {
    // It has no control socket yet, or not any more: a signal says the same.
    try {
      process.kill(supervisor.pid, 'SIGTERM');
    } catch {
      // It ended by itself.
    }
  });
}
