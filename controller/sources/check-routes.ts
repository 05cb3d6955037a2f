import type { GRPCRoute, HTTPRoute } from '../model/objects.ts';
import type { FieldProblem } from '../schema/validate.ts';

/** The rules between the fields of a route (Gateway API 1.4, CEL rules of the CRDs). */
export function checkRoute(_route: HTTPRoute | GRPCRoute): FieldProblem[] {
  return [];
}
