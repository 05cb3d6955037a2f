import type { MeshStatus, Readiness } from './status.ts';

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
    const what = program.node === undefined ? program.program : `${program.program} of ${program.node}`;
    if (program.state === 'waiting') add(what, `ended (${program.lastEnd}), is started again`);
  }
  addReadiness('controller', readiness.controller);
  for (const { node, agent, ztunnel } of readiness.nodes) {
    addReadiness(`agent of ${node}`, agent);
    addReadiness(`ztunnel of ${node}`, ztunnel);
  }
  if (report.generation === undefined) add('pods', 'not all of the manifests are started yet');
  for (const pod of report.pods) {
    const what = `pod ${pod.namespace}/${pod.name}`;
    const kernel = enrolled[pod.uid];
    if (pod.phase.phase === 'held') add(what, pod.phase.why);
    else if (pod.phase.phase === 'failed') add(what, pod.phase.why);
    else if (pod.phase.phase !== 'running') add(what, `is ${pod.phase.phase}`);
    else if (pod.wantsEnrolment && kernel?.verified !== true)
      add(what, kernel?.problem ?? 'should be in the mesh, and the kernel does not show it');
    else if (!pod.wantsEnrolment && kernel?.verified === true) add(what, 'should have left the mesh');
    if (pod.phase.phase === 'running' && !pod.ready) add(what, notReady(pod.containers));
  }
  for (const file of controller?.files ?? []) if (file.error !== undefined) add(file.file, file.error, false);
  for (const object of controller?.objects ?? []) {
    if (object.state === 'rejected') add(objectName(object), rejection(object), false);
  }
  return problems;
}

function notReady(containers: MeshStatus['report']['pods'][number]['containers']): string {
  const broken = containers.find((container) => container.state === 'waiting');
  return broken?.state === 'waiting'
    ? `its command ${broken.name} ended (${broken.lastEnd}), is started again`
    : 'does not listen on its ports yet';
}

/** `AuthorizationPolicy shop/payments (policies/payments.yaml)` */
export function objectName(object: { kind: string; namespace: string; name: string; file: string }): string {
  const where = object.namespace === '' ? object.name : `${object.namespace}/${object.name}`;
  return `${object.kind} ${where} (${object.file})`;
}

/** Why an object was not taken, what is allowed, and what is in force in its place. */
export function rejection(object: {
  field?: string;
  message?: string;
  allowed?: string;
  lastGood: boolean;
}): string {
  const parts = [
    object.field === undefined ? (object.message ?? '') : `${object.field}: ${object.message ?? ''}`,
  ];
  if (object.allowed !== undefined) parts.push(`allowed: ${object.allowed}`);
  // The controller mostly says itself what is in force in its place.
  if (!parts.join().includes('in force'))
    parts.push(object.lastGood ? 'its last good state stays in force' : 'it has no effect');
  return parts.join('; ');
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
