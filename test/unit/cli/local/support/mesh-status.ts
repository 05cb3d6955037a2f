import type { PodReport } from '../../../../../cli/local/report.ts';
import type { MeshStatus } from '../../../../../cli/local/status.ts';

/** A pod that runs and is ready. */
export function pod(name: string, over: Partial<PodReport> = {}): PodReport {
  return {
    ...{
      namespace: 'shop',
      name,
      node: 'node-a',
      serviceAccount: name,
      uid: `uid-${name}`,
      ip: '198.18.1.2',
      ips: ['198.18.1.2'],
    },
    ...{ netns: `n-${name}`, initPid: 7, phase: { phase: 'running' }, ready: true, wantsEnrolment: true },
    containers: [{ name: 'app', state: 'running', pid: 8, since: 0, restarts: 0 }],
    ...over,
  };
}

/** A mesh of one node in which all is well. */
export function status(pods: readonly PodReport[], over: Partial<MeshStatus> = {}): MeshStatus {
  return {
    report: {
      ...{ mesh: 'local', manifests: '/m', addresses: '198.18.0.0/19', supervisorPid: 1, generation: 1 },
      programs: [
        { program: 'controller', state: 'running', pid: 2, since: 0, restarts: 0 },
        { program: 'agent', node: 'node-a', state: 'running', pid: 3, since: 0, restarts: 0 },
        { program: 'ztunnel', node: 'node-a', state: 'running', pid: 4, since: 0, restarts: 1 },
      ],
      nodes: [{ name: 'node-a', netns: 'n' }],
      pods,
      waypoints: [],
    },
    readiness: {
      controller: { ready: true },
      nodes: [{ node: 'node-a', agent: { ready: true }, ztunnel: { ready: true } }],
      waypoints: {},
    },
    off: [],
    enrolled: Object.fromEntries(pods.map(({ uid }) => [uid, { uid, verified: true, unguarded: [] }])),
    controller: { generation: 3, objects: [], files: [], nodes: [] },
    ...over,
  };
}
