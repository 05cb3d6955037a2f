/**
 * Takes everything of the agents out of the kernels of all nodes, without an agent that runs. In three steps, each taken by all
 * nodes before any takes the next, so that no call between nodes fails on the way (decision 0129): pods take plaintext, pods dial
 * plain while what others still send by HBONE is taken, all of it is removed.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { V1Node, V1Pod } from '@kubernetes/client-node';
import { InstallError } from './errors.ts';
import type { ApiObject, ClusterApi } from './cluster/api.ts';
import { collectionPath, objectPath } from './cluster/kinds.ts';
import { reasonOf } from './cluster/pod-reasons.ts';
import { FIELD_MANAGER, marked } from './ownership.ts';
import {
  cleanup,
  CLEANUP_SELECTOR,
  STEP_LABEL,
  type CleanupImage,
  type CleanupStep,
} from './render/cleanup.ts';
import { nameOf, selectorOf, type Component } from './render/manifest.ts';

/** What of the API is used. */
export type NodesApi = Pick<ClusterApi, 'list' | 'apply' | 'delete'>;

export interface NodeOptions {
  readonly namespace: string;
  readonly timeoutMs: number;
  readonly say: (line: string) => void;
  /** Go on without nodes that are not ready; a reboot frees their kernels. */
  readonly abandonNodes: boolean;
  /** How long ztunnels and waypoints may serve what is open. */
  readonly graceSeconds: number;
  /** In place of the image of the agents, where that is not known any more or cannot be pulled. */
  readonly image: string | undefined;
}

const LOOK_MS = 500;
const SAY_MS = 5_000;
/** How much longer than its grace a pod may take that was told of it: its kubelet has to hear of it, and to report its end. */
const END_MARGIN_MS = 60_000;
/** For so long the others wait for a node before a step that it would not notice: its calls may fail then, not the uninstall. */
const BARRIER_MS = 60_000;

const STEPS: readonly { readonly step: CleanupStep; readonly text: string }[] = [
  { step: 'takes-plaintext', text: 'take plaintext' },
  { step: 'plain', text: 'dial plain' },
];

/**
 * Ends the agents, and returns when each node's kernel is clean.
 *
 * @throws InstallError INSTALL_NOT_READY when a node does not become clean; ApiError
 */
export async function cleanNodes(api: NodesApi, image: CleanupImage, options: NodeOptions): Promise<void> {
  const { namespace, say, timeoutMs } = options;
  await api.delete(`${collectionPath('apps/v1/DaemonSet', namespace)}/${nameOf('agent')}`);
  await endPods(api, namespace, 'agent', options);
  const silent = new Set<string>();
  for (const { step, text } of STEPS) {
    await begin(api, image, step, options);
    const { done, missing } = await allAt(api, step, options, Math.min(BARRIER_MS, timeoutMs), silent);
    const total = done + missing.length;
    if (missing.length > 0)
      say(
        `${done} of ${total} nodes ${text}; not waiting any longer for ${shortList(missing)}: until they are clean, calls between their pods ` +
          'and others may fail',
      );
    for (const { node } of missing) silent.add(node);
  }
  await begin(api, image, 'remove', options);
  const { done, missing } = await allAt(api, 'remove', options, timeoutMs, new Set());
  if (missing.length > 0)
    throw new InstallError(
      'INSTALL_NOT_READY',
      `${done} of ${done + missing.length} nodes are clean; ${shortList(missing)}. Everything but the agents is still there: mend the nodes ` +
        'and run this again, or give those up that are not ready with --abandon-nodes (their pods stay redirected until they reboot)',
    );
  say(`${done} of ${done} nodes are clean: nothing of Loam is in their kernels`);
}

interface Missing {
  readonly node: string;
  readonly why: string;
}

function shortList(missing: readonly Missing[]): string {
  return missing
    .slice(0, 5)
    .map(({ why }) => why)
    .join('; ');
}

async function begin(
  api: NodesApi,
  image: CleanupImage,
  step: CleanupStep,
  { namespace }: NodeOptions,
): Promise<void> {
  const wanted = cleanup(namespace, image, step);
  await api.apply(objectPath(wanted), marked(wanted), FIELD_MANAGER);
}

/**
 * Waits until every node has taken a step.
 *
 * @param silent nodes that nobody waits for
 * @returns those that have not when the time is over
 */
async function allAt(
  api: NodesApi,
  step: CleanupStep,
  options: NodeOptions,
  waitMs: number,
  silent: ReadonlySet<string>,
): Promise<{ done: number; missing: Missing[] }> {
  const began = Date.now();
  let said = 0;
  for (;;) {
    const { done, missing } = await nodesAt(api, step, options);
    const waited = Date.now() - began;
    if (missing.every(({ node }) => silent.has(node)) || waited > waitMs) return { done, missing };
    if (waited - said > SAY_MS) {
      said = waited;
      const what = step === 'remove' ? 'nodes are clean' : `nodes are at the step ${step}`;
      options.say(`waiting: ${done} of ${done + missing.length} ${what}; ${shortList(missing)}`);
    }
    await sleep(LOOK_MS);
  }
}

/** A node has taken a step when the clean-up's pod of that step there is ready: it cannot be before the agent is gone, which holds the pins' lock. */
async function nodesAt(
  api: NodesApi,
  step: CleanupStep,
  { namespace, abandonNodes }: NodeOptions,
): Promise<{ done: number; missing: Missing[] }> {
  const nodes = (await api.list<V1Node>(collectionPath('v1/Node'))).filter(
    ({ metadata }) => metadata?.labels?.['kubernetes.io/os'] === 'linux',
  );
  const labelSelector = Object.entries({ ...CLEANUP_SELECTOR, [STEP_LABEL]: step })
    .map(([key, value]) => `${key}=${value}`)
    .join();
  const pods = await api.list<V1Pod>(collectionPath('v1/Pod', namespace), { labelSelector });
  const missing: Missing[] = [];
  let done = 0;
  for (const { metadata, status } of nodes) {
    const node = metadata?.name ?? '';
    // What a node that is away said before may be true no more.
    if (!isReady(status?.conditions)) {
      if (!abandonNodes) missing.push({ node, why: `node ${node} is not ready` });
      continue;
    }
    const pod = pods.find(
      (each) => each.spec?.nodeName === node && each.metadata?.deletionTimestamp === undefined,
    );
    const why = pod === undefined ? 'its clean-up is about to be started' : reasonOf(pod);
    if (why === undefined) done += 1;
    else missing.push({ node, why: `node ${node}: ${why}` });
  }
  return { done, missing };
}

function isReady(
  conditions: readonly { readonly type: string; readonly status: string }[] | undefined,
): boolean {
  return conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') === true;
}

/** Waits for the pods of a program to end, within the grace that the user gives them. Nobody waits for those of nodes that are not ready. */
export async function endPods(
  api: NodesApi,
  namespace: string,
  component: Component,
  { timeoutMs, graceSeconds, say }: NodeOptions,
): Promise<void> {
  const labelSelector = Object.entries(selectorOf(component))
    .map(([key, value]) => `${key}=${value}`)
    .join();
  const path = collectionPath('v1/Pod', namespace);
  const began = Date.now();
  // A kubelet that ends a pod already hears of no shorter grace: one with more of it, as after an upgrade, nobody waits for.
  const deadline = began + Math.min(timeoutMs, graceSeconds * 1_000 + END_MARGIN_MS);
  let said = began;
  const told = new Set<string>();
  for (;;) {
    const pods = await api.list<ApiObject & V1Pod>(path, { labelSelector });
    for (const { metadata } of pods) {
      if (told.has(metadata.uid)) continue;
      told.add(metadata.uid);
      await api.delete(`${path}/${metadata.name}`, {
        gracePeriodSeconds: graceSeconds,
        preconditions: { uid: metadata.uid },
      });
    }
    if (pods.length === 0) return;
    const nodes = await api.list<V1Node>(collectionPath('v1/Node'));
    const answers = new Set(
      nodes.filter(({ status }) => isReady(status?.conditions)).map(({ metadata }) => metadata?.name),
    );
    const ending = pods.filter(({ spec }) => spec?.nodeName === undefined || answers.has(spec.nodeName));
    if (ending.length === 0 || Date.now() > deadline) {
      say(
        `${pods.length} pods of ${nameOf(component)} have not ended yet; they end with their last connection, or with the grace that they were given`,
      );
      return;
    }
    if (Date.now() - said > SAY_MS) {
      said = Date.now();
      say(`waiting: ${ending.length} pods of ${nameOf(component)} end, within ${graceSeconds} s each`);
    }
    await sleep(LOOK_MS);
  }
}
