import { fieldText, isOutOfReach, objectName, placeOf } from './problem-text.ts';
import type { MeshStatus } from './status.ts';

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
      // What it refuses is a problem (problems.ts), and is not said twice.
      if (!isOutOfReach(problem)) warnings.push({ what: placeOf(problem), why: fieldText(problem) });
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
  return warnings;
}

function keyOf({ kind, namespace, name }: { kind: string; namespace: string; name: string }): string {
  return `${kind} ${namespace}/${name}`;
}
