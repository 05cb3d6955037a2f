import { setTimeout as sleep } from 'node:timers/promises';
import { hostPortText, type HostPort } from '../../lib/mesh/hbone/host-port.ts';
import type { Workload } from '../../lib/mesh/state/model.ts';
import type { Service } from '../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import {
  applyRequestFilters,
  applyResponseChanges,
  type ResponseChanges,
} from '../../lib/mesh/waypoint/routing/filters/apply-filters.ts';
import type { RouteResult } from '../../lib/mesh/waypoint/routing/route-table.ts';
import { type PolicyRuntime, serviceName } from '../state/policy-runtime.ts';
import type { ServiceRuntime } from '../state/service-runtime.ts';
import { ensureRequestId } from '../telemetry/request-id.ts';
import type { WaypointFlag } from '../telemetry/response-flags.ts';
import { Dispatcher } from './dispatch.ts';
import type { Engine } from './engine.ts';
import type { Exchange } from './exchange.ts';
import { remoteAddress } from './forwarded.ts';
import { localReply, sendReply, type LocalReply } from './local-reply.ts';
import { isAuthority, normaliseTarget } from '../../lib/mesh/waypoint/normalise-path.ts';
import { copyHeaders, isToken, removeHopByHop } from './headers.ts';
import type { RequestHead, Source } from '../../lib/mesh/waypoint/request.ts';
import { RequestLog } from './request-log.ts';

/** What all requests of one client connection have in common. */
export interface ConnectionContext {
  readonly source: Source;
  readonly service: Service;
  readonly port: number;
  /** The address that was dialled. */
  readonly destination: HostPort;
  /** Set where one pod of the Service was dialled: requests go to it and nowhere else. */
  readonly pinned: { readonly workload: Workload; readonly port: number } | undefined;
}

/** Serves one request, from its head to the end of its response. Never rejects. */
export async function serveRequest(
  engine: Engine,
  context: ConnectionContext,
  exchange: Exchange,
): Promise<void> {
  const flow = new RequestFlow(engine, context, exchange);
  engine.active.add(flow);
  engine.telemetry.runtime.step('activeRequests', [], 1);
  try {
    await flow.run();
  } catch (error) {
    flow.log.error ??= String(error);
    engine.log.error('a request failed by an error of ours', {
      service: context.service.key,
      error: error instanceof Error ? (error.stack ?? error.message) : String(error),
    });
    flow.reply({ status: 500, text: 'internal error of the waypoint', flags: [] });
    if (exchange.headSent && !exchange.out.writableEnded) exchange.reset();
  } finally {
    engine.active.delete(flow);
    engine.telemetry.runtime.step('activeRequests', [], -1);
    flow.end();
  }
}

class RequestFlow {
  readonly log: RequestLog;
  readonly #engine: Engine;
  readonly #context: ConnectionContext;
  readonly #exchange: Exchange;
  /** What filters want of every response, of the waypoint's own too; later ones first. */
  readonly #changes: ResponseChanges[] = [];

  constructor(engine: Engine, context: ConnectionContext, exchange: Exchange) {
    this.#engine = engine;
    this.#context = context;
    this.#exchange = exchange;
    this.log = new RequestLog(exchange.incoming.protocol);
    exchange.onAbort(() => this.log.flags.add('DC'));
  }

  async run(): Promise<void> {
    const { telemetry, runtimes } = this.#engine;
    const { service } = this.#context;
    const head = this.#readHead();
    if (head === undefined) return;
    this.log.requestId = ensureRequestId(head.headers);
    this.log.trace = telemetry.beginTrace(head.headers, serviceName(service));
    const runtime = runtimes.get(service.key);
    if (runtime === undefined) {
      this.reply({ status: 503, text: 'the Service is not known to the waypoint', flags: ['NC'] });
      return;
    }
    if (!(await this.#isAllowed(runtime, head))) return;
    const routed = runtime.table.match(head, head.source.identity?.namespace);
    const route = routed.kind === 'matched' ? routed.route : undefined;
    const policy = runtime.policy(route);
    if (!this.#isWithinRate(policy, head)) return;
    if (!(await this.#passesFaults(policy, head))) return;
    await this.#route(runtime, policy, routed, head);
  }

  /** Tells of the request; to be called once. */
  end(): void {
    const { service, source, destination } = this.#context;
    const { exchange, log } = { exchange: this.#exchange, log: this.log };
    this.#engine.telemetry.requestEnded(
      log.record({
        source,
        service,
        method: exchange.incoming.method,
        destinationAddress: hostPortText(destination),
      }),
    );
  }

  /** Answers by itself; nothing when a response has begun. */
  reply(reply: LocalReply): void {
    const { log } = this;
    for (const flag of reply.flags) log.flags.add(flag);
    if (this.#exchange.headSent) return;
    const prepared = localReply(reply, this.#exchange.incoming.protocol);
    for (const changes of this.#changes) applyResponseChanges(prepared.headers, changes);
    const { 'grpc-status': grpcStatus } = prepared.headers;
    if (typeof grpcStatus === 'string') log.grpcStatus = Number(grpcStatus);
    log.status = prepared.status;
    log.responseBytes += sendReply(this.#exchange, prepared);
  }

  /** @returns undefined after the request was refused */
  #readHead(): RequestHead | undefined {
    const { incoming } = this.#exchange;
    const { service, port, source, destination } = this.#context;
    const { log } = this;
    const { maxTargetBytes } = this.#engine.limits;
    log.authority = incoming.authority;
    log.path = incoming.target.split('?', 1)[0] ?? '';
    const refuse = (reason: string, status = 400): undefined => {
      log.error = reason;
      this.#engine.telemetry.runtime.count('protocolErrors', [reason]);
      this.reply({ status, text: `bad request: ${reason}`, flags: ['DPE'] });
    };
    if (!isToken(incoming.method) || incoming.method === 'CONNECT') return refuse('method', 405);
    if (incoming.target.length > maxTargetBytes) return refuse('target-too-long', 414);
    const target = normaliseTarget(incoming.method, incoming.target, incoming.protocol === 'http1');
    if (!target.ok) return refuse(`target-${target.problem}`);
    const authority = target.authority ?? incoming.authority;
    if (!isAuthority(authority)) return refuse('authority');
    const headers = copyHeaders(incoming.headers);
    // Before anything of ours is written or decided: a client that lists a header of ours in `connection` must not have
    // it taken out of what the application gets.
    removeHopByHop(headers);
    const trustedHops = this.#engine.config.settings?.trustedHops ?? 0;
    log.authority = authority;
    log.path = target.path;
    return {
      method: incoming.method,
      authority,
      path: target.path,
      query: target.query,
      protocol: incoming.protocol,
      headers,
      source,
      service: service.key,
      port,
      destinationIp: destination.ip,
      remoteIp: remoteAddress(headers, source, trustedHops),
      jwt: undefined,
    };
  }

  async #isAllowed(runtime: ServiceRuntime, head: RequestHead): Promise<boolean> {
    const { telemetry } = this.#engine;
    const { log } = this;
    if (runtime.authenticator !== undefined) {
      const result = await runtime.authenticator.authenticate(head);
      if (!result.ok) {
        log.error = result.reason;
        this.reply({
          status: result.status,
          text: result.status === 401 ? 'the token is not valid' : 'tokens cannot be verified now',
          flags: ['JWT'],
          ...(result.challenge !== undefined && { headers: { 'www-authenticate': result.challenge } }),
        });
        return false;
      }
    }
    const decision = runtime.authorizer.evaluate(head);
    log.dryRun = decision.dryRun.flatMap(({ policy, action, matched }) =>
      matched && action !== 'audit' ? [{ policy, action }] : [],
    );
    for (const { policy, action } of log.dryRun) telemetry.runtime.count('dryRun', [policy, action]);
    if (decision.verdict === 'allow') {
      log.allowedBy = decision.policy;
      return true;
    }
    log.deniedBy = decision.policy;
    log.error = decision.reason;
    telemetry.runtime.count('denied', [runtime.service.key, decision.policy]);
    this.reply({ status: 403, text: 'denied by policy', flags: ['DENY'] });
    return false;
  }

  #isWithinRate(policy: PolicyRuntime, head: RequestHead): boolean {
    const decision = policy.rateLimit?.check(head);
    if (decision === undefined || decision.admit) return true;
    this.#engine.telemetry.runtime.count('rateLimited', [head.service, policy.rateLimitPolicy]);
    this.reply({
      status: decision.status,
      text: 'rate limit exceeded',
      flags: ['RL'],
      headers: { 'retry-after': decision.retryAfter },
    });
    return false;
  }

  async #passesFaults(policy: PolicyRuntime, head: RequestHead): Promise<boolean> {
    if (policy.fault === undefined) return true;
    const { delayMs, abort } = policy.fault.decide(head);
    const { runtime } = this.#engine.telemetry;
    if (delayMs !== undefined) {
      this.log.flags.add('DI');
      runtime.count('faults', [head.service, 'delay']);
      const gone = new AbortController();
      this.#exchange.onAbort(() => gone.abort());
      await sleep(delayMs, undefined, { signal: gone.signal }).catch(() => undefined);
      if (this.#exchange.aborted) return false;
    }
    if (abort === undefined) return true;
    runtime.count('faults', [head.service, 'abort']);
    this.reply({
      status: abort.kind === 'http' ? abort.status : 200,
      text: 'fault injected',
      flags: ['FI'],
      ...(abort.kind === 'grpc' && { grpcStatus: abort.grpcStatus }),
    });
    return false;
  }

  async #route(
    runtime: ServiceRuntime,
    policy: PolicyRuntime,
    routed: RouteResult,
    head: RequestHead,
  ): Promise<void> {
    const dispatcher = new Dispatcher({
      engine: this.#engine,
      context: this.#context,
      exchange: this.#exchange,
      log: this.log,
      policy,
      changes: this.#changes,
      reply: (reply) => this.reply(reply),
    });
    if (routed.kind === 'no-match') {
      this.#refuse(404, 'no route matches', 'NR');
      return;
    }
    if (routed.kind === 'too-costly') {
      this.#refuse(400, 'too long for the regular expressions of the routes', 'DPE');
      return;
    }
    if (routed.kind === 'no-routes') {
      await dispatcher.send(
        head,
        { service: runtime.service.key, port: head.port, filters: [] },
        undefined,
        undefined,
      );
      return;
    }
    const { rule, route, prefix } = routed;
    this.log.route = `${route.kind}/${route.namespace}/${route.name}#${rule.rule.name || rule.index}`;
    const outcome = applyRequestFilters(head, rule.rule.filters, { prefix, scheme: 'http' });
    if (outcome.kind === 'respond') {
      const { status, headers } = outcome.response;
      this.log.status = status;
      this.#exchange.respond(status, headers, true);
      return;
    }
    this.#changes.push(outcome.response);
    const session = dispatcher.session(rule.rule, runtime.service.key, head);
    const choice = rule.choice.choose(session?.preferredService(rule.rule.backends));
    switch (choice.kind) {
      case 'none':
        this.#refuse(500, 'the route has no backend', 'NR');
        return;
      case 'invalid':
        this.log.error = choice.reason;
        this.#refuse(500, 'the backend of the route cannot be used', 'NR');
        return;
      case 'backend':
        dispatcher.mirrors = outcome.mirrors;
        await dispatcher.send(head, choice.backend, rule.rule, session);
        return;
    }
  }

  #refuse(status: number, text: string, flag: WaypointFlag): void {
    this.reply({ status, text, flags: [flag] });
  }
}
