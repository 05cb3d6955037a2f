/**
 * Takes an installation out of a cluster. First the nodes (clean-nodes.ts). Only when every node has said that it is clean do the rest
 * go. An upgrade does none of it: an agent that ends, for whatever reason, leaves its pods enrolled.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { V1DaemonSet, V1Volume } from '@kubernetes/client-node';
import type { ApiObject, ClusterApi } from './cluster/api.ts';
import { collectionPath, objectPath } from './cluster/kinds.ts';
import { cleanNodes, endPods, type NodeOptions } from './clean-nodes.ts';
import { InstallError } from './errors.ts';
import { isOurs } from './ownership.ts';
import { partsOf } from './parts.ts';
import { CNI_VOLUMES, type CniFolders } from './render/agent.ts';
import { CLEANUP_NAME, type CleanupImage } from './render/cleanup.ts';
import { nameOf, WAYPOINT_CLASS } from './render/manifest.ts';
import { ROOT_CONFIG_MAP } from './render/programs.ts';

export interface UninstallOptions extends NodeOptions {
  /** Where the nodes have their network plugins, unless the agents say otherwise. */
  readonly cni: CniFolders;
}

/** What of the API is used. */
export type UninstallApi = Pick<ClusterApi, 'find' | 'list' | 'apply' | 'delete'>;

const LOOK_MS = 500;
/** Made by the controllers, and useless without them. */
const SECRETS = ['loam-ca', 'loam-session'];
const WAYPOINT_KINDS = [
  'apps/v1/Deployment',
  'policy/v1/PodDisruptionBudget',
  'v1/Service',
  'v1/ServiceAccount',
];
const LEASE = 'loam-controller-leader';

/**
 * @throws InstallError INSTALL_STATE when nothing is installed; INSTALL_NOT_READY when a node does not become clean, and then nothing
 *   but the agents is gone; ApiError
 */
export async function uninstall(api: UninstallApi, options: UninstallOptions): Promise<void> {
  const { namespace, say } = options;
  const image = await cleanupImage(api, options);
  if (image === undefined) {
    if ((await partsOf(api, namespace)).length === 0)
      throw new InstallError('INSTALL_STATE', `nothing of Loam is in namespace ${namespace}`);
    say('no agent was installed, so that the nodes need no cleaning');
  } else await cleanNodes(api, image, options);
  await removeObjects(api, options);
}

/**
 * All of it that Helm does not do: the nodes, and what was made while Loam ran. Helm removes what it brought afterwards.
 *
 * @throws as {@link uninstall}
 */
export async function uninstallBeforeHelm(api: UninstallApi, options: UninstallOptions): Promise<void> {
  const image = await cleanupImage(api, options);
  if (image !== undefined) await cleanNodes(api, image, options);
  await endPrograms(api, options);
  await removeMade(api, options);
  await api.delete(`${collectionPath('apps/v1/DaemonSet', options.namespace)}/${CLEANUP_NAME}`);
}

/** Of the agents; of a clean-up that was interrupted; undefined where neither is. */
async function cleanupImage(
  api: UninstallApi,
  { namespace, image, cni }: UninstallOptions,
): Promise<CleanupImage | undefined> {
  for (const name of [nameOf('agent'), CLEANUP_NAME]) {
    const found = await api.find<V1DaemonSet>(`${collectionPath('apps/v1/DaemonSet', namespace)}/${name}`);
    const pod = found?.spec?.template.spec;
    const container = pod?.containers[0];
    if (container?.image === undefined) continue;
    return {
      image: image ?? container.image,
      imagePullPolicy: container.imagePullPolicy ?? 'IfNotPresent',
      imagePullSecrets: pod?.imagePullSecrets ?? [],
      cni: cniFoldersOf(pod?.volumes ?? [], cni),
    };
  }
  if (image === undefined) return undefined;
  return { image, imagePullPolicy: 'IfNotPresent', imagePullSecrets: [], cni };
}

/** As they were mounted, else as they are by default. */
function cniFoldersOf(volumes: readonly V1Volume[], defaults: CniFolders): CniFolders {
  const at = (wanted: string): string | undefined =>
    volumes.find(({ name }) => name === wanted)?.hostPath?.path;
  return {
    confFolder: at(CNI_VOLUMES.conf) ?? defaults.confFolder,
    binFolder: at(CNI_VOLUMES.bin) ?? defaults.binFolder,
  };
}

async function removeObjects(api: UninstallApi, options: UninstallOptions): Promise<void> {
  const { namespace, say } = options;
  const parts = await partsOf(api, namespace);
  const cleaning = parts.filter(({ metadata }) => metadata.name === CLEANUP_NAME);
  await endPrograms(api, options);
  await removeMade(api, options);
  for (const part of parts) if (!cleaning.includes(part)) await api.delete(objectPath(part));
  for (const part of cleaning) await api.delete(objectPath(part));
  say(`removed ${parts.length} objects`);
  await removeNamespace(api, options);
}

/** The controllers first, so that they make nothing anew of what goes after them; then ztunnels, with what is open. */
async function endPrograms(api: UninstallApi, options: UninstallOptions): Promise<void> {
  const { namespace } = options;
  await api.delete(`${collectionPath('apps/v1/Deployment', namespace)}/${nameOf('controller')}`);
  await endPods(api, namespace, 'controller', options);
  // Its pods are told to end by us alone: what Kubernetes tells them first is the long grace of a rollout, which cannot be shortened.
  await api.delete(`${collectionPath('apps/v1/DaemonSet', namespace)}/${nameOf('ztunnel')}`, {
    propagationPolicy: 'Orphan',
  });
  await endPods(api, namespace, 'ztunnel', options);
}

/** What the controllers made. */
async function removeMade(
  api: UninstallApi,
  { namespace, graceSeconds, say }: UninstallOptions,
): Promise<void> {
  const waypoints = await removeWaypoints(api, graceSeconds);
  for (const name of SECRETS) await api.delete(`${collectionPath('v1/Secret', namespace)}/${name}`);
  await api.delete(`${collectionPath('coordination.k8s.io/v1/Lease', namespace)}/${LEASE}`);
  const roots = await api.list<ApiObject>(collectionPath('v1/ConfigMap'), {
    fieldSelector: `metadata.name=${ROOT_CONFIG_MAP}`,
  });
  for (const { metadata } of roots)
    await api.delete(`${collectionPath('v1/ConfigMap', metadata.namespace)}/${metadata.name}`);
  if (waypoints > 0) say(`removed ${waypoints} waypoints`);
}

type WithOwners = ApiObject & {
  readonly metadata: { readonly ownerReferences?: readonly { readonly uid: string }[] };
};
type GatewayObject = ApiObject & { readonly spec?: { readonly gatewayClassName?: string } };

/** What the controllers made for Gateways, which are their users' and stay. Others' objects that are only named so stay too. */
async function removeWaypoints(api: UninstallApi, graceSeconds: number): Promise<number> {
  const gateways = await api.list<GatewayObject>(collectionPath('gateway.networking.k8s.io/v1/Gateway'));
  let waypoints = 0;
  for (const { metadata, spec } of gateways) {
    if (spec?.gatewayClassName !== WAYPOINT_CLASS) continue;
    for (const kind of WAYPOINT_KINDS) {
      const path = `${collectionPath(kind, metadata.namespace)}/${metadata.name}`;
      const found = await api.find<WithOwners>(path);
      if (found?.metadata.ownerReferences?.some(({ uid }) => uid === metadata.uid) !== true) continue;
      if (kind === 'apps/v1/Deployment') waypoints += 1;
      await api.delete(path, { gracePeriodSeconds: graceSeconds });
    }
  }
  return waypoints;
}

/** Only one that the installation made; and it takes its time. */
async function removeNamespace(
  api: UninstallApi,
  { namespace, timeoutMs, say }: UninstallOptions,
): Promise<void> {
  const path = `${collectionPath('v1/Namespace')}/${namespace}`;
  const found = await api.find(path);
  if (found === undefined) return;
  if (!isOurs(found)) {
    say(`namespace ${namespace} was there before Loam, and stays`);
    return;
  }
  await api.delete(path);
  const deadline = Date.now() + timeoutMs;
  while ((await api.find(path)) !== undefined) {
    if (Date.now() > deadline) {
      say(`namespace ${namespace} is still ending`);
      return;
    }
    await sleep(LOOK_MS);
  }
  say(`namespace ${namespace} is gone`);
}
