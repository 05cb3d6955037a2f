import { join } from 'node:path';

/** All state of local meshes: a tmpfs on every Linux of today, so a reboot clears it. */
export const STATE_ROOT = '/run/loam';

/** Where one mesh keeps what. Directories are 0700: they hold a CA key, tokens and control sockets. */
export interface MeshPaths {
  readonly dir: string;
  /** Held with flock by the supervisor, or by whoever cleans up. Outside `dir`, which is removed. */
  readonly lock: string;
  /** What the supervisor itself says, for the case that it cannot start. Outside `dir`, too. */
  readonly supervisorOutput: string;
  readonly meshFile: string;
  readonly controlSocket: string;
  readonly processes: string;
  readonly logs: string;
  readonly controllerState: string;
  readonly controllerStatus: string;
  readonly tokens: string;
  readonly assignments: string;
  readonly supervisorLog: string;
  tokenOf(node: string): string;
  podsOf(node: string): string;
  zdsOf(node: string): string;
  agentStatusOf(node: string): string;
  logOf(program: 'agent' | 'ztunnel', node: string): string;
  gatewayToken(namespace: string, gateway: string): string;
  waypointLog(namespace: string, gateway: string, index: number): string;
  podDir(namespace: string, name: string): string;
  podLog(namespace: string, name: string, container: string): string;
}

export function meshPaths(mesh: string): MeshPaths {
  const dir = join(STATE_ROOT, mesh);
  const logs = join(dir, 'log');
  return {
    dir,
    lock: join(STATE_ROOT, `${mesh}.lock`),
    supervisorOutput: join(STATE_ROOT, `${mesh}.supervisor.out`),
    meshFile: join(dir, 'mesh.json'),
    controlSocket: join(dir, 'control.sock'),
    processes: join(dir, 'processes'),
    logs,
    controllerState: join(dir, 'controller'),
    controllerStatus: join(dir, 'controller.sock'),
    tokens: join(dir, 'tokens.json'),
    assignments: join(dir, 'assignments.json'),
    supervisorLog: join(logs, 'supervisor.log'),
    tokenOf: (node) => join(dir, 'nodes', node, 'token'),
    podsOf: (node) => join(dir, 'nodes', node, 'pods.json'),
    zdsOf: (node) => join(dir, 'nodes', node, 'zds.sock'),
    agentStatusOf: (node) => join(dir, 'nodes', node, 'agent.sock'),
    logOf: (program, node) => join(logs, `${program}-${node}.log`),
    gatewayToken: (namespace, gateway) => join(dir, 'waypoints', namespace, gateway, 'token'),
    waypointLog: (namespace, gateway, index) => join(logs, `waypoint-${namespace}_${gateway}-${index}.log`),
    podDir: (namespace, name) => join(dir, 'pods', namespace, name),
    podLog: (namespace, name, container) => join(logs, 'pods', `${namespace}_${name}_${container}.log`),
  };
}
