import { dirname, join } from 'node:path';
import type { AddressPlan } from './addresses.ts';
import { entryOf, ownInstallation, type Installation, type ProgramName } from './installation.ts';
import { agentInstance, netnsPath } from './names.ts';
import type { MeshPaths } from './paths.ts';
import { MESH_MARKER } from './process-record.ts';

/** The ports that istiod and ztunnel have in a cluster; here each lies in a namespace of its own. */
export const XDS_PORT = 15012;
export const ZTUNNEL_ADMIN_PORT = 15000;
export const ZTUNNEL_METRICS_PORT = 15020;
export const ZTUNNEL_READY_PORT = 15021;
export const CONTROLLER_METRICS_PORT = 15020;
export const WAYPOINT_PORT = 15008;
export const WAYPOINT_ADMIN_PORT = 15000;
export const WAYPOINT_METRICS_PORT = 15020;
export const WAYPOINT_READY_PORT = 15021;
/** How long a ztunnel or a waypoint that was replaced may serve what was open then. */
export const DRAIN_MS = 600_000;
export const TRUST_DOMAIN = 'cluster.local';
export const CLUSTER_ID = 'Kubernetes';

type Command = [string, ...string[]];

/** The command line of one of our programs, in a network namespace of its own; mounts stay the machine's. */
function program(
  installation: Installation,
  name: ProgramName,
  netns: string,
  args: readonly string[],
): Command {
  return [
    ...(['nsenter', `--net=${netnsPath(netns)}`, '--'] as const),
    installation.node,
    // Nobody opens an inspector in a running mesh by a signal.
    ...['--disable-sigusr1', '--enable-source-maps', moduleOf(installation, name)],
    ...args,
  ];
}

function moduleOf(installation: Installation, name: ProgramName): string {
  return entryOf(installation, name) ?? join(installation.root, name, 'main.js');
}

/** Whether the program is part of this installation. */
export function programExists(name: ProgramName): boolean {
  return entryOf(ownInstallation(), name) !== undefined;
}

/** `host:port` on which the controller serves the nodes. */
export function controllerAddress(plan: AddressPlan): string {
  return `${plan.control.ip4}:${XDS_PORT}`;
}

export function controllerCommand(
  netns: string,
  plan: AddressPlan,
  paths: MeshPaths,
  manifests: string,
): Command {
  return program(ownInstallation(), 'controller', netns, [
    ...['--manifests', manifests],
    ...['--assignments', paths.assignments],
    ...['--state', paths.controllerState],
    ...['--listen', controllerAddress(plan)],
    ...['--status', paths.controllerStatus],
    ...['--tokens', paths.tokens],
    ...['--metrics', `127.0.0.1:${CONTROLLER_METRICS_PORT}`],
    ...['--trust-domain', TRUST_DOMAIN],
    ...['--cluster-id', CLUSTER_ID],
  ]);
}

export function agentCommand(
  installation: Installation,
  netns: string,
  mesh: string,
  node: string,
  paths: MeshPaths,
): Command {
  return program(installation, 'agent', netns, agentArguments(agentInstance(mesh, node), node, paths));
}

function agentArguments(instance: string, node: string, paths: MeshPaths): string[] {
  return [
    ...['--instance', instance],
    ...['--node', node],
    ...['--pods', paths.podsOf(node)],
    ...['--zds', paths.zdsOf(node)],
    ...['--status', paths.agentStatusOf(node)],
  ];
}

/** Detaches and removes all that an agent left in the kernel; needs nothing of the mesh but its instance's name. */
export function agentCleanupCommand(instance: string, paths: MeshPaths): Command {
  const module = moduleOf(ownInstallation(), 'agent');
  return [process.execPath, module, ...agentArguments(instance, 'cleanup', paths), '--cleanup'];
}

export function ztunnelCommand(
  installation: Installation,
  netns: string,
  node: string,
  plan: AddressPlan,
  paths: MeshPaths,
): Command {
  const controller = `https://${controllerAddress(plan)}`;
  const root = `${paths.controllerState}/root-cert.pem`;
  return program(installation, 'ztunnel', netns, [
    ...['--node', node],
    ...['--cluster-id', CLUSTER_ID],
    ...['--zds', paths.zdsOf(node)],
    ...['--agent-status', paths.agentStatusOf(node)],
    ...['--xds-address', controller],
    ...['--ca-address', controller],
    ...['--xds-root', root],
    ...['--ca-root', root],
    ...['--token', paths.tokenOf(node)],
    ...['--trust-domain', TRUST_DOMAIN],
    ...['--admin', `127.0.0.1:${ZTUNNEL_ADMIN_PORT}`],
    ...['--metrics', `[::]:${ZTUNNEL_METRICS_PORT}`],
    ...['--ready', `[::]:${ZTUNNEL_READY_PORT}`],
    ...['--drain-deadline-ms', String(DRAIN_MS)],
  ]);
}

export interface WaypointPlacement {
  readonly netns: string;
  readonly gateway: { readonly namespace: string; readonly name: string };
  readonly node: string;
  readonly plan: AddressPlan;
  readonly paths: MeshPaths;
}

export function waypointCommand(
  installation: Installation,
  { netns, gateway, node, plan, paths }: WaypointPlacement,
): Command {
  const controller = `https://${controllerAddress(plan)}`;
  const root = `${paths.controllerState}/root-cert.pem`;
  return program(installation, 'waypoint', netns, [
    ...['--gateway', `${gateway.namespace}/${gateway.name}`],
    ...['--node', node],
    ...['--cluster-id', CLUSTER_ID],
    ...['--xds-address', controller],
    ...['--ca-address', controller],
    ...['--xds-root', root],
    ...['--ca-root', root],
    ...['--token', paths.gatewayToken(gateway.namespace, gateway.name)],
    ...['--trust-domain', TRUST_DOMAIN],
    ...['--listen', `[::]:${WAYPOINT_PORT}`],
    ...['--admin', `127.0.0.1:${WAYPOINT_ADMIN_PORT}`],
    ...['--metrics', `[::]:${WAYPOINT_METRICS_PORT}`],
    ...['--ready', `[::]:${WAYPOINT_READY_PORT}`],
    ...['--drain-deadline-ms', String(DRAIN_MS)],
  ]);
}

/** Settings of our programs that are the supervisor's to give: each program reads them where it has such a flag. */
const PASSED_ON = [
  'LOAM_CERT_TTL_S',
  'LOAM_DIAGNOSTICS',
  'LOAM_MEMORY_LIMIT_MB',
  'LOAM_WORKER_HEAP_MB',
  'LOAM_XDS_ON_DEMAND',
] as const;

/**
 * The environment of everything in the mesh: nothing of the user's but what programs cannot do without and what is
 * {@link PASSED_ON}, with our Node first in PATH, so that a pod's `node` is the one that Loam itself runs on.
 */
export function meshEnvironment(marker: string): NodeJS.ProcessEnv {
  const path = process.env['PATH'] ?? '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
  return {
    PATH: `${dirname(process.execPath)}:${path}:/usr/sbin:/sbin`,
    HOME: process.env['HOME'] ?? '/root',
    LANG: process.env['LANG'] ?? 'C.UTF-8',
    [MESH_MARKER]: marker,
    ...Object.fromEntries(
      PASSED_ON.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])),
    ),
  };
}
