import type { Backend, Filter, RouteRule } from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { endpointKey, type Endpoint } from '../resilience/endpoint.ts';
import { hashKeyOf } from '../resilience/hash-key.ts';
import { type Outcome, reachedEndpoint } from '../resilience/outcome.ts';
import { IdleTimeout } from '../resilience/idle-timeout.ts';
import { Deadline } from '../resilience/timeouts.ts';
import {
  applyRequestFilters,
  copyHead,
  type ResponseChanges,
} from '../../lib/mesh/waypoint/routing/filters/apply-filters.ts';
import type { PolicyRuntime } from '../state/policy-runtime.ts';
import { epochMs } from '../telemetry/request-record.ts';
import type { EndpointPeer } from '../upstream/endpoint-peer.ts';
import type { UpstreamCluster } from '../upstream/upstream-cluster.ts';
import { runAttempt, type AttemptResult } from './attempt-run.ts';
import { Cancellation } from './cancellation.ts';
import type { Engine } from './engine.ts';
import type { Exchange } from './exchange.ts';
import type { LocalReply } from './local-reply.ts';
import { denialAtPod } from '../../lib/mesh/waypoint/pod-policy.ts';
import { type Headers, type RequestHead } from '../../lib/mesh/waypoint/request.ts';
import { RequestBody } from './request-body.ts';
import type { ConnectionContext } from './request-flow.ts';
import type { RequestLog } from './request-log.ts';
import { isSuccess, outcomeOfHead } from './response-outcome.ts';
import { deliver } from './deliver.ts';
import { StickySession } from './sticky-session.ts';
import { pinnedPeer, upstreamProtocol } from './upstream-choice.ts';

export interface DispatchOptions {
  readonly engine: Engine;
  readonly context: ConnectionContext;
  readonly exchange: Exchange;
  readonly log: RequestLog;
  readonly policy: PolicyRuntime;
  /** Filled with what the backend's filters want, first in the list. */
  readonly changes: ResponseChanges[];
  readonly reply: (reply: LocalReply) => void;
}

export type Target = Pick<Backend, 'service' | 'port' | 'filters'>;

/** How an attempt ended that is not simply a good response. */
export interface Failure {
  readonly outcome: Outcome;
  readonly error: Error | undefined;
  /** Set where there is a response: takes it away. */
  readonly discard?: () => void;
  /** Set where there is a response: gives it to the client after all. */
  readonly deliver?: () => Promise<void>;
}

/** One endpoint chosen for an attempt. */
interface Picked {
  readonly endpoint: Endpoint;
  readonly peer: EndpointPeer;
}

/** What the attempts at one request share, and the making of one. */
export class Attempts {
  readonly #options: DispatchOptions;
  readonly #gone: Cancellation;
  readonly #idle: { current: IdleTimeout | undefined };
  readonly #tried = new Set<string>();
  /** A connection broke or was refused before it carried the request: the next attempt wants one that was not idle. */
  #fresh = false;

  /**
   * @param gone cancelled when nobody waits for the response any more
   * @param idle which timer watches the request now
   */
  constructor(options: DispatchOptions, gone: Cancellation, idle: { current: IdleTimeout | undefined }) {
    this.#options = options;
    this.#gone = gone;
    this.#idle = idle;
  }

  /** The next backend's endpoints are all new. */
  forgetTried(): void {
    this.#tried.clear();
  }

  /**
   * Picks an endpoint and sends the request to it once.
   *
   * @returns undefined when the response was delivered
   */
  async make(
    head: RequestHead,
    target: Target,
    rule: RouteRule | undefined,
    session: StickySession | undefined,
    body: RequestBody | undefined,
    deadline: Deadline,
    cluster: UpstreamCluster,
  ): Promise<Failure | undefined> {
    const { engine, policy, exchange, log, changes } = this.#options;
    const picked = this.#pick(head, cluster, session, policy.retries(rule).sameEndpoint);
    if (!('peer' in picked)) return { outcome: picked, error: undefined };
    const { endpoint, peer } = picked;
    this.#tried.add(endpointKey(endpoint));
    if (this.#isDeniedAt(peer, head, body)) return undefined;
    const sent = copyHead(head);
    const changed = applyBackendFilters(sent, target.filters);
    const timeout = deadline.attempt({
      perTry: policy.retries(rule).perTryTimeout,
      backendRequest: rule?.backendRequestTimeout ?? 0,
    });
    if (timeout?.ms === 0) return { outcome: timeout.means, error: undefined };
    if (head.protocol === 'grpc') setGrpcTimeout(sent.headers, deadline.grpcTimeout(timeout));
    const startMs = epochMs();
    const endTrace = log.trace?.attempt(sent.headers, startMs);
    log.attempts += 1;
    log.tried(peer.address, peer.workload, undefined);
    let proved: string | undefined;
    cluster.cluster.begin(endpoint);
    let done = false;
    const finish = (outcome: Outcome, status: number | undefined, grpcStatus?: number): void => {
      if (done) return;
      done = true;
      cluster.cluster.done(endpoint, outcome, log.upstreamMs ?? epochMs() - startMs);
      endTrace?.(
        {
          address: peer.address,
          service: cluster.hostname,
          identity: proved,
          status,
          grpcStatus,
          error: outcome.kind === 'status' || outcome.kind === 'grpc-status' ? undefined : outcome.kind,
        },
        epochMs(),
      );
    };
    // An error of ours ends the attempt too: what is not ended would count as in flight for ever.
    const abandon = (error: unknown): never => {
      finish({ kind: 'client-gone' }, undefined);
      throw error;
    };
    const result: AttemptResult = await runAttempt(
      peer,
      upstreamProtocol(engine, cluster, exchange),
      {
        head: sent,
        headers: sent.headers,
        hasBody: body !== undefined,
        fresh: this.#fresh,
        upgrade: exchange.upgrade,
        onInformational: (status, headers) => exchange.informational(status, headers),
      },
      body,
      timeout,
      this.#gone,
    ).catch(abandon);
    log.upstreamMs = epochMs() - startMs;
    if (result.kind === 'response' || reachedEndpoint(result.outcome)) {
      proved = peer.identity;
      log.tried(peer.address, peer.workload, proved);
    }
    if (result.kind === 'failed') {
      finish(result.outcome, undefined);
      this.#fresh ||= result.outcome.kind === 'refused-stream';
      return { outcome: result.outcome, error: result.error };
    }
    const { response, attempt } = result;
    const outcome = outcomeOfHead(response.status, response.headers, response.body === undefined);
    const deliverNow = async (): Promise<void> => {
      if (changed !== undefined) changes.unshift(changed);
      const idle = this.#idle;
      try {
        session?.write(response.headers, endpoint.uid);
        await deliver({
          engine,
          exchange,
          log,
          response,
          attempt,
          changes,
          deadline,
          policy,
          body,
          idle,
          finish,
        });
      } catch (error) {
        attempt.abort();
        abandon(error);
      }
    };
    if (isSuccess(outcome)) {
      if (log.attempts > 1 && !log.fallback)
        engine.telemetry.runtime.count('retries', [cluster.service, 'success']);
      await deliverNow();
      return undefined;
    }
    // Whether it is good enough for the client is for retries and fallback to say; till then it waits, unread.
    return {
      outcome,
      error: undefined,
      discard: () => {
        finish(outcome, response.status);
        attempt.abort();
      },
      deliver: deliverNow,
    };
  }

  #pick(
    head: RequestHead,
    cluster: UpstreamCluster,
    session: StickySession | undefined,
    sameEndpoint: boolean,
  ): Picked | Outcome {
    const { engine, context, log } = this.#options;
    if (context.pinned !== undefined && cluster.service === context.service.key) {
      return pinnedPeer(cluster, context.pinned) ?? { kind: 'no-endpoint' };
    }
    const endpoint = cluster.cluster.pick({
      ...(!sameEndpoint && { tried: this.#tried }),
      hashKey: hashKeyOf(cluster.policy?.loadBalancing?.hash, head),
      session: session?.uid,
    });
    switch (endpoint) {
      case 'no-endpoints':
      case 'none-healthy':
        log.error = `${endpoint}: ${cluster.service} port ${cluster.port}`;
        return { kind: 'no-endpoint' };
      case 'circuit-open':
        engine.telemetry.runtime.count('circuitBreaker', [cluster.service, 'requests']);
        return { kind: 'circuit-open' };
      default: {
        const peer = cluster.peer(endpoint);
        return peer === undefined ? { kind: 'no-endpoint' } : { endpoint, peer };
      }
    }
  }

  /** @returns true after the request was refused */
  #isDeniedAt(peer: EndpointPeer, head: RequestHead, body: RequestBody | undefined): boolean {
    const { engine, log, reply } = this.#options;
    const denial = denialAtPod(engine.policies, peer, head.source);
    if (denial === undefined) return false;
    log.deniedBy = denial.policy;
    log.error = denial.reason;
    engine.telemetry.runtime.count('denied', [head.service, denial.policy]);
    body?.drain();
    reply({ status: 403, text: 'denied by policy', flags: ['DENY'] });
    return true;
  }
}

function applyBackendFilters(head: RequestHead, filters: readonly Filter[]): ResponseChanges | undefined {
  if (filters.length === 0) return undefined;
  const outcome = applyRequestFilters(head, filters, { prefix: undefined, scheme: 'http' });
  return outcome.kind === 'continue' ? outcome.response : undefined;
}

function setGrpcTimeout(headers: Headers, value: string | undefined): void {
  if (value === undefined) delete headers['grpc-timeout'];
  else headers['grpc-timeout'] = value;
}
