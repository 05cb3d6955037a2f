import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { LocalMeshError } from './errors.ts';
import { writeAtomically } from './files.ts';
import { netnsPath } from './names.ts';
import { STATE_ROOT } from './paths.ts';
import { childrenOf, type ProcessRecords } from './process-record.ts';

/** Until DNS is part of the mesh, names are in /etc/hosts; an address where nothing listens fails at once. */
const RESOLV_CONF = 'nameserver 127.0.0.1\noptions timeout:1 attempts:1\n';
const START_TIMEOUT_MS = 15_000;

/**
 * The first process of a pod: prepares its view of the file system, then only reaps orphans. Arguments: hosts file,
 * resolv.conf, pod name. The pod does not see the mesh's state (a CA key, tokens) nor the other namespaces' handles.
 */
const INIT = `
set -e
echo "$3" > /proc/sys/kernel/hostname
mount --bind "$1" /etc/hosts
if [ -e /etc/resolv.conf ]; then mount --bind "$2" /etc/resolv.conf; fi
mount --make-rprivate /run/netns
umount -R -l /run/netns
mount -t tmpfs -o ro,size=4k loam ${STATE_ROOT}
echo ready
trap 'exit 0' TERM
while :; do sleep 2147483647 & wait; done
`;

export interface SandboxOptions {
  readonly dir: string;
  readonly netns: string;
  readonly podName: string;
  readonly env: NodeJS.ProcessEnv;
  readonly records: ProcessRecords;
  /** Called once when the sandbox is gone, by itself or by stop(). */
  readonly onEnd: () => void;
}

/** The namespaces of one pod (network, mounts, process ids, host name, IPC) and the init that holds them. */
export class Sandbox {
  readonly #child: ChildProcess;
  readonly initPid: number;
  #ended = false;

  private constructor(child: ChildProcess, initPid: number, options: SandboxOptions) {
    this.#child = child;
    this.initPid = initPid;
    child.once('exit', () => this.#end(options));
    if (child.exitCode !== null || child.signalCode !== null) this.#end(options);
  }

  static hostsPath(dir: string): string {
    return join(dir, 'hosts');
  }

  /** Starts the init; the hosts file must exist. @throws LocalMeshError with what the init said */
  static async start(options: SandboxOptions): Promise<Sandbox> {
    const { dir, netns, podName, env, records } = options;
    const resolvConf = join(dir, 'resolv.conf');
    writeAtomically(resolvConf, RESOLV_CONF);
    const child = spawn(
      'setpriv',
      [
        ...['--pdeathsig', 'KILL', '--'],
        ...['nsenter', `--net=${netnsPath(netns)}`, '--'],
        // slave: what the machine unmounts goes away here too, else a removed pod's namespace would live on in ours.
        ...['unshare', '--mount', '--uts', '--ipc', '--pid', '--fork', '--kill-child=KILL'],
        ...['--propagation', 'slave', '--mount-proc', '--'],
        ...['sh', '-c', INIT, 'init', Sandbox.hostsPath(dir), resolvConf, podName],
      ],
      { env, cwd: '/', stdio: ['ignore', 'pipe', 'pipe'], detached: true },
    );
    if (child.pid !== undefined) records.add(child.pid);
    await ready(child, podName);
    const [initPid] = childrenOf(child.pid ?? -1);
    if (initPid === undefined)
      throw new LocalMeshError('LOCAL_MESH_COMMAND', `pod ${podName}: its init ended at once`);
    return new Sandbox(child, initPid, options);
  }

  get alive(): boolean {
    return !this.#ended;
  }

  /** Kills every process of the pod; the kernel does so when the init dies. */
  async stop(): Promise<void> {
    if (this.#ended) return;
    const gone = new Promise<void>((resolve) => this.#child.once('exit', () => resolve()));
    // unshare's own death takes the init with it (--kill-child).
    try {
      process.kill(this.initPid, 'SIGKILL');
    } catch {
      this.#child.kill('SIGKILL');
    }
    await gone;
  }

  #end(options: SandboxOptions): void {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#child.pid !== undefined) options.records.remove(this.#child.pid);
    options.onEnd();
  }
}

function ready(child: ChildProcess, podName: string): Promise<void> {
  return new Promise((resolve, reject) => {
    let said = '';
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new LocalMeshError('LOCAL_MESH_COMMAND', `pod ${podName}: its init does not start: ${said}`));
    }, START_TIMEOUT_MS);
    const fail = (why: string): void => {
      clearTimeout(timer);
      reject(
        new LocalMeshError('LOCAL_MESH_COMMAND', `pod ${podName}: its init failed (${why}): ${said.trim()}`),
      );
    };
    child.stderr?.on('data', (chunk: Buffer) => (said += chunk.toString()));
    child.stdout?.on('data', (chunk: Buffer) => {
      if (!chunk.toString().includes('ready')) return;
      clearTimeout(timer);
      resolve();
    });
    child.once('error', (error) => fail(error.message));
    child.once('exit', (code) => fail(`exit code ${code ?? '?'}`));
  });
}

/**
 * The command line that runs a command in the namespaces of a pod. Its process is a grandchild: nsenter waits for it
 * and ends as it ends; when nsenter is killed, it gets the signal `onOrphan`.
 */
export function inSandbox(
  initPid: number,
  onOrphan: 'KILL' | 'TERM' | 'HUP',
  cwd: string,
  command: readonly [string, ...string[]],
): [string, ...string[]] {
  return [
    'nsenter',
    ...['-t', String(initPid), '--net', '--mount', '--uts', '--ipc', '--pid', '--'],
    ...['setpriv', '--pdeathsig', onOrphan, '--'],
    // The new mount namespace starts at its root: go where the manifests are, from where commands are named.
    ...['sh', '-c', 'cd "$1" 2>/dev/null; shift; exec "$@"', 'sh', cwd, ...command],
  ];
}
