import type { AttemptTimeout } from '../resilience/timeouts.ts';
import type { Outcome } from '../resilience/outcome.ts';
import { isOverBound } from '../upstream/connector.ts';
import type { EndpointPeer } from '../upstream/endpoint-peer.ts';
import {
  AttemptError,
  type AttemptFailure,
  type AttemptRequest,
  type UpstreamAttempt,
  type UpstreamResponse,
} from './exchange.ts';
import { Cancellation } from './cancellation.ts';
import type { RequestBody } from './request-body.ts';

/** How an attempt came out, up to the head of its response. */
export type AttemptResult =
  | { readonly kind: 'response'; readonly response: UpstreamResponse; readonly attempt: UpstreamAttempt }
  | { readonly kind: 'failed'; readonly outcome: Outcome; readonly error: Error | undefined };

/**
 * Sends a request to one endpoint and waits for the head of the response. Rejects only with errors of ours.
 *
 * @param gone told when the client went away
 */
export async function runAttempt(
  peer: EndpointPeer,
  protocol: 'http1' | 'http2',
  request: AttemptRequest,
  body: RequestBody | undefined,
  timeout: AttemptTimeout | undefined,
  gone: Cancellation,
): Promise<AttemptResult> {
  const bound = new Cancellation();
  let timedOut = false;
  let attempt: UpstreamAttempt | undefined;
  const stop = (): void => {
    bound.cancel();
    attempt?.abort();
  };
  const timer =
    timeout &&
    setTimeout(() => {
      timedOut = true;
      stop();
    }, timeout.ms);
  gone.onCancel(stop);
  const failed = (outcome: Outcome, error?: Error): AttemptResult => ({ kind: 'failed', outcome, error });
  try {
    if (gone.cancelled) return failed({ kind: 'client-gone' });
    const began = peer.begin(protocol, request, bound);
    const begun = began instanceof Promise ? await began : began;
    if (begun === 'refused') return failed({ kind: 'circuit-open' });
    if (begun === 'aborted') throw new AttemptError({ kind: 'aborted' });
    attempt = begun;
    // Time may have run out just as its turn came.
    if (bound.cancelled) attempt.abort();
    else body?.sendTo(attempt);
    const response = await attempt.response;
    return { kind: 'response', response, attempt };
  } catch (error) {
    // An error of ours: whoever waits must not take it for the endpoint's.
    if (!(error instanceof AttemptError)) throw error;
    if (gone.cancelled) return failed({ kind: 'client-gone' });
    if (timedOut && timeout !== undefined) return failed(timeout.means);
    return failed(outcomeOf(error.failure), error);
  } finally {
    clearTimeout(timer);
    gone.off(stop);
  }
}

function outcomeOf(failure: AttemptFailure): Outcome {
  switch (failure.kind) {
    case 'connect':
      return isOverBound(failure.error) ? { kind: 'circuit-open' } : { kind: 'connect-failure' };
    case 'refused':
      return { kind: 'refused-stream' };
    case 'reset':
      return { kind: 'reset' };
    case 'protocol':
      return { kind: 'protocol-error' };
    case 'timeout':
      return { kind: 'try-timeout' };
    case 'aborted':
      return { kind: 'client-gone' };
  }
}
