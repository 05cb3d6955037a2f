import { ATTRIBUTES, type AttributeName, type AttributeType } from './attributes.ts';

/**
 * What a filter of an access log has become: a tree of a few operations on the attributes of what ended. The controller
 * makes it of CEL (controller/compile/telemetry/filter.ts); programs evaluate it. Its cost grows with its size alone: there
 * are no loops and no patterns in it.
 */
export type Expression =
  | { readonly op: 'literal'; readonly value: Value }
  | { readonly op: 'attribute'; readonly name: AttributeName }
  | { readonly op: 'has'; readonly name: AttributeName }
  | { readonly op: 'not'; readonly args: readonly [Expression] }
  | { readonly op: 'in'; readonly args: readonly [Expression]; readonly values: readonly Value[] }
  | { readonly op: Binary; readonly args: readonly [Expression, Expression] };

export const BINARIES = [
  ...(['and', 'or', 'eq', 'ne', 'lt', 'le', 'gt', 'ge'] as const),
  ...(['contains', 'startsWith', 'endsWith'] as const),
] as const;
export type Binary = (typeof BINARIES)[number];

export type Value = string | number | boolean;

/** Gives an attribute of what ended; undefined where it has none. */
export type Lookup = (name: AttributeName) => Value | undefined;

/** Undefined is CEL's error: an attribute was asked for that is not there. */
export type Evaluate = (lookup: Lookup) => Value | undefined;

/** Of a tree; the controller makes none that is deeper, and a program takes none. */
export const MAX_DEPTH = 64;

export function isAttribute(name: string): name is AttributeName {
  return Object.hasOwn(ATTRIBUTES, name);
}

export function typeOfAttribute(name: AttributeName): AttributeType {
  return ATTRIBUTES[name];
}

/** Makes a function of an expression, so that a connection's end costs no walk over the tree. */
export function compileExpression(expression: Expression): Evaluate {
  switch (expression.op) {
    case 'literal': {
      const { value } = expression;
      return () => value;
    }
    case 'attribute': {
      const { name } = expression;
      return (lookup) => lookup(name);
    }
    case 'has': {
      const { name } = expression;
      return (lookup) => lookup(name) !== undefined;
    }
    case 'not': {
      const inner = compileExpression(expression.args[0]);
      return (lookup) => {
        const value = inner(lookup);
        return typeof value === 'boolean' ? !value : undefined;
      };
    }
    case 'in': {
      const inner = compileExpression(expression.args[0]);
      const values = new Set(expression.values);
      return (lookup) => {
        const value = inner(lookup);
        return value === undefined ? undefined : values.has(value);
      };
    }
    default:
      return binary(
        expression.op,
        compileExpression(expression.args[0]),
        compileExpression(expression.args[1]),
      );
  }
}

function binary(op: Binary, left: Evaluate, right: Evaluate): Evaluate {
  // An error on one side does not count where the other decides (CEL: logical operators are commutative).
  if (op === 'and' || op === 'or') {
    const decides = op === 'or';
    return (lookup) => {
      const a = left(lookup);
      if (a === decides) return decides;
      const b = right(lookup);
      if (b === decides) return decides;
      return a === undefined || b === undefined ? undefined : !decides;
    };
  }
  const compare = COMPARISONS[op];
  return (lookup) => {
    const a = left(lookup);
    if (a === undefined) return undefined;
    const b = right(lookup);
    return b === undefined || typeof a !== typeof b ? undefined : compare(a, b);
  };
}

const COMPARISONS: Readonly<Record<Exclude<Binary, 'and' | 'or'>, (a: Value, b: Value) => boolean>> = {
  eq: (a, b) => a === b,
  ne: (a, b) => a !== b,
  lt: (a, b) => a < b,
  le: (a, b) => a <= b,
  gt: (a, b) => a > b,
  ge: (a, b) => a >= b,
  contains: (a, b) => String(a).includes(String(b)),
  startsWith: (a, b) => String(a).startsWith(String(b)),
  endsWith: (a, b) => String(a).endsWith(String(b)),
};
