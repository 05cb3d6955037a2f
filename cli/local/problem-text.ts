import { printableLine } from '../output/printable.ts';
import type { ManifestProblem } from './status.ts';

/** `payments.yaml:3`, or the file alone where no line is known. A file's name may have line feeds, which forge no lines here. */
export function placeText(file: string, line?: number): string {
  const name = printableLine(file);
  return line === undefined ? name : `${name}:${line}`;
}

/** The place of a document that names no object properly, and what it seems to be: `a.yaml:4: Pod "Bad_Name"`. */
export function unnamedPlace(problem: { file: string; line?: number; about?: string }): string {
  const place = placeText(problem.file, problem.line);
  return problem.about === undefined ? place : `${place}: ${problem.about}`;
}

/** `AuthorizationPolicy shop/payments (policies/payments.yaml:3)` */
export function objectName(
  object: { kind: string; namespace: string; name: string; file: string },
  line?: number,
): string {
  const where = object.namespace === '' ? object.name : `${object.namespace}/${object.name}`;
  return `${object.kind} ${where} (${placeText(object.file, line)})`;
}

/** What a problem of a file is about, with its place. */
export function placeOf(problem: ManifestProblem): string {
  if (problem.object !== undefined)
    return objectName({ ...problem.object, file: problem.file }, problem.line);
  return unnamedPlace(problem);
}

/**
 * Whether a warning of the controller says that connections are refused for good: a label asks for a waypoint that there is not. It
 * stays a warning there, where an object may come later than the one that names it.
 */
export function isOutOfReach({ severity, field }: ManifestProblem): boolean {
  return severity === 'warning' && field === 'metadata.labels["loam.dev/use-waypoint"]';
}

/** Which field holds what, what is wrong with that, and what would be right. */
export function fieldText(problem: {
  field?: string;
  value?: string;
  message?: string;
  allowed?: string;
}): string {
  const { field, value, message = '', allowed } = problem;
  const found = value === undefined || message.includes(value) ? '' : ` is ${value}`;
  const subject = field === undefined ? found.replace(/^ is /, '') : `${field}${found}`;
  const parts = [subject === '' ? message : `${subject}: ${message}`];
  if (allowed !== undefined) parts.push(`allowed: ${allowed}`);
  return parts.join('; ');
}

/** Why an object was not taken, what is allowed, and what is in force in its place. */
export function rejection(object: {
  field?: string;
  value?: string;
  message?: string;
  allowed?: string;
  lastGood: boolean;
}): string {
  const text = fieldText(object);
  // The controller mostly says itself what is in force in its place.
  if (text.includes('in force')) return text;
  return `${text}; ${object.lastGood ? 'its last good state stays in force' : 'it has no effect'}`;
}
