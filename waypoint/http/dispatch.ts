import { setTimeout as sleep } from 'node:timers/promises';
import { errorText } from '../../lib/loam-error.ts';
import type { Backend, Filter, RouteRule } from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { endpointKey, type Endpoint } from '../resilience/endpoint.ts';
import { hashKeyOf } from '../resilience/hash-key.ts';
import { type Outcome, reachedEndpoint } from '../resilience/outcome.ts';
import { IdleTimeout } from '../resilience/idle-timeout.ts';
import { Deadline } from '../resilience/timeouts.ts';
import { applyRequestFilters, copyHead, type ResponseChanges } from '../routing/filters/apply-filters.ts';
import type { PolicyRuntime } from '../state/policy-runtime.ts';
import { epochMs } from '../telemetry/request-record.ts';
import type { EndpointPeer } from '../upstream/endpoint-peer.ts';
import type { UpstreamCluster } from '../upstream/upstream-cluster.ts';
import { runAttempt, type AttemptResult } from './attempt-run.ts';
import { Cancellation } from './cancellation.ts';
import type { Engine } from './engine.ts';
import type { Exchange } from './exchange.ts';
import { writeForwarded } from './forwarded.ts';
import { removeHopByHop } from './headers.ts';
import type { LocalReply } from './local-reply.ts';
import { denialAtPod } from './pod-policy.ts';
import { sendMirrors } from './mirror.ts';
import { header, type Headers, type RequestHead } from './request.ts';
import { RequestBody } from './request-body.ts';
import type { ConnectionContext } from './request-flow.ts';
import type { RequestLog } from './request-log.ts';
import { isSuccess, outcomeOfHead } from './response-outcome.ts';
import { deliver, idleMs } from './deliver.ts';
import { failureReply } from './failure-reply.ts';
import { sessionSettings, StickySession } from './sticky-session.ts';
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

type Target = Pick<Backend, 'service' | 'port' | 'filters'>;

/** One endpoint chosen for an attempt. */
interface Picked {
  readonly endpoint: Endpoint;
  readonly peer: EndpointPeer;
}

/** Sends a request to a backend: attempt after attempt, then to the fallback, and answers in any case. */
export class Dispatcher {
  readonly #options: DispatchOptions;
  readonly #gone = new Cancellation();
  readonly #tried = new Set<string>();
  /** Which one watches the request now: till the response's head this one's, then that of the delivery. */
  readonly #idle: { current: IdleTimeout | undefined } = { current: undefined };
  #ranIdle = false;
  mirrors: readonly Backend[] = [];

  constructor(options: DispatchOptions) {
    this.#options = options;
    options.exchange.onAbort(() => this.#gone.cancel());
    if (options.exchange.aborted) this.#gone.cancel();
  }

  /** The session that the request keeps, where sessions are configured. */
  session(rule: RouteRule | undefined, service: string, head: RequestHead): StickySession | undefined {
    const settings = sessionSettings(rule, this.#options.policy.parts.sessionPersistence);
    if (settings === undefined) return undefined;
    const { workloads, sessionKey } = this.#options.engine;
    return StickySession.of(settings, service, head, workloads, sessionKey());
  }

  async send(
    head: RequestHead,
    target: Target,
    rule: RouteRule | undefined,
    session: StickySession | undefined,
  ): Promise<void> {
    const { engine, policy, exchange, log } = this.#options;
    const kept = session ?? this.session(rule, head.service, head);
    const retries = policy.retries(rule);
    const keeps = policy.fallback !== undefined || this.mirrors.length > 0;
    const limit = Math.max(
      retries.maxBufferedBytes,
      keeps ? (policy.parts.retries?.maxBufferedBytes ?? KEPT_BODY_BYTES) : 0,
    );
    const body =
      exchange.body &&
      new RequestBody(
        exchange.body,
        () => exchange.requestTrailers(),
        limit,
        (chunk) => {
          this.#idle.current?.touch();
          log.onRequestChunk(chunk);
        },
      );
    this.#idle.current = new IdleTimeout(idleMs(engine, policy), () => {
      this.#ranIdle = true;
      this.#gone.cancel();
    });
    try {
      await this.#sendBody(head, target, rule, kept, body);
    } finally {
      this.#idle.current.stop();
    }
  }

  async #sendBody(
    head: RequestHead,
    target: Target,
    rule: RouteRule | undefined,
    kept: StickySession | undefined,
    body: RequestBody | undefined,
  ): Promise<void> {
    const { engine, policy, exchange, log } = this.#options;
    const deadline = new Deadline({
      timeouts: policy.parts.timeouts,
      routeRequest: rule?.requestTimeout ?? 0,
      grpcTimeout: head.protocol === 'grpc' ? header(head.headers, 'grpc-timeout') : undefined,
    });
    policy.retries(rule).onRequest();
    removeHopByHop(head.headers);
    writeForwarded(
      head.headers,
      head.source,
      engine.config.settings?.trustedHops ?? 0,
      engine.identityUri,
      head.authority,
    );
    sendMirrors(engine, this.mirrors, head, body);
    const last = await this.#attempts(head, target, rule, kept, body, deadline);
    if (last === undefined) return;
    const facts = {
      grpc: head.protocol === 'grpc',
      replayable: body?.replayable ?? true,
      responseStarted: exchange.headSent,
      fellBack: log.fallback,
    };
    const decision = policy.fallback?.shouldFallBack(last.outcome, facts);
    if (decision?.fallBack === true) {
      log.fallback = true;
      for (const flag of failureReply(last.outcome).flags) log.flags.add(flag);
      log.flags.add('FB');
      engine.telemetry.runtime.count('fallbacks', [head.service, decision.service]);
      this.#tried.clear();
      const fallback = { service: decision.service, port: decision.port, filters: [] };
      last.discard?.();
      body?.detach();
      const end = await this.#attempts(head, fallback, rule, undefined, body, deadline);
      if (end !== undefined) await this.#fail(end, body);
      return;
    }
    if (decision?.invalid !== undefined) log.error = `the fallback cannot be used: ${decision.invalid}`;
    await this.#fail(last, body);
  }

  /** @returns the last failure; undefined when the client has its response */
  async #attempts(
    head: RequestHead,
    target: Target,
    rule: RouteRule | undefined,
    session: StickySession | undefined,
    body: RequestBody | undefined,
    deadline: Deadline,
  ): Promise<Failure | undefined> {
    const { engine, policy, exchange, log } = this.#options;
    const cluster = engine.clusters.get(target.service, target.port);
    log.backend = engine.config.service(target.service) ?? log.backend;
    const retries = policy.retries(rule);
    for (let n = 0; ; n += 1) {
      if (this.#gone.cancelled) return { outcome: { kind: 'client-gone' }, error: undefined };
      const result = await this.#attempt(head, target, rule, session, body, deadline, cluster);
      if (result === undefined) return undefined;
      const { outcome } = result;
      const decision = retries.decide(outcome, n, {
        method: head.method,
        grpc: head.protocol === 'grpc',
        replayable: body?.replayable ?? true,
        responseStarted: exchange.headSent,
        remainingMs: deadline.remainingMs(),
      });
      if (decision.retry) {
        result.discard?.();
        body?.detach();
        await sleep(decision.delayMs, undefined, { signal: this.#gone.signal }).catch(() => undefined);
        continue;
      }
      if (n > 0) engine.telemetry.runtime.count('retries', [target.service, 'failure']);
      if (decision.why === 'budget')
        engine.telemetry.runtime.count('retries', [target.service, 'over_budget']);
      if (decision.why === 'body')
        engine.telemetry.runtime.count('retries', [target.service, 'not_replayable']);
      if (decision.why === 'exhausted') log.flags.add('URX');
      return result;
    }
  }

  /** @returns undefined when the response was delivered */
  async #attempt(
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

  /** All attempts are over: the client gets the last response where there is one, else one of ours. */
  async #fail(failure: Failure, body: RequestBody | undefined): Promise<void> {
    const { log, reply, exchange } = this.#options;
    if (failure.deliver !== undefined) {
      await failure.deliver();
      return;
    }
    if (failure.error !== undefined) log.error = errorText(failure.error);
    if (this.#ranIdle && !exchange.aborted) {
      body?.drain();
      reply({ status: 408, text: 'nothing moved for too long', flags: ['SI'] });
      return;
    }
    if (failure.outcome.kind === 'client-gone') {
      log.flags.add('DC');
      if (!exchange.aborted) exchange.reset();
      return;
    }
    body?.drain();
    reply(failureReply(failure.outcome));
  }
}

/** How an attempt ended that is not simply a good response. */
interface Failure {
  readonly outcome: Outcome;
  readonly error: Error | undefined;
  /** Set where there is a response: takes it away. */
  readonly discard?: () => void;
  /** Set where there is a response: gives it to the client after all. */
  readonly deliver?: () => Promise<void>;
}

/** Kept for a fallback or a mirror where no policy says how much (docs/traffic-policy.md). */
const KEPT_BODY_BYTES = 64 * 1024;

function applyBackendFilters(head: RequestHead, filters: readonly Filter[]): ResponseChanges | undefined {
  if (filters.length === 0) return undefined;
  const outcome = applyRequestFilters(head, filters, { prefix: undefined, scheme: 'http' });
  return outcome.kind === 'continue' ? outcome.response : undefined;
}

function setGrpcTimeout(headers: Headers, value: string | undefined): void {
  if (value === undefined) delete headers['grpc-timeout'];
  else headers['grpc-timeout'] = value;
}
