import type { EndpointState } from './endpoint.ts';

/** Share of its load that an endpoint gets at the very start, so that it can warm up at all. */
const LEAST_SHARE = 0.1;

/**
 * The share of its weight that an endpoint has at `now`: from a tenth, evenly up to 1 over the slow start window. Counted
 * from when it was added, became healthy or came back from an ejection.
 *
 * @param slowStart window in milliseconds; 0: always 1
 */
export function slowStartFactor(
  state: Pick<EndpointState, 'warmSince'>,
  { now, slowStart }: { readonly now: number; readonly slowStart: number },
): number {
  if (slowStart === 0) return 1;
  return Math.min(1, Math.max(LEAST_SHARE, (now - state.warmSince) / slowStart));
}
