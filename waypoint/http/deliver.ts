import { Relay } from '../../lib/mesh/hbone/relay.ts';
import { IdleTimeout } from '../resilience/idle-timeout.ts';
import type { Outcome } from '../resilience/outcome.ts';
import type { Deadline } from '../resilience/timeouts.ts';
import {
  applyResponseChanges,
  type ResponseChanges,
} from '../../lib/mesh/waypoint/routing/filters/apply-filters.ts';
import type { PolicyRuntime } from '../state/policy-runtime.ts';
import type { Engine } from './engine.ts';
import type { Exchange, UpstreamAttempt, UpstreamResponse } from './exchange.ts';
import { header, type Headers } from '../../lib/mesh/waypoint/request.ts';
import type { RequestBody } from './request-body.ts';
import type { RequestLog } from './request-log.ts';
import { relayBody } from './response-relay.ts';

const EMPTY = Buffer.alloc(0);

export interface Delivery {
  readonly engine: Engine;
  readonly exchange: Exchange;
  readonly log: RequestLog;
  readonly response: UpstreamResponse;
  readonly attempt: UpstreamAttempt;
  readonly changes: readonly ResponseChanges[];
  readonly deadline: Deadline;
  readonly policy: PolicyRuntime;
  readonly body: RequestBody | undefined;
  /** What watched the request till now; touched by its body. */
  readonly idle: { current: IdleTimeout | undefined };
  /** Tells how the attempt ended; to be called once. */
  readonly finish: (outcome: Outcome, status: number | undefined, grpcStatus?: number) => void;
}

/** How long nothing may move either way, in milliseconds. */
export function idleMs({ limits }: Engine, policy: PolicyRuntime): number {
  return policy.parts.timeouts?.idle || limits.streamIdleTimeoutMs;
}

/** Gives a response to the client, to its end. Never rejects. */
export async function deliver(delivery: Delivery): Promise<void> {
  const { exchange, log, response, changes, finish } = delivery;
  const { status, headers } = response;
  if (exchange.aborted) {
    delivery.attempt.abort();
    finish({ kind: 'client-gone' }, status);
    return;
  }
  delivery.body?.commit();
  for (const change of changes) applyResponseChanges(headers, change);
  log.status = status;
  log.grpcStatus = grpcStatusOf(headers);
  if (response.upgraded !== undefined) {
    await relayUpgrade(delivery, response.upgraded);
    return;
  }
  const whole = response.body === undefined ? EMPTY : response.takeWhole();
  if (whole !== undefined) {
    if (whole.length === 0) exchange.respond(status, headers, true);
    else {
      log.onResponseChunk(whole);
      exchange.respondWhole(status, headers, whole);
    }
    ended(delivery, 'complete');
    return;
  }
  exchange.respond(status, headers, false);
  await relayResponse(delivery);
}

async function relayResponse(delivery: Delivery): Promise<void> {
  const { engine, exchange, log, response, attempt, deadline, policy } = delivery;
  let timedOut: 'DT' | 'SI' | undefined;
  const stop = (why: 'DT' | 'SI'): void => {
    timedOut = why;
    attempt.abort();
    exchange.reset();
  };
  delivery.idle.current?.stop();
  const idle = (delivery.idle.current = new IdleTimeout(idleMs(engine, policy), () => stop('SI')));
  const left = deadline.remainingMs();
  const timer = left === undefined ? undefined : setTimeout(() => stop('DT'), left);
  const end = await relayBody(response, exchange, (chunk) => {
    idle.touch();
    log.onResponseChunk(chunk);
  });
  idle.stop();
  clearTimeout(timer);
  if (timedOut !== undefined) log.flags.add(timedOut);
  if (end !== 'complete') attempt.abort();
  ended(delivery, timedOut === 'DT' ? 'timeout' : timedOut === 'SI' ? 'idle' : end);
}

function ended(
  { log, response, attempt, body, deadline, finish }: Delivery,
  end: 'complete' | 'upstream-broke' | 'client-gone' | 'timeout' | 'idle',
): void {
  const trailers = response.trailers();
  log.grpcStatus ??= grpcStatusOf(trailers);
  // The rest of a request that was answered early is of no use to anybody.
  if (body !== undefined && !body.ended) body.drain();
  // Nor is the connection that waits for it.
  if (end === 'complete') attempt.complete();
  switch (end) {
    case 'complete': {
      const { grpcStatus } = log;
      finish(
        grpcStatus === undefined
          ? { kind: 'status', status: response.status }
          : { kind: 'grpc-status', grpcStatus },
        response.status,
        grpcStatus,
      );
      return;
    }
    case 'upstream-broke':
      log.flags.add('UC');
      log.error ??= 'the endpoint ended the response before it was complete';
      finish({ kind: 'reset' }, response.status);
      return;
    case 'client-gone':
      log.flags.add('DC');
      finish({ kind: 'client-gone' }, response.status);
      return;
    case 'timeout':
      finish({ kind: 'request-timeout', by: deadline.by ?? 'policy' }, response.status);
      return;
    case 'idle':
      finish({ kind: 'client-gone' }, response.status);
      return;
  }
}

/** After 101 both ends speak as they like; a clean end of one half is kept. */
async function relayUpgrade(
  delivery: Delivery,
  upstream: NonNullable<UpstreamResponse['upgraded']>,
): Promise<void> {
  const { exchange, engine, log, response, finish, policy } = delivery;
  delivery.idle.current?.stop();
  const client = exchange.switchProtocols(response.headers);
  engine.telemetry.runtime.step('activeConnections', [], 1);
  const relay = new Relay(client, upstream, {
    onForward: (bytes) => {
      idle.touch();
      log.requestBytes += bytes;
    },
    onBackward: (bytes) => {
      idle.touch();
      log.responseBytes += bytes;
    },
  });
  // Without a policy's word such a connection may be silent, as any opaque one.
  const idle = new IdleTimeout(policy.parts.timeouts?.idle ?? 0, () => {
    log.flags.add('SI');
    relay.abort('idle');
  });
  await relay.done;
  idle.stop();
  engine.telemetry.runtime.step('activeConnections', [], -1);
  finish({ kind: 'status', status: response.status }, response.status);
}

function grpcStatusOf(headers: Headers): number | undefined {
  const status = header(headers, 'grpc-status');
  if (status === undefined) return undefined;
  const number = Number(status);
  return Number.isInteger(number) ? number : undefined;
}
