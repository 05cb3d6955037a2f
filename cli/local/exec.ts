import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { LocalMeshError } from './errors.ts';
import { childrenOf } from './process-record.ts';
import { meshEnvironment } from './programs.ts';
import type { PodReport, SupervisorReport } from './report.ts';
import { inSandbox } from './sandbox.ts';

/** Signals that a terminal sends to the command itself already, as it shares our process group. */
const FROM_TERMINAL = ['SIGINT', 'SIGQUIT'] as const;
const FORWARDED = ['SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const;

/** The pod that a person means by `namespace/name`, or by a name that only one pod has. @throws LocalMeshError */
export function findPod(report: SupervisorReport, wanted: string): PodReport {
  const found = report.pods.filter((pod) =>
    wanted.includes('/') ? `${pod.namespace}/${pod.name}` === wanted : pod.name === wanted,
  );
  const [pod] = found;
  if (found.length === 1 && pod !== undefined) return pod;
  const all = report.pods.map((each) => `${each.namespace}/${each.name}`).sort();
  throw new LocalMeshError(
    'LOCAL_MESH_INPUT',
    found.length === 0
      ? `there is no pod ${JSON.stringify(wanted)}; there are: ${all.join(', ') || 'none'}`
      : `several pods are named ${wanted}; say which: ${found.map((each) => `${each.namespace}/${each.name}`).join(', ')}`,
  );
}

/**
 * Runs a command in a pod, with this process's terminal, input and output.
 *
 * @returns its exit code; 128 plus the signal's number when a signal ended it
 * @throws LocalMeshError when the pod has no processes to join
 */
export function execInPod(
  report: SupervisorReport,
  pod: PodReport,
  command: readonly [string, ...string[]],
): Promise<number> {
  if (pod.initPid === undefined)
    throw new LocalMeshError(
      'LOCAL_MESH_STATE',
      `pod ${pod.namespace}/${pod.name} does not run (${pod.phase.phase})`,
    );
  const [file, ...args] = inSandbox(pod.initPid, 'HUP', report.manifests, command);
  const env = {
    ...process.env,
    PATH: meshEnvironment('')['PATH'],
    HOSTNAME: pod.name,
    POD_NAME: pod.name,
    POD_NAMESPACE: pod.namespace,
    POD_IP: pod.ip,
    NODE_NAME: pod.node,
  };
  // When this process is killed, so is nsenter, and with it the command.
  const child = spawn('setpriv', ['--pdeathsig', 'TERM', '--', file, ...args], { stdio: 'inherit', env });
  const toCommand = (signal: NodeJS.Signals): void => {
    // nsenter itself would end and take the command with it; the command shall decide.
    const [inner] = childrenOf(child.pid ?? -1);
    try {
      process.kill(inner ?? child.pid ?? -1, signal);
    } catch {
      // Ended in this moment.
    }
  };
  for (const signal of FORWARDED) process.on(signal, toCommand);
  for (const signal of FROM_TERMINAL)
    process.on(signal, (name) => {
      if (!process.stdin.isTTY) toCommand(name);
    });
  return new Promise((resolve, reject) => {
    child.once('error', (error) =>
      reject(new LocalMeshError('LOCAL_MESH_COMMAND', `nsenter (of util-linux): ${error.message}`)),
    );
    child.once('exit', (code, signal) =>
      resolve(signal === null ? (code ?? 1) : 128 + constants.signals[signal]),
    );
  });
}
