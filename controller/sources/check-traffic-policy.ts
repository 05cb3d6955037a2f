import type { TrafficPolicy } from '../model/objects.ts';
import type { FieldProblem } from '../schema/validate.ts';
import { problem } from './check-helpers.ts';

/** Refuses every TrafficPolicy: none of its fields is compiled yet, and half of a policy must not look like all of it. */
export function checkTrafficPolicy(_policy: TrafficPolicy): FieldProblem[] {
  return [problem(['kind'], 'this version of Loam does not enforce TrafficPolicy yet')];
}
