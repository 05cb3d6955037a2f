/** How a cluster's mesh is: its programs, and the pods that agents have in it. */
import type { V1Pod } from '@kubernetes/client-node';
import { reasonOf } from '../../install/cluster/pod-reasons.ts';
import { shutGates, type ControllerStatus } from '../../local/status.ts';
import { errorText } from '../../../lib/loam-error.ts';
import { MeshError } from '../errors.ts';
import type { Warning } from '../../local/warnings.ts';
import type { Earlier } from '../earlier.ts';
import { controllerProblems, controllerWarnings } from './controller-words.ts';
import type { ClusterReader } from './reader.ts';

export interface ProgramStatus {
  readonly program: 'controller' | 'agent' | 'ztunnel' | 'waypoint';
  readonly namespace: string;
  readonly pod: string;
  readonly node: string;
  readonly restarts: number;
  /** Absent: it is ready. */
  readonly problem?: string;
}

/** A pod that an agent has in the mesh, or should. */
export interface EnrolledStatus {
  readonly namespace: string;
  readonly name: string;
  readonly node: string;
  /** Of its record at the agent; `left-alone`: its labels would have it in the mesh, and it cannot be. */
  readonly state: 'waiting' | 'claimed' | 'verified' | 'leaving' | 'left-alone';
  readonly off?: string;
  readonly problem?: string;
  readonly unguarded: readonly string[];
  /** Connections that were open before; absent: none. */
  readonly earlier?: Earlier;
}

export interface ClusterStatus {
  readonly cluster: string;
  readonly system: string;
  readonly programs: readonly ProgramStatus[];
  readonly pods: readonly EnrolledStatus[];
  /** Nodes whose agent said which pods it has. */
  readonly asked: readonly string[];
  /** The others: their pods are not known. */
  readonly silent: readonly string[];
  readonly problems: readonly { readonly what: string; readonly why: string }[];
  /** What works, and may not be meant so. */
  readonly warnings: readonly Warning[];
}

interface AgentAnswer {
  readonly off?: string;
  readonly problems: readonly string[];
  readonly pods: readonly {
    readonly pod: string;
    readonly state: EnrolledStatus['state'];
    readonly off?: string;
    readonly problem?: string;
    readonly earlier?: Earlier;
    readonly guard: { readonly mode: string; readonly unguarded: readonly string[] };
  }[];
  readonly source: { readonly leftAlone: readonly { readonly pod: string; readonly why: string }[] };
}

/** Asks all programs of the installation that the user may ask. */
export async function clusterStatus(reader: ClusterReader): Promise<ClusterStatus> {
  const { programs, system } = reader;
  const nodes = await programs.nodes();
  const [own, waypoints, agents, controller] = await Promise.all([
    Promise.all(
      (['controller', 'agent', 'ztunnel'] as const).map(async (program) =>
        Promise.all((await programs.podsOf(program)).map((pod) => statusOfProgram(reader, program, pod))),
      ),
    ),
    programs
      .waypointPods()
      .then((pods) => Promise.all(pods.map((pod) => statusOfProgram(reader, 'waypoint', pod)))),
    Promise.all(nodes.map((node) => enrolledAt(reader, node))),
    (reader.get({ program: 'controller' }, '/v1/status') as Promise<ControllerStatus>).catch(whyAbsent),
  ]);
  const all = [...own.flat(), ...waypoints];
  const pods = agents.flatMap((found) => found.pods);
  return {
    ...{ cluster: reader.name, system, programs: all, pods },
    asked: agents.flatMap(({ node, answered }) => (answered ? [node] : [])),
    silent: agents.flatMap(({ node, answered }) => (answered ? [] : [node])),
    problems: [
      ...all.flatMap(({ program, namespace, pod, node, problem }) =>
        problem === undefined
          ? []
          : [{ what: `${program} ${namespace}/${pod}${node === '' ? '' : ` of ${node}`}`, why: problem }],
      ),
      ...uniqueProblems(agents.flatMap(({ problems }) => problems)),
      ...pods.flatMap(podProblems),
      ...(typeof controller === 'string'
        ? [{ what: 'controller', why: controller }]
        : controllerProblems(controller)),
    ],
    warnings:
      typeof controller === 'string'
        ? []
        : controllerWarnings(controller, new Set(pods.map(({ namespace }) => namespace))),
  };
}

/** Who may not ask does not know whether it would answer. */
function whyAbsent(error: unknown): string {
  const why = errorText(error);
  return error instanceof MeshError && error.code === 'MESH_RIGHTS' ? why : `does not answer: ${why}`;
}

async function statusOfProgram(
  reader: ClusterReader,
  program: ProgramStatus['program'],
  pod: V1Pod,
): Promise<ProgramStatus> {
  const { metadata, spec, status } = pod;
  const reason = reasonOf(pod);
  const why = reason === undefined ? undefined : `${reason}${await gatesOf(reader, program, pod)}`;
  return {
    program,
    namespace: metadata?.namespace ?? '',
    pod: metadata?.name ?? '',
    node: spec?.nodeName ?? '',
    restarts: (status?.containerStatuses ?? []).reduce((sum, { restartCount }) => sum + restartCount, 0),
    ...(why !== undefined && { problem: why }),
  };
}

/** What it waits for, by its own word; nothing where it cannot be asked. */
async function gatesOf(
  reader: ClusterReader,
  program: ProgramStatus['program'],
  pod: V1Pod,
): Promise<string> {
  if (program === 'agent' || pod.status?.phase !== 'Running') return '';
  try {
    const { body } = await reader.programs.ask(pod, '/healthz/ready');
    const gates = shutGates(body);
    return gates.length === 0 ? '' : `: ${gates.join('; ')}`;
  } catch {
    return '';
  }
}

async function enrolledAt(
  reader: ClusterReader,
  node: string,
): Promise<Pick<ClusterStatus, 'problems' | 'pods'> & { readonly node: string; readonly answered: boolean }> {
  const what = `agent of ${node}`;
  try {
    const { off, problems, pods, source } = (await reader.get(
      { program: 'agent', node },
      '/status',
    )) as AgentAnswer;
    const alone = source.leftAlone.map(({ pod, why }) => ({
      ...nameOf(pod),
      ...{ node, state: 'left-alone' as const, problem: why, unguarded: [] },
    }));
    return {
      ...{ node, answered: true },
      problems: [
        ...problems.map((why) => ({ what, why })),
        ...(off === undefined
          ? []
          : [
              {
                what: `node ${node}`,
                why: `SWITCHED OFF since ${off}: plain networking, no mTLS and no policy`,
              },
            ]),
      ],
      pods: [
        ...pods.map(({ pod, state, problem, guard, off: since, earlier }): EnrolledStatus => ({
          ...nameOf(pod),
          ...{ node, state, unguarded: guard.mode === 'none' ? ['all'] : guard.unguarded },
          ...(since !== undefined && { off: since }),
          ...(problem !== undefined && { problem }),
          ...(earlier !== undefined && earlier.count > 0 && { earlier }),
        })),
        ...alone,
      ],
    };
  } catch (error) {
    return { node, answered: false, problems: [{ what, why: errorText(error) }], pods: [] };
  }
}

/** One right that is missing is missing at each node. */
function uniqueProblems(problems: ClusterStatus['problems']): ClusterStatus['problems'] {
  return [...Map.groupBy(problems, ({ why }) => why)].flatMap(([why, same]) => {
    const [first] = same;
    return first === undefined || same.length === 1
      ? same
      : [{ what: `${first.what} and ${same.length - 1} more`, why }];
  });
}

function podProblems({
  namespace,
  name,
  state,
  problem,
  off,
}: EnrolledStatus): { what: string; why: string }[] {
  const what = `pod ${namespace}/${name}`;
  if (off !== undefined)
    return [{ what, why: `SWITCHED OFF since ${off}: plain networking, no mTLS and no policy` }];
  if (problem !== undefined) return [{ what, why: problem }];
  // One that comes or goes is so for a moment.
  return state === 'claimed' ? [{ what, why: 'enrolled, and the kernel does not show all of it' }] : [];
}

function nameOf(text: string): { namespace: string; name: string } {
  const [namespace = '', name = ''] = text.split('/');
  return { namespace, name };
}
