import type { AttemptTimeout } from '../resilience/timeouts.ts';
import type { Outcome } from '../resilience/outcome.ts';
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
 * Sends a request to one endpoint and waits for the head of the response.
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
    const admission = peer.admit(protocol, bound);
    const admitted = typeof admission === 'boolean' ? admission : await admission;
    if (!admitted && !bound.cancelled) return failed({ kind: 'circuit-open' });
    if (admitted && !bound.cancelled) {
      attempt = peer.client(protocol).request(request);
      body?.sendTo(attempt);
      const response = await attempt.response;
      return { kind: 'response', response, attempt };
    }
    throw new AttemptError({ kind: 'aborted' });
  } catch (error) {
    if (gone.cancelled) return failed({ kind: 'client-gone' });
    if (timedOut && timeout !== undefined) return failed(timeout.means);
    const failure: AttemptFailure =
      error instanceof AttemptError ? error.failure : { kind: 'reset', error: error as Error };
    return failed(outcomeOf(failure), error as Error);
  } finally {
    clearTimeout(timer);
    gone.off(stop);
  }
}

function outcomeOf(failure: AttemptFailure): Outcome {
  switch (failure.kind) {
    case 'connect':
      return { kind: 'connect-failure' };
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
