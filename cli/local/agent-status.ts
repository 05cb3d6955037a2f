import { askJson } from './http.ts';

/** What the agent of a node knows of one pod, read from the kernel. */
export interface EnrolledPod {
  readonly uid: string;
  /** True only when the agent found everything in force in the kernel; else `problem` says what is not. */
  readonly verified: boolean;
  readonly problem?: string;
}

/** The pods that the agent of a node reports. @throws LocalMeshError when it does not answer */
export async function agentPods(statusSocket: string): Promise<EnrolledPod[]> {
  const answer = (await askJson({ socketPath: statusSocket }, '/status')) as { pods?: unknown };
  if (!Array.isArray(answer.pods)) return [];
  return answer.pods.flatMap((value: unknown): EnrolledPod[] => {
    const { uid, state, problem } = value as { uid?: unknown; state?: unknown; problem?: unknown };
    if (typeof uid !== 'string') return [];
    return [{ uid, verified: state === 'verified', ...(typeof problem === 'string' ? { problem } : {}) }];
  });
}

/** The uids of the pods that are verifiably enrolled. */
export async function enrolledUids(statusSocket: string): Promise<ReadonlySet<string>> {
  return new Set((await agentPods(statusSocket)).filter((pod) => pod.verified).map((pod) => pod.uid));
}
