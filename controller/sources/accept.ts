import { type KubeObject, namespaceOf, objectKey, type ObjectRef, refOf } from '../model/objects.ts';
import { didYouMean } from '../../lib/did-you-mean.ts';
import { show } from '../schema/validate.ts';
import { atOnce, type Steps, THINGS_A_STEP } from './in-steps.ts';
import type { ReadDocument } from './read-object.ts';
import { isMet, namesOf, referencesOf } from './references.ts';
import type { AcceptedObject, Problem } from './source.ts';
import { type WarningContext, warningSteps } from './warnings.ts';

/** One manifest file as read: its documents, or why it could not be read. */
export interface ReadFile {
  readonly file: string;
  readonly error?: string;
  readonly documents: readonly ReadDocument[];
}

/** An object that was in force before. */
export interface HeldObject {
  readonly object: KubeObject;
  readonly file: string;
  readonly line?: number;
  /** As in AcceptedObject. */
  readonly standIn?: string;
}

export interface Acceptance {
  readonly objects: Map<string, AcceptedObject>;
  readonly problems: Problem[];
}

const MAX_NAMES = 20;

/**
 * Decides what is in force: every good object, and for each one whose manifest is broken now its last good state.
 * Pure. `files` must be everything that exists; `previous` is what was in force before, by objectKey.
 *
 * What a broken document was about may be unknowable (its name may be the broken part). Then every object that this
 * file held before and that no good document claims now stays: rather a rule too long in force than an open mesh.
 */
export function accept(
  files: readonly ReadFile[],
  previous: ReadonlyMap<string, HeldObject>,
  context: WarningContext,
): Acceptance {
  return atOnce(acceptSteps(files, previous, context));
}

/** The same, in steps: with tens of thousands of objects it takes a part of a second. */
export function* acceptSteps(
  files: readonly ReadFile[],
  previous: ReadonlyMap<string, HeldObject>,
  context: WarningContext,
): Steps<Acceptance> {
  const problems: Problem[] = [];
  const objects = collect(files, previous, problems);
  yield;
  const doubts = doubtsOf(files, previous, problems);
  retain(previous, objects, doubts);
  yield;
  if (context.platform !== 'kubernetes') retainNamespaces(previous, objects, problems);
  for (const file of yield* checkReferences(previous, objects, problems, context)) doubts.files.add(file);
  // What an object with a wrong reference was before its namespace was misspelt cannot be known either.
  retain(previous, objects, doubts);
  yield;
  for (const warning of yield* warningSteps(objects, context)) problems.push(warning);
  yield;
  return { objects: new Map([...objects].sort(([a], [b]) => (a < b ? -1 : 1))), problems };
}

function collect(
  files: readonly ReadFile[],
  previous: ReadonlyMap<string, HeldObject>,
  problems: Problem[],
): Map<string, AcceptedObject> {
  const objects = new Map<string, AcceptedObject>();
  for (const { file, documents } of files) {
    for (const document of documents) {
      if (document.type === 'bad') problems.push(...document.problems);
      else if (document.type === 'ignored') problems.push(document.problem);
      else {
        const { object, line, warnings } = document;
        const found: AcceptedObject = { object, file, ...(line !== undefined && { line }), lastGood: false };
        if (warnings !== undefined) problems.push(...warnings);
        const key = objectKey(refOf(found.object));
        const other = objects.get(key);
        // Of two files the one that was in force counts, else the first by name.
        const takesOver = other !== undefined && other.file !== file && previous.get(key)?.file === file;
        if (other === undefined || takesOver) objects.set(key, found);
        if (other !== undefined) problems.push(takesOver ? duplicate(other, found) : duplicate(found, other));
      }
    }
  }
  addStandIns(files, previous, objects);
  return objects;
}

/** Something strict for what must not be passed over, where there is no last good state of it. */
function addStandIns(
  files: readonly ReadFile[],
  previous: ReadonlyMap<string, HeldObject>,
  objects: Map<string, AcceptedObject>,
): void {
  for (const { file, documents } of files) {
    for (const document of documents) {
      if (document.type !== 'bad' || document.standIn === undefined) continue;
      const { line, standIn } = document;
      const { object, effect } = standIn;
      const key = objectKey(refOf(object));
      const held = previous.get(key);
      if (objects.has(key) || (held !== undefined && held.standIn === undefined)) continue;
      objects.set(key, {
        object,
        file,
        ...(line !== undefined && { line }),
        lastGood: false,
        standIn: effect,
      });
    }
  }
}

function duplicate(loser: AcceptedObject, winner: AcceptedObject): Problem {
  return {
    severity: 'error',
    file: loser.file,
    ...(loser.line === undefined ? {} : { line: loser.line }),
    object: refOf(loser.object),
    field: 'metadata.name',
    value: show(loser.object.metadata.name),
    message: `the object is defined twice; the one in ${winner.file}${winner.line === undefined ? '' : ` line ${winner.line}`} counts`,
  };
}

function keep(objects: Map<string, AcceptedObject>, key: string, held: HeldObject): void {
  objects.set(key, { ...held, lastGood: held.standIn === undefined });
}

/** What broken documents may have been about. */
interface Doubts {
  /** Objects that a broken document names, with the files of such documents. */
  readonly keys: Map<string, Set<string>>;
  /** Files (or directories that cannot be read) with something that could have been any of their objects. */
  readonly files: Set<string>;
}

function doubtsOf(
  files: readonly ReadFile[],
  previous: ReadonlyMap<string, HeldObject>,
  problems: Problem[],
): Doubts {
  const doubts: Doubts = { keys: new Map(), files: new Set() };
  for (const { file, error, documents } of files) {
    if (error !== undefined) {
      doubts.files.add(file);
      problems.push({ severity: 'error', file, message: error });
    }
    for (const document of documents) {
      if (document.type !== 'bad') continue;
      const key = document.ref === undefined ? undefined : objectKey(document.ref);
      if (key === undefined || !previous.has(key)) doubts.files.add(file);
      else doubts.keys.set(key, (doubts.keys.get(key) ?? new Set()).add(file));
    }
  }
  return doubts;
}

function retain(
  previous: ReadonlyMap<string, HeldObject>,
  objects: Map<string, AcceptedObject>,
  doubts: Doubts,
): void {
  const { keys, files } = doubts;
  // A directory that cannot be read casts doubt on all files below it.
  const isDoubtful = (file: string): boolean =>
    files.has(file) || [...files].some((above) => file.startsWith(`${above}/`));
  for (const [key, held] of previous) {
    const found = objects.get(key);
    // A second definition elsewhere did not count before, and does not because the one that counts is broken.
    const isOverruled = found !== undefined && found.file !== held.file && keys.get(key)?.has(held.file);
    const isMissing = found === undefined && (keys.has(key) || isDoubtful(held.file));
    if (isOverruled === true || isMissing) keep(objects, key, held);
  }
}

/** A Namespace's labels enrol its pods, so it stays while anything is left in it, as in Kubernetes. */
function retainNamespaces(
  previous: ReadonlyMap<string, HeldObject>,
  objects: Map<string, AcceptedObject>,
  problems: Problem[],
): void {
  const used = new Map<string, number>();
  for (const { object } of objects.values()) {
    const namespace = namespaceOf(object);
    used.set(namespace, (used.get(namespace) ?? 0) + 1);
  }
  for (const [key, held] of previous) {
    const users = used.get(held.object.metadata.name) ?? 0;
    if (held.object.kind !== 'Namespace' || objects.has(key) || users === 0) continue;
    keep(objects, key, held);
    problems.push({
      severity: 'error',
      file: held.file,
      object: refOf(held.object),
      message: `the Namespace was deleted, but stays in force while ${users} objects are in it`,
    });
  }
}

/** Takes out or back what refers to something that does not exist; returns the files of what was taken out. */
function* checkReferences(
  previous: ReadonlyMap<string, HeldObject>,
  objects: Map<string, AcceptedObject>,
  problems: Problem[],
  context: WarningContext,
): Steps<Set<string>> {
  const dropped = new Set<string>();
  const exists = (to: ObjectRef): boolean => objects.has(objectKey(to));
  // Accounts before the pods that name them: whether an account is in force decides about the pod.
  const sorted = [...objects].sort(([, a], [, b]) => rank(a.object) - rank(b.object));
  for (const [at, [key, found]] of sorted.entries()) {
    if (at % THINGS_A_STEP === 0) yield;
    for (const reference of referencesOf(found.object, { ...context, exists })) {
      if (isMet(reference, objects)) continue;
      const { spare = false } = reference;
      problems.push({
        severity: spare ? 'warning' : 'error',
        file: found.file,
        ...(found.line === undefined ? {} : { line: found.line }),
        object: refOf(found.object),
        field: reference.field,
        value: show(reference.to.name),
        ...(reference.to.kind === 'Service' && { reason: 'TargetNotFound' as const }),
        ...unmet(reference.to, objects, problems),
      });
      if (spare) continue;
      const held = previous.get(key);
      if (held === undefined) {
        objects.delete(key);
        dropped.add(found.file);
      } else keep(objects, key, held);
      break;
    }
  }
  return dropped;
}

/** Why a reference leads nowhere: what it names is wrong itself, or does not exist. */
function unmet(
  to: ObjectRef,
  objects: ReadonlyMap<string, AcceptedObject>,
  problems: readonly Problem[],
): Pick<Problem, 'message' | 'allowed'> {
  const { kind, namespace, name } = to;
  const own = problems.find(
    ({ severity, object }) =>
      severity === 'error' && object !== undefined && objectKey(object) === objectKey(to),
  );
  if (own !== undefined) {
    const place = own.line === undefined ? own.file : `${own.file}:${own.line}`;
    return { message: `the manifest of ${kind} ${show(name)} is wrong itself (${place})` };
  }
  const names = namesOf(
    [...objects.values()].map(({ object }) => object),
    kind,
    namespace,
  );
  const where = namespace === '' ? '' : ` in namespace ${namespace}`;
  const guess = didYouMean(name, names);
  const hint = guess === undefined ? '' : `; did you mean ${show(guess)}?`;
  return {
    message: `there is no ${kind} ${show(name)}${where}${hint}`,
    allowed: names.length === 0 ? `none exists: add a ${kind}` : names.slice(0, MAX_NAMES).join(', '),
  };
}

function rank(object: KubeObject): number {
  return object.kind === 'Namespace' ? 0 : object.kind === 'ServiceAccount' ? 1 : 2;
}
