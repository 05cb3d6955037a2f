import { type ObjectRef, objectKey, refOf } from '../model/objects.ts';
import type { Outcome } from '../compile/mesh.ts';
import type { ObjectSet, Problem, SourceGate } from '../sources/source.ts';
import type { NodeStream } from '../xds/service.ts';

/** One object in `GET /v1/status`. */
export interface ObjectReport {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly file: string;
  readonly line?: number;
  readonly state: 'accepted' | 'rejected' | 'pending';
  readonly message?: string;
  readonly field?: string;
  readonly value?: string;
  readonly allowed?: string;
  readonly warnings: readonly string[];
  readonly compiledTo: readonly string[];
  /** True when an older, good state is in force instead of what the file says now. */
  readonly lastGood: boolean;
}

export interface NodeReport {
  readonly node: string;
  readonly connected: boolean;
  /** The newest generation that the node is known to have, of all types. */
  readonly ackedGeneration: number;
  readonly streams: readonly NodeStream[];
  readonly lastSeen?: Date;
  /** Why the node refused what it was sent, if it did. */
  readonly nacks: readonly string[];
}

/** Something legal that is probably not meant. */
export interface WarningReport {
  readonly file: string;
  readonly line?: number;
  readonly kind?: string;
  /** `namespace` and `name` are there where the document names its object properly. */
  readonly namespace?: string;
  readonly name?: string;
  readonly field?: string;
  readonly value?: string;
  readonly message: string;
  readonly allowed?: string;
  /** All of it in one line: `shop.yaml:12: Deployment shop/web: …`. */
  readonly text: string;
}

export interface StatusReport {
  readonly generation: number;
  readonly gates: readonly SourceGate[];
  readonly objects: readonly ObjectReport[];
  readonly files: readonly {
    readonly file: string;
    readonly error?: string;
    readonly problems: readonly Problem[];
  }[];
  readonly warnings: readonly WarningReport[];
  readonly nodes: readonly NodeReport[];
}

/** Everything that is known of each object: those in force, and those whose manifest was not accepted. */
export function reportObjects(set: ObjectSet, outcomes: ReadonlyMap<string, Outcome>): ObjectReport[] {
  const byObject = Map.groupBy(
    set.problems.filter((problem) => problem.object !== undefined),
    (problem) => objectKey(problem.object as ObjectRef),
  );
  const reports: ObjectReport[] = [];
  for (const [key, { object, file, line, lastGood }] of set.objects) {
    const problems = byObject.get(key) ?? [];
    const error = problems.find(({ severity }) => severity === 'error');
    const outcome = outcomes.get(key);
    const kept = lastGood ? 'kept in force, since a broken document of its file may be it' : undefined;
    const message = error?.message ?? kept ?? outcome?.message;
    reports.push({
      ...refOf(object),
      file: error?.file ?? file,
      ...(line === undefined ? {} : { line }),
      ...pick(error),
      state: error !== undefined ? 'rejected' : (outcome?.state ?? 'accepted'),
      ...(message === undefined || message === '' ? {} : { message }),
      warnings: problems.filter(({ severity }) => severity === 'warning').map((warning) => warning.message),
      compiledTo: outcome?.compiledTo ?? [],
      lastGood,
    });
  }
  for (const [key, problems] of byObject) {
    // Warnings alone are of what is passed over: not refused, and in the list of warnings.
    const first = problems.find(({ severity }) => severity === 'error');
    if (set.objects.has(key) || first?.object === undefined) continue;
    const { file, line, message } = first;
    reports.push({
      ...first.object,
      file,
      ...(line === undefined ? {} : { line }),
      ...pick(first),
      state: 'rejected',
      message: `${message}; it is not in force`,
      warnings: [],
      compiledTo: [],
      lastGood: false,
    });
  }
  return reports;
}

function pick(problem: Problem | undefined): {
  line?: number;
  field?: string;
  value?: string;
  allowed?: string;
} {
  if (problem === undefined) return {};
  const { line, field, value, allowed } = problem;
  return {
    ...(line === undefined ? {} : { line }),
    ...(field === undefined ? {} : { field }),
    ...(value === undefined ? {} : { value }),
    ...(allowed === undefined ? {} : { allowed }),
  };
}

/** A problem in one line, without its file: `line 12: Pod "Bad_Name": metadata.name: "Bad_Name" is not …; allowed: …`. */
export function problemText({ line, object, about, field, message, allowed }: Problem): string {
  const who = object === undefined ? about : `${object.kind} ${nameText(object)}`;
  const parts = [line === undefined ? undefined : `line ${line}`, who, field, message];
  const text = parts.filter((part) => part !== undefined).join(': ');
  return allowed === undefined ? text : `${text}; allowed: ${allowed}`;
}

function nameText({ namespace, name }: ObjectRef): string {
  return namespace === '' ? name : `${namespace}/${name}`;
}

/** All warnings, in the order of the files and of the lines in them. */
export function reportWarnings(set: ObjectSet): WarningReport[] {
  const warnings = set.problems.filter(({ severity }) => severity === 'warning');
  const place = ({ line = 0 }: Problem): number => line;
  return warnings
    .sort((a, b) => (a.file < b.file ? -1 : a.file > b.file ? 1 : place(a) - place(b)))
    .map((problem) => {
      const { file, line, object, message } = problem;
      const { line: _, ...withoutLine } = problem;
      return {
        file,
        ...(object ?? kindOf(problem)),
        ...pick(problem),
        message,
        text: `${file}${line === undefined ? '' : `:${line}`}: ${problemText(withoutLine)}`,
      };
    });
}

/** A document that is passed over for its kind may not even have a proper name. */
function kindOf({ field, value }: Problem): { kind?: string } {
  return field === 'kind' && value !== undefined ? { kind: value.replace(/^"|"$/g, '') } : {};
}

/** Files with all that is wrong in them, also where it cannot be said which object is meant. */
export function reportFiles(set: ObjectSet): StatusReport['files'] {
  const byFile = Map.groupBy(set.problems, ({ file }) => file);
  const names = new Set([...set.files.map(({ file }) => file), ...byFile.keys()]);
  return [...names].sort().map((file) => {
    const problems = byFile.get(file) ?? [];
    const unnamed = problems.filter((p) => p.severity === 'error' && p.object === undefined);
    const [first] = unnamed;
    const more = unnamed.length > 1 ? `; and ${unnamed.length - 1} more` : '';
    const error =
      set.files.find((each) => each.file === file)?.error ??
      (first === undefined ? undefined : `${problemText(first)}${more}`);
    return { file, ...(error === undefined ? {} : { error }), problems };
  });
}

/** Nodes that run pods or have a stream. */
export function reportNodes(
  known: Iterable<string>,
  streams: readonly NodeStream[],
  lastSeen: (node: string) => Date | undefined,
): NodeReport[] {
  const byNode = Map.groupBy(streams, ({ node }) => node);
  return [...new Set([...known, ...byNode.keys()])].sort().map((node) => {
    const own = byNode.get(node) ?? [];
    // Of several streams the newest counts: older ones belong to a ztunnel that is leaving.
    const newest = own.reduce<NodeStream | undefined>(
      (best, each) => (best === undefined || each.since > best.since ? each : best),
      undefined,
    );
    const types = newest?.types ?? [];
    const seen = lastSeen(node);
    return {
      node,
      connected: own.length > 0,
      ackedGeneration:
        types.length === 0 ? 0 : Math.min(...types.map(({ ackedGeneration }) => ackedGeneration)),
      streams: own,
      ...(seen === undefined ? {} : { lastSeen: seen }),
      nacks: types.flatMap(({ nack }) => (nack === undefined ? [] : [nack])),
    };
  });
}
