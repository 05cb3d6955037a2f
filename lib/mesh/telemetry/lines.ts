import { compileExpression, type Evaluate, type Lookup } from './expression.ts';
import type { LogFormat, LogRule, SideTelemetry } from './model.ts';

const DEFAULT: readonly LogFormat[] = ['json'];
const NONE: readonly LogFormat[] = [];
const compiled = new WeakMap<LogRule, Evaluate>();

/**
 * In which forms something has its line in the access log; empty: it has none. An expression that asks for what is not there
 * is no yes (as in Envoy's filter by CEL).
 *
 * @param side undefined: nothing is said, and the default holds
 */
export function formsOf(side: SideTelemetry | undefined, lookup: Lookup): readonly LogFormat[] {
  const logs = side?.logs;
  if (logs === undefined) return DEFAULT;
  if (logs.length === 0) return NONE;
  return logs.flatMap((rule) => (passes(rule, lookup) ? [rule.format] : []));
}

/** The forms in which something begins to be told that has not ended: those without a filter. */
export function openForms(side: SideTelemetry | undefined): readonly LogFormat[] {
  return side?.logs?.flatMap(({ format, filter }) => (filter === undefined ? [format] : [])) ?? DEFAULT;
}

function passes(rule: LogRule, lookup: Lookup): boolean {
  if (rule.filter === undefined) return true;
  let evaluate = compiled.get(rule);
  if (evaluate === undefined) compiled.set(rule, (evaluate = compileExpression(rule.filter)));
  return evaluate(lookup) === true;
}
