import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Expression, Value } from '../../../lib/mesh/telemetry/expression.ts';
import {
  type ExpressionSchema,
  Format,
  type LiteralSchema,
  type SideSchema,
} from '../../../proto/gen/loam/telemetry/v1/telemetry_pb.js';
import type { SidePlan } from './effective.ts';

/** What a program is told of one side; undefined where the default holds. */
export function sideMessage({ logs, tracing }: SidePlan): MessageInitShape<typeof SideSchema> | undefined {
  if (logs === undefined && tracing === undefined) return undefined;
  return {
    ...(logs !== undefined && {
      accessLog: {
        outputs: logs.map(({ format, filter }) => ({
          format: format === 'text' ? Format.TEXT : Format.JSON,
          ...(filter !== undefined && { filter: expressionMessage(filter) }),
        })),
      },
    }),
    ...(tracing !== undefined && {
      tracing: { otlpEndpoint: tracing.endpoint, sampling: tracing.sampling, tags: { ...tracing.tags } },
    }),
  };
}

function expressionMessage(expression: Expression): MessageInitShape<typeof ExpressionSchema> {
  const { op } = expression;
  switch (expression.op) {
    case 'literal':
      return { op, values: [literalMessage(expression.value)] };
    case 'attribute':
    case 'has':
      return { op, attribute: expression.name };
    case 'in':
      return {
        op,
        args: expression.args.map(expressionMessage),
        values: expression.values.map(literalMessage),
      };
    default:
      return { op, args: expression.args.map(expressionMessage) };
  }
}

function literalMessage(value: Value): MessageInitShape<typeof LiteralSchema> {
  if (typeof value === 'string') return { value: { case: 'text', value } };
  if (typeof value === 'number') return { value: { case: 'number', value } };
  return { value: { case: 'truth', value } };
}
