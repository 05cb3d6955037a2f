import type { RequestAuthentication } from '../model/objects.ts';
import type { FieldProblem } from '../schema/validate.ts';
import { problem } from './check-helpers.ts';

/** Refuses every RequestAuthentication: tokens are not verified yet, and it must not look as if they were. */
export function checkRequestAuthentication(_policy: RequestAuthentication): FieldProblem[] {
  return [problem(['kind'], 'this version of Loam does not enforce RequestAuthentication yet')];
}
