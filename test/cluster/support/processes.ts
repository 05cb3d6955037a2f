/** Processes of a cluster, as this machine numbers them: tests end some of them, always by their number. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import type { TestCluster, TestPod } from './cluster.ts';

/** All processes of a pod, its sandbox's first one among them. */
export function processesOfPod({ metadata: { uid } }: Pick<TestPod, 'metadata'>): number[] {
  return everyProcess().filter((pid) => read(`/proc/${pid}/cgroup`).includes(`pod${uid}`));
}

/** The first process of a pod's sandbox, which holds its namespaces. */
export function sandboxOf(pod: Pick<TestPod, 'metadata'>): number[] {
  return processesOfPod(pod).filter((pid) => read(`/proc/${pid}/comm`).trim() === 'pause');
}

/** Processes of a node itself: `kubelet`, `containerd`. They are started again when they end. */
export function processesOfNode(cluster: TestCluster, node: string, ...names: readonly string[]): number[] {
  const own = pidNamespace(cluster.node(node).init);
  return everyProcess().filter(
    (pid) => names.includes(read(`/proc/${pid}/comm`).trim()) && pidNamespace(pid) === own,
  );
}

/** Ends processes as a crash does; those that have ended already do not matter. */
export function kill(...pids: readonly number[]): void {
  for (const pid of pids)
    try {
      process.kill(pid, 'SIGKILL');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
}

function everyProcess(): number[] {
  return readdirSync('/proc').map(Number).filter(Number.isInteger);
}

function pidNamespace(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`);
  } catch {
    return undefined;
  }
}

/** Empty for a process that has ended. */
function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
