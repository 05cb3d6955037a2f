import type { Kubelet } from './kubelet.ts';
import type { ManagedProcess, ProcessState } from './managed-process.ts';
import type { MeshNode } from './node-pool.ts';
import type { Pod } from './pod.ts';
import type { PodReport, ProgramReport, SupervisorReport, WaypointReport } from './report.ts';
import type { Waypoint } from './waypoint.ts';
import type { WaypointPool } from './waypoint-pool.ts';

/** What a supervisor has; what is absent is not made yet. */
export interface ReportInput {
  readonly mesh: string;
  readonly manifests: string;
  readonly addresses: string;
  readonly controller: ManagedProcess | undefined;
  readonly nodes: readonly MeshNode[];
  readonly kubelet: Kubelet | undefined;
  readonly waypoints: WaypointPool | undefined;
}

const NOT_STARTED: ProcessState = { state: 'stopped' };

/** What the supervisor of a mesh answers at this moment, which is the process that asks. */
export function supervisorReport(input: ReportInput): SupervisorReport {
  const { mesh, manifests, addresses, nodes, kubelet, waypoints } = input;
  return {
    ...{ mesh, manifests, addresses },
    supervisorPid: process.pid,
    ...(kubelet?.generation === undefined ? {} : { generation: kubelet.generation }),
    ...(kubelet?.problem === undefined ? {} : { problem: kubelet.problem }),
    programs: programs(input),
    nodes: nodes.map(({ name, netns }) => ({ name, netns })),
    pods: (kubelet?.pods ?? []).map(podReport),
    waypoints: waypoints === undefined ? [] : waypointReports(waypoints),
  };
}

function programs({ controller, nodes, waypoints }: ReportInput): ProgramReport[] {
  return [
    { program: 'controller', ...(controller?.state ?? NOT_STARTED) },
    ...nodes.flatMap(({ name: node, agent, ztunnel }): ProgramReport[] => [
      { program: 'agent', node, ...agent.state },
      { program: 'ztunnel', node, ...ztunnel.state },
      ...ztunnel.ending.map((state): ProgramReport => ({
        program: 'ztunnel',
        node,
        replaced: true,
        ...state,
      })),
    ]),
    ...(waypoints?.all ?? []).map(waypointProgram),
    ...(waypoints?.replaced ?? []).map((each): ProgramReport => ({
      replaced: true,
      ...waypointProgram(each),
    })),
  ];
}

function waypointProgram({ gateway, index, node, state }: Waypoint): ProgramReport {
  return { program: 'waypoint', node, instance: `${gateway}-${index}`, ...state };
}

function podReport(pod: Pod): PodReport {
  return {
    namespace: pod.manifest.namespace,
    name: pod.manifest.name,
    node: pod.manifest.nodeName,
    serviceAccount: pod.manifest.serviceAccount,
    uid: pod.uid,
    ip: pod.ips[0] ?? '',
    ips: pod.ips,
    netns: pod.netns,
    ...(pod.initPid === undefined ? {} : { initPid: pod.initPid }),
    phase: pod.phase,
    ready: pod.ready,
    wantsEnrolment: pod.wantsEnrolment,
    containers: pod.containers.map((container) => ({ name: container.name, ...container.state })),
  };
}

function waypointReports(pool: WaypointPool): WaypointReport[] {
  return [...pool.problems].map(([gateway, problems]) => {
    const [namespace = '', name = ''] = gateway.split('/');
    const instances = pool.all
      .filter((each) => each.gateway === gateway)
      .map(({ instance, index, node, addresses, netns }) => ({
        name: instance,
        index,
        node,
        ip: addresses.ip4,
        ips: [addresses.ip4, addresses.ip6],
        netns,
      }));
    return { namespace, name, vip: pool.vip(gateway), problems, instances };
  });
}
