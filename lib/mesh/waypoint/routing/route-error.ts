import { LoamError } from '../../../loam-error.ts';

/** Where in a Route a value stands that cannot be used, and what could stand there. */
export interface RouteProblem {
  /** `HTTPRoute shop/payments`. */
  readonly route: string;
  /** `rules[2]`, with the rule's name where it has one. */
  readonly rule: string;
  /** Path of the field within the rule: `matches[0].path.regex`. */
  readonly field: string;
  readonly value: string;
  /** What is allowed, as a noun phrase. */
  readonly allowed: string;
}

/** A Route that cannot be compiled. The controller checks the same, so that this says that the two disagree. */
export class RouteError extends LoamError<'ROUTE_INVALID'> {
  readonly problem: RouteProblem;

  constructor(problem: RouteProblem, options?: { cause?: unknown }) {
    const { route, rule, field, value, allowed } = problem;
    super(
      'ROUTE_INVALID',
      `${route}: ${rule}.${field}: ${JSON.stringify(value)} is not allowed; allowed: ${allowed}`,
      options,
    );
    this.problem = problem;
  }
}

/** Throws a {@link RouteError} for one field of one rule. */
export type Refuse = (field: string, value: string, allowed: string, cause?: unknown) => never;
