import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv';
import { KINDS, type Kind, type KubeObject } from '../model/objects.ts';
import { didYouMean } from '../../lib/did-you-mean.ts';
import { FORMATS } from './formats.ts';
import { SCHEMAS } from './schemas.ts';

/** A wrong field of an object, before it is known where in a file it stands. */
export interface FieldProblem {
  /** Keys and indexes from the object's root. */
  readonly path: readonly (string | number)[];
  /** True when `path` names a key that is itself wrong, rather than its value. */
  readonly atKey: boolean;
  readonly message: string;
  readonly value?: string;
  readonly allowed?: string;
}

const MAX_PROBLEMS = 10;
const MAX_VALUE = 120;
const MAX_ALLOWED_NAMES = 40;

const ajv = new Ajv({ allErrors: true, strict: true, allowUnionTypes: true, verbose: true });
const ALLOWED_BY_FORMAT = new Map(FORMATS.map((format) => [format.name, format.allowed]));
for (const format of FORMATS) ajv.addFormat(format.name, { type: 'string', validate: format.check });

const validators = new Map<Kind, ValidateFunction>(
  KINDS.map((kind) => [kind, ajv.compile(SCHEMAS[kind].schema)]),
);

/** A value as a message shows it: JSON, shortened. */
export function show(value: unknown): string {
  const text = JSON.stringify(value) ?? 'undefined';
  return text.length > MAX_VALUE ? `${text.slice(0, MAX_VALUE)}…` : text;
}

/** A path as people write it: `spec.rules[0].to`. */
export function fieldText(path: readonly (string | number)[]): string {
  return path
    .map((part, i) =>
      typeof part === 'number'
        ? `[${part}]`
        : /^[A-Za-z0-9_-]+$/.test(part)
          ? `${i === 0 ? '' : '.'}${part}`
          : `[${JSON.stringify(part)}]`,
    )
    .join('');
}

/** Checks an object of a known kind against its schema. An empty list means that it is right. */
export function validateSchema(kind: Kind, object: unknown): FieldProblem[] {
  const validate = validators.get(kind);
  if (validate === undefined) throw new Error(`no schema for ${kind}`);
  if (validate(object)) return [];
  const problems: FieldProblem[] = [];
  for (const error of validate.errors ?? []) {
    // Repeats at the map what the error of the key says precisely.
    if (error.keyword === 'propertyNames') continue;
    problems.push(toProblem(error, object));
    if (problems.length >= MAX_PROBLEMS) break;
  }
  return problems;
}

/** An object that passed its schema has its kind's type. */
export function asKubeObject(object: unknown): KubeObject {
  return object as KubeObject;
}

function pathOf(error: ErrorObject, root: unknown): (string | number)[] {
  const path: (string | number)[] = [];
  let node = root;
  for (const raw of error.instancePath.split('/').slice(1)) {
    const part = raw.replaceAll('~1', '/').replaceAll('~0', '~');
    const step = Array.isArray(node) ? Number(part) : part;
    path.push(step);
    node = (node as Record<string | number, unknown> | undefined)?.[step];
  }
  return path;
}

function toProblem(error: ErrorObject, root: unknown): FieldProblem {
  const path = pathOf(error, root);
  const params = error.params as Record<string, unknown>;
  const value = show(error.data);
  const schema = (error.parentSchema ?? {}) as { properties?: object; enum?: readonly string[] };
  switch (error.keyword) {
    case 'additionalProperties': {
      const name = String(params['additionalProperty']);
      const known = Object.keys(schema.properties ?? {});
      const guess = didYouMean(name, known);
      return {
        path: [...path, name],
        atKey: true,
        message: `unknown field ${show(name)}${guess === undefined ? '' : `; did you mean ${show(guess)}?`}`,
        allowed: known.slice(0, MAX_ALLOWED_NAMES).join(', '),
      };
    }
    case 'required':
      return { path, atKey: false, message: `missing field ${show(params['missingProperty'])}` };
    case 'enum': {
      const allowed = schema.enum ?? [];
      const guess = typeof error.data === 'string' ? didYouMean(error.data, allowed) : undefined;
      return {
        path,
        atKey: false,
        message: `${value} is not allowed${guess === undefined ? '' : `; did you mean ${show(guess)}?`}`,
        value,
        allowed: allowed.join(', '),
      };
    }
    case 'format': {
      // A wrong key of a map: ajv names it in propertyName and stands at the map itself.
      const key = error.propertyName;
      return {
        path: key === undefined ? path : [...path, key],
        atKey: key !== undefined,
        message: key === undefined ? `${value} is not allowed` : `key ${show(key)} is not allowed`,
        ...(key === undefined ? { value } : {}),
        allowed: ALLOWED_BY_FORMAT.get(String(params['format'])) ?? String(params['format']),
      };
    }
    case 'type':
      return {
        path,
        atKey: false,
        message: `${value} has the wrong type`,
        value,
        allowed: [params['type']].flat().join(' or '),
      };
    case 'minItems':
    case 'minProperties':
      return { path, atKey: false, message: 'must not be empty', value };
    default:
      return { path, atKey: false, message: error.message ?? error.keyword, value };
  }
}
