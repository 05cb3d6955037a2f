import type { Kind } from '../model/meta.ts';
import { type ObjectRef, objectKey, refOf } from '../model/objects.ts';
import type { Condition, Outcome } from '../compile/outcomes.ts';
import { type ObjectSet, objectsOf, type Problem, type SourceGate } from '../sources/source.ts';
import type { GatewayReport, NodeReport, Refusals } from './clients.ts';

/** Tells what became of every object of some kinds. */
export type ReportOf = (kinds: readonly Kind[]) => readonly ObjectReport[];

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
  /** What nodes and waypoints said when they refused what this object compiles to. */
  readonly refusals: readonly string[];
  /** As the Gateway API has them, for its kinds. */
  readonly conditions?: readonly Condition[];
  /** True when an older, good state is in force instead of what the file says now. */
  readonly lastGood: boolean;
  /** Of what is rejected, by the standard's name. */
  readonly reason?: NonNullable<Problem['reason']>;
  /** Set where something strict is in force in its place: what that does. */
  readonly standIn?: string;
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
  readonly gateways: readonly GatewayReport[];
}

/** The part of a source's objects, and of what is wrong with them, that is of some kinds. */
export function ofKinds(set: ObjectSet, kinds: readonly Kind[]): ObjectSet {
  const wanted = new Set<string>(kinds);
  const objects = new Map([...wanted].sort().flatMap((kind) => [...objectsOf(set, kind as Kind)]));
  const problems = set.problems.filter(({ object }) => object !== undefined && wanted.has(object.kind));
  return { ...set, objects, problems };
}

/** Everything that is known of each object: those in force, and those whose manifest was not accepted. */
export function reportObjects(
  set: ObjectSet,
  outcomes: ReadonlyMap<string, Outcome>,
  refusals: Refusals = new Map(),
): ObjectReport[] {
  const byObject = Map.groupBy(
    set.problems.filter((problem) => problem.object !== undefined),
    (problem) => objectKey(problem.object as ObjectRef),
  );
  const reports: ObjectReport[] = [];
  for (const [key, { object, file, line, lastGood, standIn }] of set.objects) {
    const problems = byObject.get(key) ?? [];
    const error = problems.find(({ severity }) => severity === 'error');
    const outcome = outcomes.get(key);
    const kept = lastGood ? 'kept in force, since a broken document of its file may be it' : undefined;
    const refused = (outcome?.compiledTo ?? []).flatMap((resource) => refusals.get(resource) ?? []);
    const texts = [error?.message ?? kept ?? outcome?.message ?? '', standIn ?? '', ...refused];
    const message = texts.filter((text) => text !== '').join('; ');
    reports.push({
      ...refOf(object),
      file: error?.file ?? file,
      ...(line === undefined ? {} : { line }),
      ...pick(error),
      state: error !== undefined || standIn !== undefined ? 'rejected' : (outcome?.state ?? 'accepted'),
      ...(message === '' ? {} : { message }),
      warnings: problems.filter(({ severity }) => severity === 'warning').map((warning) => warning.message),
      compiledTo: outcome?.compiledTo ?? [],
      refusals: refused,
      ...(outcome?.conditions === undefined ? {} : { conditions: outcome.conditions }),
      lastGood,
      ...(error?.reason !== undefined && { reason: error.reason }),
      ...(standIn !== undefined && { standIn }),
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
      refusals: [],
      lastGood: false,
      ...(first.reason !== undefined && { reason: first.reason }),
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
export function reportWarnings(
  set: ObjectSet,
  outcomes: ReadonlyMap<string, Outcome> = new Map(),
): WarningReport[] {
  const warnings = [
    ...set.problems.filter(({ severity }) => severity === 'warning'),
    ...[...outcomes].flatMap(([key, outcome]) => compilerWarnings(set, key, outcome)),
  ];
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

/** What only the compiler can see, at the place of the object. */
function compilerWarnings(set: ObjectSet, key: string, { warnings = [] }: Outcome): Problem[] {
  const accepted = set.objects.get(key);
  if (accepted === undefined) return [];
  const { file, line, object } = accepted;
  const place = { file, ...(line !== undefined && { line }), object: refOf(object) };
  return warnings.map((message) => ({ severity: 'warning', ...place, message }));
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
