import { parse } from '@bufbuild/cel';
import {
  type AttributeType,
  ATTRIBUTES,
  type AttributeName,
} from '../../../lib/mesh/telemetry/attributes.ts';
import {
  type Binary,
  type Expression,
  isAttribute,
  MAX_DEPTH,
  typeOfAttribute,
  type Value,
} from '../../../lib/mesh/telemetry/expression.ts';
import { errorText } from '../../../lib/loam-error.ts';
import { didYouMean } from '../../../lib/did-you-mean.ts';
import { show } from '../../schema/validate.ts';

type Cel = ReturnType<typeof parse>['expr'];

/** What is wrong with an expression: what it says there, and what could stand there. */
export interface FilterProblem {
  readonly value: string;
  readonly message: string;
  readonly allowed: string;
}

export type FilterResult =
  | { readonly ok: true; readonly expression: Expression }
  | { readonly ok: false; readonly problem: FilterProblem };

/** CEL's operators under the names that its parser gives them. */
const OPERATORS: ReadonlyMap<string, Binary> = new Map<string, Binary>([
  ['_&&_', 'and'],
  ['_||_', 'or'],
  ['_==_', 'eq'],
  ['_!=_', 'ne'],
  ['_<_', 'lt'],
  ['_<=_', 'le'],
  ['_>_', 'gt'],
  ['_>=_', 'ge'],
]);
const METHODS = ['contains', 'startsWith', 'endsWith'] as const;
const ALLOWED = `attributes, has(), literals, && || !, == != < <= > >=, in, ${METHODS.join('(), ')}(), duration("5ms")`;
const MS_BY_UNIT: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };
const DURATION = /^(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h)$/;

interface Typed {
  readonly type: AttributeType;
  readonly expression: Expression;
}

class Refusal extends Error {
  readonly problem: FilterProblem;

  constructor(problem: FilterProblem) {
    super(problem.message);
    this.problem = problem;
  }
}

/**
 * Makes of CEL what programs evaluate: a part of CEL without loops and patterns, with every type known (docs/decisions/0167).
 * Pure.
 *
 * @param text at most 1,024 characters, as the schema has it
 */
export function compileFilter(text: string): FilterResult {
  const known = cache.get(text);
  if (known !== undefined) return known;
  const result = compile(text);
  if (cache.size >= MAX_CACHED) cache.clear();
  cache.set(text, result);
  return result;
}

/** Every compilation of the mesh asks again, for every pod. */
const cache = new Map<string, FilterResult>();
const MAX_CACHED = 1_024;

function compile(text: string): FilterResult {
  const brackets = bracketProblem(text);
  if (brackets !== undefined) return { ok: false, problem: brackets };
  let parsed: Cel;
  try {
    parsed = parse(text).expr;
  } catch (error) {
    const problem = { value: show(text), message: `is not CEL: ${errorText(error)}`, allowed: ALLOWED };
    return { ok: false, problem };
  }
  try {
    const { type, expression } = typed(parsed, 0);
    if (type === 'bool') return { ok: true, expression };
    return { ok: false, problem: unfit(text, `is of type ${type}`, 'a condition, which is true or false') };
  } catch (error) {
    if (error instanceof Refusal) return { ok: false, problem: error.problem };
    throw error;
  }
}

/**
 * Looks at the brackets of an expression before the parser does, which takes seconds to tell that some hundred of them were not closed:
 * a controller must not stand still by what one author writes.
 */
function bracketProblem(text: string): FilterProblem | undefined {
  const open: string[] = [];
  let pairs = 0;
  for (const [found] of text.matchAll(TOKENS)) {
    const closing = CLOSING[found];
    if (closing !== undefined) {
      open.push(closing);
      pairs += 1;
    }
    if (closing === undefined && found.length === 1 && open.pop() !== found)
      return unfit(found, 'closes nothing', 'brackets in pairs');
    if (open.length > MAX_BRACKETS)
      return unfit('the expression', 'is nested too deep', `${MAX_BRACKETS} levels of brackets`);
  }
  if (pairs > MAX_PAIRS)
    return unfit(
      'the expression',
      `has ${pairs} pairs of brackets`,
      `at most ${MAX_PAIRS} pairs of brackets`,
    );
  const [missing] = open;
  return missing === undefined ? undefined : unfit(missing, 'is missing', 'brackets in pairs');
}

const MAX_BRACKETS = 16;
const MAX_PAIRS = 48;
const CLOSING: Readonly<Record<string, string>> = { '(': ')', '[': ']', '{': '}' };
/** Brackets, and texts in which they do not count; a quotation that is not closed is for the parser to refuse. */
const TOKENS = /"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[()[\]{}]/g;

function unfit(value: string, message: string, allowed = ALLOWED): FilterProblem {
  return { value: show(value), message: `${show(value)} ${message}`, allowed };
}

function refuse(value: string, message: string, allowed = ALLOWED): never {
  throw new Refusal(unfit(value, message, allowed));
}

function typed(cel: Cel, depth: number): Typed {
  if (depth > MAX_DEPTH) refuse('the expression', 'is nested too deep', `${MAX_DEPTH} levels`);
  const { case: what, value } = cel.exprKind;
  switch (what) {
    case 'constExpr':
      return literal(value.constantKind);
    case 'identExpr':
    case 'selectExpr': {
      const name = attributeName(cel);
      const testOnly = what === 'selectExpr' && value.testOnly;
      return testOnly
        ? { type: 'bool', expression: { op: 'has', name } }
        : { type: typeOfAttribute(name), expression: { op: 'attribute', name } };
    }
    case 'callExpr':
      return call(value, depth + 1);
    case 'comprehensionExpr':
      return refuse('all, exists, map, filter', 'cannot stand in a filter of an access log');
    case 'listExpr':
      return refuse('[...]', 'can only stand behind "in"');
    default:
      return refuse(what ?? 'nothing', 'cannot stand in a filter of an access log');
  }
}

type CallExpr = Extract<Cel['exprKind'], { case: 'callExpr' }>['value'];

function call({ function: name, target, args }: CallExpr, depth: number): Typed {
  const [first, second] = args;
  const operator = OPERATORS.get(name);
  if (operator !== undefined && first !== undefined && second !== undefined)
    return operation(operator, typed(first, depth), typed(second, depth));
  if (name === '!_' && first !== undefined) {
    const inner = typed(first, depth);
    expect(inner, 'bool', '!');
    return { type: 'bool', expression: { op: 'not', args: [inner.expression] } };
  }
  if (name === '@in' && first !== undefined && second !== undefined)
    return membership(typed(first, depth), second);
  const method = METHODS.find((each) => each === name);
  if (method !== undefined && target !== undefined && first !== undefined && second === undefined) {
    const [of, part] = [typed(target, depth), typed(first, depth)];
    expect(of, 'string', `${method}()`);
    expect(part, 'string', `${method}()`);
    return { type: 'bool', expression: { op: method, args: [of.expression, part.expression] } };
  }
  if (name === 'duration' && target === undefined && first !== undefined && second === undefined)
    return { type: 'duration', expression: { op: 'literal', value: durationMs(first) } };
  if (name === '-_' && first !== undefined) {
    const inner = typed(first, depth);
    if (inner.type === 'int' && inner.expression.op === 'literal')
      return { type: 'int', expression: { op: 'literal', value: -Number(inner.expression.value) } };
  }
  return refuse(name, 'is no operation that a filter of an access log has');
}

function operation(op: Binary, a: Typed, b: Typed): Typed {
  if (op === 'and' || op === 'or') {
    const sign = op === 'and' ? '&&' : '||';
    expect(a, 'bool', sign);
    expect(b, 'bool', sign);
  } else if (a.type !== b.type) {
    refuse(`${a.type} and ${b.type}`, 'cannot be compared', 'two values of one type');
  } else if (a.type === 'bool' && op !== 'eq' && op !== 'ne') {
    refuse('two conditions', 'have no order', '== or !=');
  }
  return { type: 'bool', expression: { op, args: [a.expression, b.expression] } };
}

function membership(of: Typed, list: Cel): Typed {
  const { exprKind } = list;
  if (exprKind.case !== 'listExpr')
    return refuse('what stands behind "in"', 'is no list', 'a list of literals: [400, 404]');
  const values = exprKind.value.elements.map((each): Value => {
    const { type, expression } = typed(each, MAX_DEPTH);
    if (expression.op !== 'literal') return refuse('a list', 'has other things than literals in it');
    if (type !== of.type) return refuse(`${of.type} and ${type}`, 'cannot be compared');
    return expression.value;
  });
  return { type: 'bool', expression: { op: 'in', args: [of.expression], values } };
}

function literal(kind: Extract<Cel['exprKind'], { case: 'constExpr' }>['value']['constantKind']): Typed {
  switch (kind.case) {
    case 'boolValue':
      return { type: 'bool', expression: { op: 'literal', value: kind.value } };
    case 'int64Value':
    case 'uint64Value':
      return { type: 'int', expression: { op: 'literal', value: Number(kind.value) } };
    case 'stringValue':
      return { type: 'string', expression: { op: 'literal', value: kind.value } };
    default:
      return refuse(kind.case ?? 'nothing', 'is no literal that a filter of an access log has');
  }
}

function durationMs(argument: Cel): number {
  const { exprKind } = argument;
  const kind = exprKind.case === 'constExpr' ? exprKind.value.constantKind : undefined;
  const text = kind?.case === 'stringValue' ? kind.value : '';
  const found = DURATION.exec(text);
  const unit = MS_BY_UNIT[found?.[2] ?? ''];
  if (unit === undefined)
    return refuse(text, 'is no duration', 'a number with ms, s, m or h: duration("250ms")');
  return Number(found?.[1]) * unit;
}

function expect({ type }: Typed, wanted: AttributeType, of: string): void {
  if (type !== wanted) refuse(`${of} with ${type}`, 'cannot be', `${of} with ${wanted}`);
}

/** The attribute that a chain of names stands for. */
function attributeName(cel: Cel): AttributeName {
  const name = chain(cel);
  if (name !== undefined && isAttribute(name)) return name;
  const known = Object.keys(ATTRIBUTES);
  const guess = name === undefined ? undefined : didYouMean(name, known);
  const hint = guess === undefined ? '' : `; did you mean ${show(guess)}?`;
  return refuse(name ?? 'a field of a value', `is no attribute${hint}`, known.join(', '));
}

function chain({ exprKind }: Cel): string | undefined {
  if (exprKind.case === 'identExpr') return exprKind.value.name;
  if (exprKind.case !== 'selectExpr' || exprKind.value.operand === undefined) return undefined;
  const of = chain(exprKind.value.operand);
  return of === undefined ? undefined : `${of}.${exprKind.value.field}`;
}
