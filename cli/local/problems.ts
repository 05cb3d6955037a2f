import { join } from 'node:path';
import { undoText } from './off.ts';
import { meshPaths } from './paths.ts';
import { fieldText, isOutOfReach, objectName, placeOf, rejection, unnamedPlace } from './problem-text.ts';
import type { PodReport, ProgramReport } from './report.ts';
import type { ControllerStatus, MeshStatus, Readiness } from './status.ts';

/** Something of the mesh that is not as it should be. */
export interface Problem {
  /** What it is about: `ztunnel of node-a`, `pod shop/auth`, a file. */
  readonly what: string;
  readonly why: string;
  /** Whether a start waits for it to go away. A wrong manifest stays wrong until somebody edits it. */
  readonly blocksStart: boolean;
}

/** All that is not well with a mesh, in the order in which one thing waits for another. */
export function problemsOf(status: MeshStatus): Problem[] {
  const { report, readiness, enrolled, controller } = status;
  const problems: Problem[] = [];
  const add = (what: string, why: string, blocksStart = true): void => {
    problems.push({ what, why, blocksStart });
  };
  const addReadiness = (what: string, answer: Readiness): void => {
    if (!answer.ready) add(what, answer.blocking.join('; ') || 'not ready');
  };

  for (const program of report.programs) {
    if (program.state !== 'waiting') continue;
    const log = programLog(report.mesh, program);
    add(programName(program), `ended (${program.lastEnd}), is started again; its log: ${log}`);
  }
  addReadiness('controller', readiness.controller);
  for (const { node, agent, ztunnel } of readiness.nodes) {
    addReadiness(`agent of ${node}`, agent);
    addReadiness(`ztunnel of ${node}`, ztunnel);
  }
  for (const [instance, answer] of Object.entries(readiness.waypoints))
    addReadiness(`waypoint ${instance}`, answer);
  for (const { namespace, name, problems: own, instances } of report.waypoints)
    // One that runs waits for nothing: only a field of its manifest is not followed.
    for (const why of own) add(`waypoint ${namespace}/${name}`, why, instances.length === 0);
  for (const { gateway, nacks } of controller?.gateways ?? [])
    for (const nack of nacks) add(`waypoint ${gateway}`, `refuses its configuration: ${nack}`, false);
  for (const { what, since } of status.off) add(what, offText(report.mesh, what, since), false);
  if (report.generation === undefined) add('pods', 'not all of the manifests are started yet');
  if (report.problem !== undefined) add('pods', report.problem);
  for (const pod of report.pods) {
    const what = `pod ${pod.namespace}/${pod.name}`;
    const kernel = enrolled[pod.uid];
    if (pod.phase.phase === 'held') add(what, pod.phase.why);
    else if (pod.phase.phase === 'failed') add(what, pod.phase.why);
    else if (pod.phase.phase !== 'running') add(what, `is ${pod.phase.phase}`);
    else if (pod.wantsEnrolment && kernel?.verified !== true)
      add(what, kernel?.problem ?? 'should be in the mesh, and the kernel does not show it');
    else if (!pod.wantsEnrolment && kernel?.verified === true) add(what, 'should have left the mesh');
    if (pod.phase.phase === 'running' && !pod.ready) add(what, notReady(report.mesh, pod));
  }
  for (const file of controller?.files ?? [])
    for (const { what, why } of fileProblems(file)) add(what, why, false);
  for (const { problems: doubts = [] } of controller?.files ?? [])
    for (const doubt of doubts.filter(isOutOfReach)) add(placeOf(doubt), fieldText(doubt), false);
  for (const object of controller?.objects ?? []) {
    const what = objectName(object, object.line);
    if (object.state === 'rejected') add(what, rejection(object), false);
    else if (object.kind === 'Gateway')
      for (const { message } of (object.conditions ?? []).filter(isUnprogrammed)) add(what, message);
    // One that runs already waits for nothing but its address to be read.
    else if (object.state === 'pending' && object.kind === 'Pod' && !isKnown(report.pods, object))
      add(what, `does not run: ${object.message ?? 'waits'}`, false);
  }
  return problems;
}

function offText(mesh: string, what: string, since: Date | string): string {
  const time = new Date(since).toISOString();
  return `SWITCHED OFF since ${time}: plain networking, no mTLS and no policy; undo it: ${undoText(mesh, what)}`;
}

/** `controller`, `ztunnel of node-a`, `waypoint shop/waypoint-0`. */
export function programName({ program, node, instance }: ProgramReport): string {
  if (instance !== undefined) return `${program} ${instance}`;
  return node === undefined ? program : `${program} of ${node}`;
}

function programLog(mesh: string, { program, node, instance }: ProgramReport): string {
  const { logs } = meshPaths(mesh);
  // As paths.ts names them.
  return join(logs, `${[program, instance?.replace('/', '_') ?? node].filter(Boolean).join('-')}.log`);
}

/** A Gateway that no instance serves: whoever goes through it is refused. */
function isUnprogrammed({ type, status }: { readonly type: string; readonly status: string }): boolean {
  return type === 'Programmed' && status !== 'True';
}

/**
 * Who does not know yet what the controller tells. After a change that is so for a moment, and no problem; but a start
 * is not over before everybody knows all of it.
 */
export function unacknowledged({ controller }: MeshStatus): Problem[] {
  if (controller === undefined) return [];
  const { generation, nodes, gateways = [] } = controller;
  const behind = (what: string, acked: number | undefined): Problem[] =>
    acked === undefined || acked >= generation
      ? []
      : [{ what, why: `has generation ${acked} of ${generation}`, blocksStart: true }];
  return [
    ...nodes
      .filter(({ connected }) => connected)
      .flatMap(({ node, ackedGeneration }) => behind(`ztunnel of ${node}`, ackedGeneration)),
    ...gateways
      .filter(({ connected }) => connected)
      .flatMap(({ gateway, ackedGeneration }) => behind(`waypoint ${gateway}`, ackedGeneration)),
  ];
}

/**
 * What was rejected without an earlier state of it in its place: nothing of it is in force, although the mesh is
 * ready. A policy that is missing lets through what it should deny.
 */
export function notInForce(status: MeshStatus): Pick<Problem, 'what' | 'why'>[] {
  const { objects = [], files = [] } = status.controller ?? {};
  const rejected = objects
    .filter((object) => object.state === 'rejected' && !object.lastGood)
    .map((object) => ({ what: objectName(object, object.line), why: rejection(object) }));
  // A document that does not even say what it is may be one of its file's objects, which then stay.
  const unknown = files
    .filter(({ file }) => !objects.some((object) => object.file === file && object.lastGood))
    .flatMap(fileProblems);
  return [...unknown, ...rejected];
}

/** The errors of a file that cannot be said to be about an object. */
function fileProblems(file: ControllerStatus['files'][number]): Pick<Problem, 'what' | 'why'>[] {
  const errors = (file.problems ?? []).filter(
    (problem) => problem.severity === 'error' && problem.object === undefined,
  );
  if (errors.length === 0) return file.error === undefined ? [] : [{ what: file.file, why: file.error }];
  return errors.map((error) => ({ what: unnamedPlace(error), why: fieldText(error) }));
}

function isKnown(pods: readonly PodReport[], object: { namespace: string; name: string }): boolean {
  return pods.some((pod) => pod.namespace === object.namespace && pod.name === object.name);
}

function notReady(mesh: string, pod: PodReport): string {
  const broken = pod.containers.find((container) => container.state === 'waiting');
  return broken?.state === 'waiting'
    ? `its command ${broken.name} ended (${broken.lastEnd}), is started again; its log: ${meshPaths(mesh).podLog(pod.namespace, pod.name, broken.name)}`
    : 'does not listen on its ports yet';
}

/** What a start waits for, in a line: `agent, ztunnel, 3 pods`. */
export function waitingText(problems: readonly Problem[]): string {
  const what = [...new Set(problems.map((problem) => problem.what))];
  const pods = what.filter((each) => each.startsWith('pod '));
  const others = what.filter((each) => !pods.includes(each) && (each !== 'pods' || pods.length === 0));
  if (pods.length > 2) others.push(`${pods.length} pods`);
  else others.push(...pods);
  return others.join(', ');
}
