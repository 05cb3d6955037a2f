/** Brings an installation into a cluster: first what is needed to understand it, then the controllers, then the nodes' programs. */
import { setTimeout as sleep } from 'node:timers/promises';
import { ApiError, type ClusterApi } from './cluster/api.ts';
import { collectionPath, objectPath, objectText } from './cluster/kinds.ts';
import { waitForRollout, type WaitOptions } from './cluster/rollout.ts';
import { definitions, isOwn, type Definition } from './crds.ts';
import { InstallError } from './errors.ts';
import { FIELD_MANAGER, isOurs, marked } from './ownership.ts';
import { partsOf } from './parts.ts';
import type { Installation, Manifest } from './render/manifest.ts';
import { CLEANUP_NAME, CLEANUP_SELECTOR } from './render/cleanup.ts';
import { namespaceOf, objectsOf } from './render/objects.ts';

const ESTABLISH_MS = 30_000;
const LOOK_MS = 100;

export interface RollOutOptions extends WaitOptions {
  /** Whether to wait until all of it runs. */
  readonly wait: boolean;
}

/**
 * Applies all objects, and waits until they run.
 *
 * @throws InstallError; ApiError that names the object that was refused
 */
export async function rollOut(
  api: ClusterApi,
  installation: Installation,
  options: RollOutOptions,
): Promise<void> {
  const { say, wait } = options;
  await applyDefinitions(api, say);
  await applyNamespace(api, installation);
  // Those of the nodes come last: ztunnel's pods need the root certificate, which the first controller writes. Without it the kubelet
  // would try again and again. And the record comes after all: an installation that was interrupted is simply done again.
  const objects = objectsOf(installation);
  const first = objects.findIndex(({ kind }) => kind === 'DaemonSet');
  for (const object of objects.slice(0, first)) await applyObject(api, object);
  if (wait) await waitForRollout(api, installation.namespace, 'controller', options);
  await endCleanup(api, installation.namespace, options);
  for (const object of objects.slice(first)) await applyObject(api, object);
  say(`applied ${objects.length} objects in namespace ${installation.namespace}`);
  if (!wait) return;
  await waitForRollout(api, installation.namespace, 'agent', options);
  await waitForRollout(api, installation.namespace, 'ztunnel', options);
}

/**
 * Ends an uninstall that was begun and not ended: its pods would be started again with each node, or wait for an agent that ends to be
 * upgraded, and would take that node out of the mesh.
 *
 * @throws InstallError INSTALL_NOT_READY when they do not go
 */
export async function endCleanup(
  api: Pick<ClusterApi, 'find' | 'list' | 'delete'>,
  namespace: string,
  { timeoutMs, say }: WaitOptions,
): Promise<void> {
  const path = `${collectionPath('apps/v1/DaemonSet', namespace)}/${CLEANUP_NAME}`;
  if ((await api.find(path)) === undefined) return;
  await api.delete(path);
  const labelSelector = Object.entries(CLEANUP_SELECTOR)
    .map(([key, value]) => `${key}=${value}`)
    .join();
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const pods = await api.list(collectionPath('v1/Pod', namespace), { labelSelector });
    if (pods.length === 0) break;
    if (Date.now() > deadline)
      throw new InstallError(
        'INSTALL_NOT_READY',
        `${pods.length} pods of ${CLEANUP_NAME}, of an uninstall that was begun, have not ended; delete those of nodes that are gone`,
      );
    await sleep(LOOK_MS);
  }
  say(`ended the uninstall that was begun: removed ${CLEANUP_NAME}`);
}

/** Makes all kinds known. Those of a standard are left alone where they are there: another may have brought a newer one. */
export async function applyDefinitions(api: ClusterApi, say: (line: string) => void): Promise<void> {
  const all = definitions();
  const made = await Promise.all(
    all.map(async (definition) => {
      if (!isOwn(definition) && (await api.find(objectPath(definition))) !== undefined) return 0;
      await applyObject(api, definition);
      return 1;
    }),
  );
  const count = made.reduce<number>((sum, one) => sum + one, 0);
  for (const definition of all) await established(api, definition);
  say(`applied ${count} definitions of kinds; ${all.length - count} were there`);
}

interface WithConditions {
  readonly status?: {
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly message?: string;
    }[];
  };
}

/** Until then the API server does not serve the kind. */
async function established(api: ClusterApi, definition: Definition): Promise<void> {
  const deadline = Date.now() + ESTABLISH_MS;
  for (;;) {
    const found = await api.get<WithConditions>(objectPath(definition));
    const conditions = found.status?.conditions ?? [];
    if (conditions.some(({ type, status }) => type === 'Established' && status === 'True')) return;
    if (Date.now() > deadline) {
      const why =
        conditions.find(({ status }) => status === 'False')?.message ?? 'the API server says nothing of it';
      throw new InstallError('INSTALL_NOT_READY', `${objectText(definition)} is not served: ${why}`);
    }
    await sleep(LOOK_MS);
  }
}

/** A namespace that was there before is somebody's own, and stays when the installation goes. */
async function applyNamespace(api: ClusterApi, installation: Installation): Promise<void> {
  const namespace = namespaceOf(installation);
  const found = await api.find(objectPath(namespace));
  if (found === undefined || isOurs(found)) await applyObject(api, namespace);
}

async function applyObject(api: ClusterApi, object: Manifest): Promise<void> {
  try {
    await api.apply(objectPath(object), marked(object), FIELD_MANAGER);
  } catch (cause) {
    if (!(cause instanceof ApiError)) throw cause;
    throw new ApiError(cause.status, `${objectText(object)} was refused: ${cause.message}`, {
      cause: cause.cause,
    });
  }
}

/** Takes away what an earlier version, or other values, had and these have not. */
export async function prune(
  api: ClusterApi,
  installation: Installation,
  say: (line: string) => void,
): Promise<void> {
  const wanted = new Set(objectsOf(installation).map(objectPath));
  for (const part of await partsOf(api, installation.namespace)) {
    if (!isOurs(part) || wanted.has(objectPath(part))) continue;
    await api.delete(objectPath(part));
    say(`removed ${objectText(part)}, which is no part of it any more`);
  }
}
