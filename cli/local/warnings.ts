import { COMMAND_ANNOTATION_PREFIX } from './model.ts';
import { fieldText, objectName, placeText } from './problem-text.ts';
import type { PodReport } from './report.ts';
import type { ManifestProblem, MeshStatus } from './status.ts';

/** Something that is allowed and works, and that its author may not have meant so. */
export interface Warning {
  /** What it is about, with file and line where there is one. */
  readonly what: string;
  readonly why: string;
}

/** All that whoever wrote the manifests should know, although nothing of it is wrong. */
export function warningsOf(status: MeshStatus): Warning[] {
  const warnings: Warning[] = [];
  const objects = status.controller?.objects ?? [];
  const said = new Set<string>();
  for (const { problems = [] } of status.controller?.files ?? [])
    for (const problem of problems) {
      if (problem.severity !== 'warning') continue;
      warnings.push({ what: whatOf(problem), why: fieldText(problem) });
      if (problem.object !== undefined) said.add(JSON.stringify([keyOf(problem.object), problem.message]));
    }
  for (const object of objects) {
    const what = objectName(object, object.line);
    for (const why of object.warnings ?? [])
      if (!said.has(JSON.stringify([keyOf(object), why]))) warnings.push({ what, why });
    // A pod that waits does not run, which is a problem; what else waits is merely not of any use yet.
    if (object.state === 'pending' && object.kind !== 'Pod')
      warnings.push({ what, why: `pending: ${object.message ?? 'waits'}` });
  }
  for (const pod of status.report.pods) {
    const what = `pod ${pod.namespace}/${pod.name}`;
    for (const why of commandNotes(pod)) warnings.push({ what, why });
  }
  return warnings;
}

/** Containers that run nothing here, and commands that belong to no container. */
function commandNotes({ idle = [], strayCommands = [] }: PodReport): string[] {
  const hint = (name: string): string =>
    strayCommands.length > 0 ? '' : `; give it one by the annotation ${COMMAND_ANNOTATION_PREFIX}${name}`;
  return [
    ...strayCommands.map(
      (name) => `annotation ${COMMAND_ANNOTATION_PREFIX}${name}: the pod has no container ${name}`,
    ),
    ...idle.map((name) => `container ${name} has no command, so that nothing runs in it${hint(name)}`),
  ];
}

function keyOf({ kind, namespace, name }: { kind: string; namespace: string; name: string }): string {
  return `${kind} ${namespace}/${name}`;
}

function whatOf(problem: ManifestProblem): string {
  if (problem.object !== undefined)
    return objectName({ ...problem.object, file: problem.file }, problem.line);
  return placeText(problem.file, problem.line);
}
