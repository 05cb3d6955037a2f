import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { siblingModule } from '../../lib/package-root.ts';
import type { AddressPlan } from './addresses.ts';
import { agentInstance, netnsPath } from './names.ts';
import type { MeshPaths } from './paths.ts';
import { MESH_MARKER } from './process-record.ts';

/** The ports that istiod and ztunnel have in a cluster; here each lies in a namespace of its own. */
export const XDS_PORT = 15012;
export const ZTUNNEL_ADMIN_PORT = 15000;
export const ZTUNNEL_METRICS_PORT = 15020;
export const ZTUNNEL_READY_PORT = 15021;
export const WAYPOINT_PORT = 15008;
export const WAYPOINT_ADMIN_PORT = 15000;
export const WAYPOINT_METRICS_PORT = 15020;
export const WAYPOINT_READY_PORT = 15021;
/** How long a waypoint that is told to end may take for what it serves. */
export const WAYPOINT_DRAIN_MS = 5_000;
/** How long a ztunnel that was replaced may serve what was open then. */
export const ZTUNNEL_DRAIN_MS = 600_000;
export const TRUST_DOMAIN = 'cluster.local';
export const CLUSTER_ID = 'Kubernetes';

type Command = [string, ...string[]];
type ProgramName = 'agent' | 'ztunnel' | 'controller' | 'waypoint';

/** The command line of one of our programs, in a network namespace of its own; mounts stay the machine's. */
function program(name: ProgramName, netns: string, args: readonly string[]): Command {
  const module = fileURLToPath(siblingModule(import.meta.url, `../../${name}/main`));
  return [
    ...(['nsenter', `--net=${netnsPath(netns)}`, '--'] as const),
    process.execPath,
    // Nobody opens an inspector in a running mesh by a signal.
    ...['--disable-sigusr1', '--enable-source-maps', module],
    ...args,
  ];
}

/** Whether the program is part of this installation. */
export function programExists(name: ProgramName): boolean {
  return existsSync(fileURLToPath(siblingModule(import.meta.url, `../../${name}/main`)));
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
  return program('controller', netns, [
    ...['--manifests', manifests],
    ...['--assignments', paths.assignments],
    ...['--state', paths.controllerState],
    ...['--listen', controllerAddress(plan)],
    ...['--status', paths.controllerStatus],
    ...['--tokens', paths.tokens],
    ...['--trust-domain', TRUST_DOMAIN],
    ...['--cluster-id', CLUSTER_ID],
  ]);
}

export function agentCommand(netns: string, mesh: string, node: string, paths: MeshPaths): Command {
  return program('agent', netns, agentArguments(agentInstance(mesh, node), node, paths));
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
  const module = fileURLToPath(siblingModule(import.meta.url, '../../agent/main'));
  return [process.execPath, module, ...agentArguments(instance, 'cleanup', paths), '--cleanup'];
}

export function ztunnelCommand(netns: string, node: string, plan: AddressPlan, paths: MeshPaths): Command {
  const controller = `https://${controllerAddress(plan)}`;
  const root = `${paths.controllerState}/root-cert.pem`;
  return program('ztunnel', netns, [
    ...['--node', node],
    ...['--cluster-id', CLUSTER_ID],
    ...['--zds', paths.zdsOf(node)],
    ...['--xds-address', controller],
    ...['--ca-address', controller],
    ...['--xds-root', root],
    ...['--ca-root', root],
    ...['--token', paths.tokenOf(node)],
    ...['--trust-domain', TRUST_DOMAIN],
    ...['--admin', `127.0.0.1:${ZTUNNEL_ADMIN_PORT}`],
    ...['--metrics', `[::]:${ZTUNNEL_METRICS_PORT}`],
    ...['--ready', `[::]:${ZTUNNEL_READY_PORT}`],
    ...['--drain-deadline-ms', String(ZTUNNEL_DRAIN_MS)],
  ]);
}

export interface WaypointPlacement {
  readonly netns: string;
  readonly gateway: { readonly namespace: string; readonly name: string };
  readonly node: string;
  readonly plan: AddressPlan;
  readonly paths: MeshPaths;
}

export function waypointCommand({ netns, gateway, node, plan, paths }: WaypointPlacement): Command {
  const controller = `https://${controllerAddress(plan)}`;
  const root = `${paths.controllerState}/root-cert.pem`;
  return program('waypoint', netns, [
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
    ...['--drain-deadline-ms', String(WAYPOINT_DRAIN_MS)],
  ]);
}

/** Settings of our programs that are the supervisor's to give: each program reads them where it has such a flag. */
const PASSED_ON = [
  'LOAM_CERT_TTL_S',
  'LOAM_DIAGNOSTICS',
  'LOAM_MEMORY_LIMIT_MB',
  'LOAM_WORKER_HEAP_MB',
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
