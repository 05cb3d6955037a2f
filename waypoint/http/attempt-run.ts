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
import type { RequestBody } from './request-body.ts';

/** How an attempt came out, up to the head of its response. */
export type AttemptResult =
  | { readonly kind: 'response'; readonly response: UpstreamResponse; readonly attempt: UpstreamAttempt }
  | { readonly kind: 'failed'; readonly outcome: Outcome; readonly error: Error | undefined };

/**
 * Sends a request to one endpoint and waits for the head of the response.
 *
 * @param signal the client went away
 */
export async function runAttempt(
  peer: EndpointPeer,
  protocol: 'http1' | 'http2',
  request: AttemptRequest,
  body: RequestBody | undefined,
  timeout: AttemptTimeout | undefined,
  signal: AbortSignal,
): Promise<AttemptResult> {
  const bound = new AbortController();
  let timedOut = false;
  let attempt: UpstreamAttempt | undefined;
  const stop = (): void => {
    bound.abort();
    attempt?.abort();
  };
  const timer =
    timeout &&
    setTimeout(() => {
      timedOut = true;
      stop();
    }, timeout.ms);
  signal.addEventListener('abort', stop, { once: true });
  const failed = (outcome: Outcome, error?: Error): AttemptResult => ({ kind: 'failed', outcome, error });
  try {
    if (signal.aborted) return failed({ kind: 'client-gone' });
    const admitted = await peer.admit(protocol, bound.signal);
    if (!admitted && !bound.signal.aborted) return failed({ kind: 'circuit-open' });
    if (admitted && !bound.signal.aborted) {
      attempt = peer.client(protocol).request(request);
      body?.sendTo(attempt);
      const response = await attempt.response;
      return { kind: 'response', response, attempt };
    }
    throw new AttemptError({ kind: 'aborted' });
  } catch (error) {
    if (signal.aborted) return failed({ kind: 'client-gone' });
    if (timedOut && timeout !== undefined) return failed(timeout.means);
    const failure: AttemptFailure =
      error instanceof AttemptError ? error.failure : { kind: 'reset', error: error as Error };
    return failed(outcomeOf(failure), error as Error);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', stop);
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
