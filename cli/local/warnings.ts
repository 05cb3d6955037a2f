import { countText } from '../output/words.ts';
import { fieldText, isOutOfReach, objectName, unnamedPlace } from './problem-text.ts';
import type { ControllerStatus, ManifestProblem, MeshStatus } from './status.ts';

/** Something that is allowed and works, and that its author may not have meant so. */
export interface Warning {
  /** What it is about, with file and line where there is one. */
  readonly what: string;
  readonly why: string;
}

type Named = Pick<ControllerStatus['objects'][number], 'kind' | 'namespace' | 'name'>;
/** How an object is called: with its file in a local mesh, and without one in a cluster. */
type NameOf = (object: Named & { readonly file: string; readonly line?: number }) => string;

/** All that whoever wrote the manifests should know, although nothing of it is wrong. */
export function warningsOf(status: MeshStatus): Warning[] {
  return warningsIn(status.controller, (object) => objectName(object, object.line));
}

/** All that the controller warns of, but for what {@link refusedIn} has. */
export function warningsIn(controller: ControllerStatus | undefined, nameOf: NameOf): Warning[] {
  const warnings: Warning[] = [];
  const objects = controller?.objects ?? [];
  const said = new Set<string>();
  for (const problem of fileWarnings(controller)) {
    if (!isOutOfReach(problem)) warnings.push({ what: whatOf(problem, nameOf), why: fieldText(problem) });
    if (problem.object !== undefined) said.add(JSON.stringify([keyOf(problem.object), problem.message]));
  }
  for (const object of objects) {
    const what = nameOf(object);
    for (const why of object.warnings ?? [])
      if (!said.has(JSON.stringify([keyOf(object), why]))) warnings.push({ what, why });
    // A pod that waits does not run, which is a problem; what else waits is merely not of any use yet.
    if (object.state === 'pending' && object.kind !== 'Pod')
      warnings.push({ what, why: `pending: ${object.message ?? 'waits'}` });
  }
  return warnings;
}

/** What is allowed, and keeps connections from being made. */
export function refusedIn(controller: ControllerStatus | undefined, nameOf: NameOf): Warning[] {
  return fileWarnings(controller)
    .filter(isOutOfReach)
    .map((problem) => ({ what: whatOf(problem, nameOf), why: fieldText(problem) }));
}

/** What `status` ends with where nothing is wrong. */
export function verdictText(warnings: number): string {
  if (warnings === 0) return 'All is well.';
  return `${countText(warnings, 'warning')}; all programs run.`;
}

function fileWarnings(controller: ControllerStatus | undefined): ManifestProblem[] {
  return (controller?.files ?? [])
    .flatMap(({ problems = [] }) => problems)
    .filter(({ severity }) => severity === 'warning');
}

function keyOf({ kind, namespace, name }: Named): string {
  return `${kind} ${namespace}/${name}`;
}

function whatOf(problem: ManifestProblem, nameOf: NameOf): string {
  const { object, file, line } = problem;
  return object === undefined
    ? unnamedPlace(problem)
    : nameOf({ ...object, file, ...(line !== undefined && { line }) });
}
