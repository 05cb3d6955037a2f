/** `loam waypoint apply`: a waypoint for a namespace. */
import { setTimeout as sleep } from 'node:timers/promises';
import { InstallError } from '../install/errors.ts';
import { findGateway, gatewayManifest, gatewayPath, needGateway, type WaypointWish } from './gateway.ts';
import { healthOf, type WaypointHealth } from './health.ts';
import {
  FIELD_MANAGER,
  type GatewayObject,
  USE_WAYPOINT_LABEL,
  USE_WAYPOINT_NAMESPACE_LABEL,
  WAYPOINT_CLASS,
  type WaypointApi,
} from './model.ts';
import { usersOfWaypoints } from './users.ts';

export interface WaitOptions {
  readonly timeoutMs: number;
  readonly say: (line: string) => void;
}

const LOOK_MS = 500;
const SAY_MS = 5_000;

/**
 * Makes the Gateway, or brings it to what is wished.
 *
 * @throws InstallError INSTALL_STATE when Loam or the namespace is not there, or the name is somebody else's; ApiError
 */
export async function applyWaypoint(api: WaypointApi, wish: WaypointWish): Promise<GatewayObject> {
  const { namespace, name } = wish;
  if ((await api.find(`/apis/gateway.networking.k8s.io/v1/gatewayclasses/${WAYPOINT_CLASS}`)) === undefined)
    throw new InstallError(
      'INSTALL_STATE',
      `there is no GatewayClass ${WAYPOINT_CLASS}: Loam is not installed in this cluster; loam install`,
    );
  if ((await api.find(`/api/v1/namespaces/${namespace}`)) === undefined)
    throw new InstallError(
      'INSTALL_STATE',
      `there is no namespace ${namespace}: kubectl create namespace ${namespace}`,
    );
  const found = await findGateway(api, namespace, name);
  await requireFree(api, wish, found?.metadata.uid);
  return (await api.apply(
    gatewayPath(namespace, name),
    gatewayManifest(wish),
    FIELD_MANAGER,
  )) as GatewayObject;
}

/** What the controllers make for a Gateway has its name. */
const MADE = [
  ['Deployment', '/apis/apps/v1', 'deployments'],
  ['Service', '/api/v1', 'services'],
  ['ServiceAccount', '/api/v1', 'serviceaccounts'],
  ['PodDisruptionBudget', '/apis/policy/v1', 'poddisruptionbudgets'],
] as const;

async function requireFree(
  api: WaypointApi,
  { namespace, name }: WaypointWish,
  uid: string | undefined,
): Promise<void> {
  for (const [kind, root, plural] of MADE) {
    const path = `${root}/namespaces/${namespace}/${plural}/${name}`;
    const found = await api.find<{
      metadata: { ownerReferences?: readonly { readonly kind: string; readonly uid: string }[] };
    }>(path);
    const owners = found?.metadata.ownerReferences ?? [];
    // What a former Gateway of the name had is on its way out.
    const isOwn = owners.some(
      (owner) => owner.uid === uid || (uid === undefined && owner.kind === 'Gateway'),
    );
    if (found !== undefined && !isOwn)
      throw new InstallError(
        'INSTALL_STATE',
        `${kind} ${namespace}/${name} is there already, and a waypoint's ${kind} would have its name: choose another, as loam waypoint apply ${name}-waypoint -n ${namespace}`,
      );
  }
}

/** The namespace asks for the waypoint from now on, and with it its Services. */
export async function useInNamespace(api: WaypointApi, { namespace, name }: WaypointWish): Promise<void> {
  const labels = { [USE_WAYPOINT_LABEL]: name, [USE_WAYPOINT_NAMESPACE_LABEL]: null };
  await api.merge(`/api/v1/namespaces/${namespace}`, { metadata: { labels } });
}

/**
 * Waits until a waypoint takes traffic with as many instances as it is to have.
 *
 * @throws InstallError INSTALL_NOT_READY with what keeps it
 */
export async function waitForWaypoint(
  api: WaypointApi,
  { namespace, name }: { readonly namespace: string; readonly name: string },
  { timeoutMs, say }: WaitOptions,
): Promise<WaypointHealth> {
  const began = Date.now();
  let said: string | undefined;
  for (;;) {
    const health = await healthOf(api, await needGateway(api, namespace, name), await usersOfWaypoints(api));
    if (health.programmed && health.replicas.ready >= health.replicas.wanted) return health;
    const waited = Date.now() - began;
    const text = `waypoint ${namespace}/${name}: ${whyNot(health)}`;
    if (waited > timeoutMs)
      throw new InstallError(
        'INSTALL_NOT_READY',
        `${text} (waited ${Math.round(timeoutMs / 1000)} s; --timeout, or loam waypoint status ${name} -n ${namespace})`,
      );
    if (waited > SAY_MS && said !== text) {
      said = text;
      say(`waiting for ${text}`);
    }
    await sleep(LOOK_MS);
  }
}

function whyNot({ replicas, pods, problems }: WaypointHealth): string {
  const ofPods = pods.flatMap(({ name, problem }) =>
    problem === undefined ? [] : [`pod ${name}: ${problem}`],
  );
  return [`${replicas.ready} of ${replicas.wanted} ready`, ...problems, ...ofPods].join('; ');
}
