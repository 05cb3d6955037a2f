import { setTimeout as sleep } from 'node:timers/promises';
import { errorText } from '../../lib/loam-error.ts';
import type { Backend, RouteRule } from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { IdleTimeout } from '../resilience/idle-timeout.ts';
import { Deadline } from '../resilience/timeouts.ts';
import { Cancellation } from './cancellation.ts';
import { writeForwarded } from './forwarded.ts';
import { removeHopByHop } from './headers.ts';
import { sendMirrors } from './mirror.ts';
import { header, type RequestHead } from '../../lib/mesh/waypoint/request.ts';
import { RequestBody } from './request-body.ts';
import { idleMs } from './deliver.ts';
import { failureReply } from './failure-reply.ts';
import { sessionSettings, StickySession } from './sticky-session.ts';
import { Attempts, type DispatchOptions, type Failure, type Target } from './attempts.ts';

/** Sends a request to a backend: attempt after attempt, then to the fallback, and answers in any case. */
export class Dispatcher {
  readonly #options: DispatchOptions;
  readonly #gone = new Cancellation();
  /** Which one watches the request now: till the response's head this one's, then that of the delivery. */
  readonly #idle: { current: IdleTimeout | undefined } = { current: undefined };
  readonly #attempting: Attempts;
  #ranIdle = false;
  mirrors: readonly Backend[] = [];

  constructor(options: DispatchOptions) {
    this.#options = options;
    this.#attempting = new Attempts(options, this.#gone, this.#idle);
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
      this.#attempting.forgetTried();
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
      const result = await this.#attempting.make(head, target, rule, session, body, deadline, cluster);
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

/** Kept for a fallback or a mirror where no policy says how much (docs/traffic-policy.md). */
const KEPT_BODY_BYTES = 64 * 1024;
