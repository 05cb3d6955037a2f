import type { Earlier } from '../mesh/earlier.ts';
import { ask, askJson } from './http.ts';

/** What the agent of a node knows of one pod, read from the kernel. */
export interface EnrolledPod {
  readonly uid: string;
  /** True only when the agent found everything in force in the kernel; else `problem` says what is not. */
  readonly verified: boolean;
  readonly problem?: string;
  /** What is not guarded of what it sends; empty: nothing (the agent's `guard`). */
  readonly unguarded: readonly string[];
  /** Connections from before it came into the mesh, in plaintext; absent: none. */
  readonly earlier?: Earlier;
}

/** The pods that the agent of a node reports. @throws LocalMeshError when it does not answer */
export async function agentPods(statusSocket: string): Promise<EnrolledPod[]> {
  const answer = (await askJson({ socketPath: statusSocket }, '/status')) as { pods?: unknown };
  if (!Array.isArray(answer.pods)) return [];
  return answer.pods.flatMap((value: unknown): EnrolledPod[] => {
    const { uid, state, problem, guard, earlier } = value as Readonly<Record<string, unknown>>;
    if (typeof uid !== 'string') return [];
    const text = typeof problem === 'string' ? { problem } : {};
    const before = earlierOf(earlier);
    return [
      {
        ...{ uid, verified: state === 'verified', unguarded: unguardedOf(guard), ...text },
        ...(before && { earlier: before }),
      },
    ];
  });
}

function earlierOf(value: unknown): Earlier | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { count, cutAt } = value as Readonly<Record<string, unknown>>;
  if (typeof count !== 'number' || count === 0) return undefined;
  return { count, ...(typeof cutAt === 'string' && { cutAt }) };
}

/** All of it where the guard is switched off; where it is on, the interfaces at which none can stand. */
function unguardedOf(guard: unknown): string[] {
  if (typeof guard !== 'object' || guard === null) return [];
  const { mode, unguarded } = guard as Readonly<Record<string, unknown>>;
  if (mode === 'none') return ['all'];
  return Array.isArray(unguarded) ? unguarded.filter((name) => typeof name === 'string') : [];
}

/** The uids of the pods that are verifiably enrolled. */
export async function enrolledUids(statusSocket: string): Promise<ReadonlySet<string>> {
  return new Set((await agentPods(statusSocket)).filter((pod) => pod.verified).map((pod) => pod.uid));
}

/** What an agent waits for; undefined: it does its part. @throws LocalMeshError when it does not answer */
export async function agentReadiness(statusSocket: string): Promise<string | undefined> {
  const { status, body } = await ask({ socketPath: statusSocket }, '/healthz/ready');
  return status === 200 ? undefined : body.trim();
}

interface ProxyRow {
  readonly pid: number;
  readonly role: string;
}

async function proxies(statusSocket: string): Promise<ProxyRow[]> {
  const answer = (await askJson({ socketPath: statusSocket }, '/status')) as { proxies?: unknown };
  if (!Array.isArray(answer.proxies)) return [];
  return answer.proxies.flatMap((value: unknown): ProxyRow[] => {
    const { pid, role } = value as { pid?: unknown; role?: unknown };
    return typeof pid === 'number' && typeof role === 'string' ? [{ pid, role }] : [];
  });
}

/** The pid of the ztunnel that accepts the node's connections; of the youngest, where two do for a moment. */
export async function servingProxy(statusSocket: string): Promise<number | undefined> {
  return (await proxies(statusSocket)).findLast(({ role }) => role === 'serving')?.pid;
}

/** What a ztunnel that does not serve does instead, as its node's agent sees it. */
export async function waitingProxy(statusSocket: string, pid: number): Promise<string> {
  const row = (await proxies(statusSocket)).find((each) => each.pid === pid);
  return row === undefined ? 'it has not connected to the agent' : `it is ${row.role}`;
}
