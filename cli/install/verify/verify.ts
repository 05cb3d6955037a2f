/**
 * `loam verify`: sends real traffic between pods of its own through every feature of the mesh that is in use, and says what it saw.
 * All that it makes is in one namespace, which goes at the end, whatever the end is.
 */
import { randomBytes } from 'node:crypto';
import type { V1Node, V1Pod } from '@kubernetes/client-node';
import { errorText } from '../../../lib/loam-error.ts';
import type { ApiObject } from '../cluster/api.ts';
import { collectionPath, objectPath } from '../cluster/kinds.ts';
import { reasonOf, type PodAsker } from '../cluster/pod-reasons.ts';
import { InstallError } from '../errors.ts';
import { fail, note, pass, type Finding } from '../check/finding.ts';
import { podsOf } from '../check/installation.ts';
import type { Installed } from '../state.ts';
import { account, namespace, pod, service, UNTIL_ANNOTATION, VERIFY_LABEL, type Role } from './objects.ts';
import { VerifyRun, type Placed, type VerifyApi } from './run.ts';
import { begin, STEPS, type Scene } from './steps.ts';

export interface VerifyOptions {
  readonly api: VerifyApi;
  readonly pods: PodAsker;
  readonly installed: Installed;
  /** For each step; a run takes no longer than that for all of them, and is then over for other runs too. */
  readonly timeoutMs: number;
  /** Aborted: what was made is removed, and nothing else is done. */
  readonly signal: AbortSignal;
  readonly tell: (finding: Finding) => void;
}

const ROLES: readonly Role[] = ['client', 'server', 'outsider'];
const REMOVE_MS = 90_000;
/** Beside the steps: to make what they need, and to remove it. */
const MORE_STEPS = 4;

/**
 * @returns whether nothing failed
 * @throws InstallError INSTALL_STATE when it cannot begin, or was interrupted; then too nothing is left
 */
export async function verify(options: VerifyOptions): Promise<boolean> {
  const { api, timeoutMs, signal } = options;
  let good = true;
  const tell = (finding: Finding): void => {
    if (finding.state === 'fail') good = false;
    options.tell(finding);
  };
  await removeRests(api, tell);
  const nodes = await nodesFor(options);
  const name = `loam-verify-${randomBytes(3).toString('hex')}`;
  const run = new VerifyRun({ ...options, system: options.installed.namespace, namespace: name });
  const until = new Date(Date.now() + (STEPS.length + MORE_STEPS) * timeoutMs + REMOVE_MS);
  try {
    await run.apply(namespace(name, until));
    const scene = await build(run, nodes, options, tell);
    for (const step of scene === undefined ? [] : STEPS) {
      try {
        (await step(scene as Scene)).forEach(tell);
      } catch (error) {
        if (signal.aborted) throw error;
        tell(fail(step.name, `could not be looked at: ${errorText(error)}`, 'loam check'));
      }
    }
  } finally {
    // Not interrupted by the signal: that is what it is for.
    const left = await removed(api, name).catch(errorText);
    if (left !== undefined) tell(fail('removal', left, `kubectl delete namespace ${name}`));
  }
  if (signal.aborted) throw new InstallError('INSTALL_STATE', 'interrupted');
  return good;
}

/** Makes accounts, pods and a Service. @returns undefined when a pod does not run, which has been told */
async function build(
  run: VerifyRun,
  [near, far]: readonly [string, string],
  { installed }: VerifyOptions,
  tell: (finding: Finding) => void,
): Promise<Scene | undefined> {
  const image = String(installed.values['image']);
  const trustDomain = String(installed.values['trustDomain']);
  for (const object of begin(run.namespace)) await run.apply(object);
  for (const role of ROLES) await run.apply(account(run.namespace, role));
  await run.apply(service(run.namespace));
  for (const role of ROLES) await run.apply(pod(run.namespace, role, role === 'server' ? far : near, image));
  const placed = new Map<Role, Placed>();
  for (const role of ROLES) {
    try {
      placed.set(role, await run.placed(role));
    } catch (error) {
      if (!(error instanceof InstallError) || error.code !== 'INSTALL_NOT_READY') throw error;
      tell(fail('pods', errorText(error), 'loam check; kubectl get events --all-namespaces'));
    }
  }
  const [client, server, outsider] = ROLES.map((role) => placed.get(role));
  if (client === undefined || server === undefined || outsider === undefined) return undefined;
  tell(pass('pods', `client on ${client.node}, server on ${server.node}, in namespace ${run.namespace}`));
  if (near === far) tell(note('nodes', 'there is one node: nothing goes from one to another'));
  return { run, client, server, outsider, trustDomain };
}

/** Two nodes whose agents are ready, if there are two; those first that take any pod. */
async function nodesFor({ api, pods, installed }: VerifyOptions): Promise<readonly [string, string]> {
  const subject = { api, pods, namespace: installed.namespace };
  const agents = (await podsOf(subject, 'agent')).filter((each: V1Pod) => reasonOf(each) === undefined);
  const ready = new Set(agents.map(({ spec }) => spec?.nodeName ?? ''));
  const nodes = (await api.list<V1Node>(collectionPath('v1/Node')))
    .filter(({ metadata, spec }) => ready.has(metadata?.name ?? '') && spec?.unschedulable !== true)
    .filter(({ spec }) => (spec?.taints ?? []).every(({ effect }) => effect === 'PreferNoSchedule'))
    .map(({ metadata }) => metadata?.name ?? '');
  const [first, second = first] = nodes;
  if (first === undefined || second === undefined)
    throw new InstallError(
      'INSTALL_STATE',
      'no node with an agent that is ready takes pods: loam check says why',
    );
  return [first, second];
}

/** What killed runs left. Another one that is under way is left alone. */
async function removeRests(api: VerifyApi, tell: (finding: Finding) => void): Promise<void> {
  const found = await api.list<ApiObject>(collectionPath('v1/Namespace'), { labelSelector: VERIFY_LABEL });
  for (const { metadata } of found) {
    const until = Date.parse(metadata.annotations?.[UNTIL_ANNOTATION] ?? '');
    if (metadata.deletionTimestamp !== undefined || until > Date.now()) continue;
    await api.delete(`${collectionPath('v1/Namespace')}/${metadata.name}`);
    tell(note('rests', `removed namespace ${metadata.name}, which an earlier run left`));
  }
}

/** @returns what is left; undefined: nothing */
async function removed(api: VerifyApi, name: string): Promise<string | undefined> {
  const path = objectPath(namespace(name, new Date()));
  await api.delete(path);
  const deadline = Date.now() + REMOVE_MS;
  while ((await api.find(path)) !== undefined) {
    if (Date.now() > deadline) return `namespace ${name} is still ending`;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  return undefined;
}
