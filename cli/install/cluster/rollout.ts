/** Waiting for Deployments and DaemonSets, and saying what keeps them. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { V1DaemonSet, V1Deployment, V1Pod } from '@kubernetes/client-node';
import { InstallError } from '../errors.ts';
import { nameOf, selectorOf, type Component } from '../render/manifest.ts';
import type { ClusterApi } from './api.ts';
import { PodExec } from './exec.ts';
import { collectionPath } from './kinds.ts';
import { PodReasons, type PodAsker } from './pod-reasons.ts';

export type Program = Exclude<Component, 'waypoint'>;

/** How far a workload is. */
export interface Rollout {
  readonly done: boolean;
  /** `1 of 2 ready`. */
  readonly text: string;
}

const LOOK_MS = 500;
const SAY_MS = 5_000;

export interface WaitOptions {
  readonly timeoutMs: number;
  readonly say: (line: string) => void;
}

const WORKLOADS = { controller: 'Deployment', agent: 'DaemonSet', ztunnel: 'DaemonSet' } as const;

function workloadPath(namespace: string, program: Program): string {
  return `${collectionPath(`apps/v1/${WORKLOADS[program]}`, namespace)}/${nameOf(program)}`;
}

/** Whether a program runs everywhere as its workload asks for; undefined: there is no such workload. */
export async function rolloutOf(
  api: ClusterApi,
  namespace: string,
  program: Program,
): Promise<Rollout | undefined> {
  const path = workloadPath(namespace, program);
  if (program === 'controller') {
    const deployment = await api.find<V1Deployment>(path);
    return deployment === undefined ? undefined : ofDeployment(deployment);
  }
  const daemonSet = await api.find<V1DaemonSet>(path);
  return daemonSet === undefined ? undefined : ofDaemonSet(daemonSet);
}

function ofDeployment({ metadata, spec, status }: V1Deployment): Rollout {
  const wanted = spec?.replicas ?? 1;
  const seen = (status?.observedGeneration ?? 0) >= (metadata?.generation ?? 0);
  const ready = Math.min(status?.updatedReplicas ?? 0, status?.availableReplicas ?? 0);
  const former = (status?.replicas ?? 0) > (status?.updatedReplicas ?? 0);
  return { done: seen && ready >= wanted && !former, text: `${seen ? ready : 0} of ${wanted} ready` };
}

function ofDaemonSet({ metadata, status }: V1DaemonSet): Rollout {
  const wanted = status?.desiredNumberScheduled ?? 0;
  const seen = (status?.observedGeneration ?? 0) >= (metadata?.generation ?? 0);
  const ready = Math.min(status?.updatedNumberScheduled ?? 0, status?.numberAvailable ?? 0);
  if (seen && wanted === 0) return { done: false, text: 'there is no node that it may run on' };
  return { done: seen && ready >= wanted, text: `${seen ? ready : 0} of ${wanted} nodes ready` };
}

/**
 * Waits until a program runs everywhere.
 *
 * @throws InstallError INSTALL_NOT_READY with what keeps its pods; INSTALL_STATE when there is no such workload
 */
export async function waitForRollout(
  api: ClusterApi,
  namespace: string,
  program: Program,
  { timeoutMs, say }: WaitOptions,
): Promise<void> {
  const name = nameOf(program);
  const pods = new PodExec(api.config);
  const began = Date.now();
  let said = 0;
  for (;;) {
    const rollout = await rolloutOf(api, namespace, program);
    if (rollout === undefined)
      throw new InstallError('INSTALL_STATE', `there is no ${name} in namespace ${namespace}`);
    if (rollout.done) {
      say(`${name}: ${rollout.text}`);
      return;
    }
    const waited = Date.now() - began;
    const late = waited > timeoutMs;
    if (late || waited - said > SAY_MS) {
      said = waited;
      const reasons = await reasonsOf(api, pods, namespace, program);
      const text = `${name}: ${rollout.text}${reasons.length === 0 ? '' : `; ${reasons.join('; ')}`}`;
      if (late)
        throw new InstallError(
          'INSTALL_NOT_READY',
          `${text} (waited ${Math.round(timeoutMs / 1000)} s; --timeout)`,
        );
      say(`waiting for ${text}`);
    }
    await sleep(LOOK_MS);
  }
}

const MAX_REASONS = 5;

/** What keeps pods of a program from being ready, each reason once with one of its pods; or why there are none. */
export async function reasonsOf(
  api: ClusterApi,
  pods: PodAsker,
  namespace: string,
  program: Program,
): Promise<string[]> {
  const labelSelector = Object.entries(selectorOf(program))
    .map(([key, value]) => `${key}=${value}`)
    .join();
  const reasons = new PodReasons(api, pods);
  const found = new Map<string, string>();
  const all = await api.list<V1Pod>(collectionPath('v1/Pod', namespace), { labelSelector });
  for (const pod of all) {
    if (found.size > MAX_REASONS) break;
    const reason = await reasons.of(pod);
    if (reason !== undefined && !found.has(reason)) found.set(reason, placeOf(pod));
  }
  if (all.length === 0) {
    const workload = await api.find<V1Deployment>(workloadPath(namespace, program));
    const why = workload === undefined ? undefined : await reasons.ofWorkload(workload);
    return [why === undefined ? 'it has no pods' : `it has no pods: ${why}`];
  }
  const lines = [...found].map(([reason, where]) => `${where}: ${reason}`);
  return lines.length <= MAX_REASONS ? lines : [...lines.slice(0, MAX_REASONS), 'and more'];
}

function placeOf({ metadata, spec }: V1Pod): string {
  return `pod ${metadata?.name ?? ''}${spec?.nodeName === undefined ? '' : ` on ${spec.nodeName}`}`;
}
