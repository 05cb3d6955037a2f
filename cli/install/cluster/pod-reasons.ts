/** Why pods are not ready: what their status says, else the newest warning about them, else what the program in them waits for. */
import type {
  CoreV1Event,
  V1ContainerStateTerminated,
  V1Deployment,
  V1ObjectMeta,
  V1Pod,
} from '@kubernetes/client-node';
import { AGENT_STATUS } from '../render/agent.ts';
import { askReadiness, commandOf } from '../render/programs.ts';
import type { ClusterApi } from './api.ts';
import { collectionPath } from './kinds.ts';

/** Commands in pods; see PodExec. */
export interface PodAsker {
  /** @returns the text that the command wrote. @throws Error with what it said when it failed */
  run(namespace: string, pod: string, container: string, command: readonly string[]): Promise<string>;
}

const STARTING = 'is being started';
const UNREADY = 'runs, but is not ready';
const MAX_LAST_WORDS = 300;

/** Why a pod is not ready, as its status says; undefined when it is, or is about to end. */
export function reasonOf({ metadata, status }: V1Pod): string | undefined {
  if (metadata?.deletionTimestamp !== undefined) return undefined;
  const conditions = status?.conditions ?? [];
  if (conditions.some(({ type, status: is }) => type === 'Ready' && is === 'True')) return undefined;
  const unscheduled = conditions.find(({ type, status: is }) => type === 'PodScheduled' && is === 'False');
  if (unscheduled !== undefined) return `not scheduled: ${unscheduled.message ?? unscheduled.reason ?? ''}`;
  for (const { state, lastState, ready } of [
    ...(status?.initContainerStatuses ?? []),
    ...(status?.containerStatuses ?? []),
  ]) {
    const ended = state?.terminated ?? lastState?.terminated;
    const end = ended === undefined ? '' : `: ${endText(ended)}`;
    const waiting = state?.waiting;
    if (
      waiting?.reason !== undefined &&
      waiting.reason !== 'ContainerCreating' &&
      waiting.reason !== 'PodInitializing'
    )
      return `${waiting.reason}${waiting.reason === 'CrashLoopBackOff' ? end : waiting.message === undefined ? '' : `: ${waiting.message}`}`;
    if (state?.terminated !== undefined && state.terminated.exitCode !== 0) return endText(state.terminated);
    if (state?.running !== undefined && !ready) return `${UNREADY}${end === '' ? '' : `; before${end}`}`;
  }
  return status?.message ?? STARTING;
}

/** How a container ended, and what it said last. */
function endText({ exitCode, reason, message }: V1ContainerStateTerminated): string {
  const line = (message ?? '')
    .split('\n')
    .map((each) => each.trim())
    .filter((each) => each !== '')
    .at(-1);
  const said = line === undefined ? '' : `: ${wordsOf(line).slice(0, MAX_LAST_WORDS)}`;
  return `it ended with ${exitCode}${reason === undefined ? '' : ` (${reason})`}${said}`;
}

/** Our programs log JSON: a person wants what it says. */
function wordsOf(line: string): string {
  try {
    const { msg, error, err } = JSON.parse(line) as {
      msg?: string;
      error?: string;
      err?: { message?: string };
    };
    const why = error ?? err?.message;
    return msg === undefined ? line : `${msg}${why === undefined ? '' : `: ${why}`}`;
  } catch {
    return line;
  }
}

/** Asks further than a pod's status goes, with the user's rights; what may not be read is left out. */
export class PodReasons {
  readonly #api: Pick<ClusterApi, 'list'>;
  readonly #pods: PodAsker;

  constructor(api: Pick<ClusterApi, 'list'>, pods: PodAsker) {
    this.#api = api;
    this.#pods = pods;
  }

  /** Why a pod is not ready; undefined when it is, or is about to end. */
  async of(pod: V1Pod): Promise<string | undefined> {
    const reason = reasonOf(pod);
    if (reason === undefined || !(reason.startsWith(STARTING) || reason.startsWith(UNREADY))) return reason;
    const more = reason.startsWith(UNREADY) ? await this.#gates(pod) : undefined;
    const why = more ?? (await this.warningAbout(pod));
    return why === undefined ? reason : `${reason}: ${why}`;
  }

  /** Why a workload has no pods, where somebody has said it. */
  async ofWorkload(
    workload: { readonly metadata?: V1ObjectMeta } & V1Deployment,
  ): Promise<string | undefined> {
    const failure = workload.status?.conditions?.find(
      ({ type, status }) => type === 'ReplicaFailure' && status === 'True',
    );
    return failure?.message ?? (await this.warningAbout(workload));
  }

  /** `reason: message` of the newest warning. */
  async warningAbout({ metadata }: { readonly metadata?: V1ObjectMeta }): Promise<string | undefined> {
    const uid = metadata?.uid;
    if (uid === undefined) return undefined;
    const events = await this.#api
      .list<CoreV1Event>(collectionPath('v1/Event', metadata?.namespace), {
        fieldSelector: `involvedObject.uid=${uid},type=Warning`,
      })
      .catch((): CoreV1Event[] => []);
    const newest = events
      .filter(({ involvedObject, type }) => involvedObject.uid === uid && type === 'Warning')
      .toSorted((a, b) => timeOf(a) - timeOf(b))
      .at(-1);
    if (newest === undefined) return undefined;
    const text = (newest.message ?? '').replace(/\s+/g, ' ').trim().slice(0, MAX_LAST_WORDS);
    return `${newest.reason ?? 'a warning'}: ${text}`;
  }

  /** What the program itself says that it waits for. */
  async #gates({ metadata, spec }: V1Pod): Promise<string | undefined> {
    const container = spec?.containers[0]?.name;
    const command = container === undefined ? undefined : READINESS[container];
    if (container === undefined || command === undefined) return undefined;
    const said = await this.#pods
      .run(metadata?.namespace ?? '', metadata?.name ?? '', container, command)
      // The agent's probe says it and fails.
      .catch((error: unknown) => (error instanceof Error ? error.message : ''));
    try {
      const { gates } = JSON.parse(said) as {
        gates: readonly { name: string; ready: boolean; reason: string }[];
      };
      const closed = gates.filter(({ ready }) => !ready);
      return closed.length === 0
        ? undefined
        : closed.map(({ name, reason }) => `${name}: ${reason}`).join('; ');
    } catch {
      return undefined;
    }
  }
}

/** How a program is asked, by the name of its container. */
const READINESS: Readonly<Record<string, readonly string[]>> = {
  agent: [...commandOf('agent/ready-probe'), AGENT_STATUS],
  controller: askReadiness(),
  ztunnel: askReadiness(),
};

/** As JSON it is text, whatever the client's types say. */
function timeOf({ lastTimestamp, eventTime, series, metadata }: CoreV1Event): number {
  const text = (series?.lastObservedTime ??
    lastTimestamp ??
    eventTime ??
    metadata.creationTimestamp) as unknown;
  return Date.parse(String(text)) || 0;
}
