import { RE2JS } from 're2js';
import type { Fault, ValueMatch } from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { LoamError } from '../../lib/loam-error.ts';
import { header, type Headers, type RequestHead } from '../../lib/mesh/waypoint/request.ts';
import type { Random } from './time.ts';

export class FaultError extends LoamError<'FAULT_REGEX'> {}

/** What to do to a request: first the delay (DI), then the abort in place of sending it on (FI). */
export interface FaultDecision {
  readonly delayMs?: number;
  readonly abort?:
    | { readonly kind: 'http'; readonly status: number }
    | { readonly kind: 'grpc'; readonly grpcStatus: number };
}

const NONE: FaultDecision = {};

/** Instructions times characters, as of routes. */
const MAX_REGEX_COST = 250_000;

type HeaderTest = (headers: Headers) => boolean;

/** Fault injection: delays and failures made on purpose, for a share of requests. */
export class FaultInjector {
  readonly #fault: Fault;
  readonly #tests: readonly HeaderTest[];
  readonly #random: Random;

  /** @throws FaultError when a header's regex is not RE2 */
  constructor(fault: Fault, random: Random = Math.random) {
    this.#fault = fault;
    this.#tests = fault.headers.map((match, index) => headerTest(match, index));
    this.#random = random;
  }

  /** Delay and abort are drawn independently of each other, for each request anew. */
  decide({ headers, protocol }: Pick<RequestHead, 'headers' | 'protocol'>): FaultDecision {
    if (!this.#tests.every((test) => test(headers))) return NONE;
    const { delay, delayPercent, abortPercent } = this.#fault;
    const delayed = this.#hit(delayPercent) && delay > 0;
    const abort = this.#hit(abortPercent) ? this.#abort(protocol === 'grpc') : undefined;
    return { ...(delayed ? { delayMs: delay } : {}), ...(abort === undefined ? {} : { abort }) };
  }

  #abort(grpc: boolean): FaultDecision['abort'] {
    const { abortStatus, abortGrpcStatus } = this.#fault;
    // OK (0) would be no failure, so it counts as not set, as -1 does.
    if (grpc && abortGrpcStatus > 0) return { kind: 'grpc', grpcStatus: abortGrpcStatus };
    return abortStatus === 0 ? undefined : { kind: 'http', status: abortStatus };
  }

  #hit(percent: number): boolean {
    return percent > 0 && this.#random() * 100 < percent;
  }
}

function headerTest({ name, how }: ValueMatch, index: number): HeaderTest {
  const lower = name.toLowerCase();
  switch (how.case) {
    case 'exact':
      return (headers) => header(headers, lower) === how.value;
    case 'regex': {
      const regex = compile(how.value, index);
      const size = regex.programSize();
      return (headers) => {
        const value = header(headers, lower);
        // Longer values cost too much to look at, and are not meant: a fault is for experiments.
        return value !== undefined && value.length * size <= MAX_REGEX_COST && regex.testExact(value);
      };
    }
    case undefined:
      return (headers) => headers[lower] !== undefined;
  }
}

function compile(regex: string, index: number): RE2JS {
  try {
    return RE2JS.compile(regex);
  } catch (error) {
    throw new FaultError(
      'FAULT_REGEX',
      `fault.headers[${index}] has the regular expression ${JSON.stringify(regex)}, which is not RE2: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}
