import {
  type Expression as WireExpression,
  Format,
  type Literal,
  type Side,
} from '../../../proto/gen/loam/telemetry/v1/telemetry_pb.js';
import { BINARIES, type Expression, isAttribute, MAX_DEPTH, type Value } from './expression.ts';
import type { SideTelemetry } from './model.ts';

const MAX_OUTPUTS = 8;
const MAX_TAGS = 64;

/**
 * Reads what is told of one side. Nothing of it restricts traffic, so that what this version does not know is passed over: a filter that
 * it cannot read lets everything through to the log.
 */
export function decodeSide({ accessLog, tracing }: Side): SideTelemetry {
  return {
    logs: accessLog?.outputs.slice(0, MAX_OUTPUTS).map(({ format, filter }) => ({
      format: format === Format.TEXT ? 'text' : 'json',
      filter: filter && decodeExpression(filter, 0),
    })),
    tracing: tracing && {
      endpoint: tracing.otlpEndpoint,
      sampling: Math.min(1, Math.max(0, tracing.sampling)),
      tags: Object.fromEntries(Object.entries(tracing.tags).slice(0, MAX_TAGS)),
    },
  };
}

/** Undefined where it cannot be read. */
function decodeExpression(wire: WireExpression, depth: number): Expression | undefined {
  if (depth > MAX_DEPTH) return undefined;
  const { op, attribute } = wire;
  const values = wire.values.flatMap((value) => valueOf(value) ?? []);
  const args = wire.args.map((arg) => decodeExpression(arg, depth + 1));
  const [first, second] = args;
  const [value] = values;
  if (op === 'literal') return value === undefined ? undefined : { op, value };
  if (op === 'attribute' || op === 'has') return isAttribute(attribute) ? { op, name: attribute } : undefined;
  if (first === undefined) return undefined;
  if (op === 'not') return { op, args: [first] };
  if (op === 'in') return { op, args: [first], values };
  const binary = BINARIES.find((each) => each === op);
  return binary === undefined || second === undefined ? undefined : { op: binary, args: [first, second] };
}

function valueOf({ value }: Literal): Value | undefined {
  return value.value;
}
