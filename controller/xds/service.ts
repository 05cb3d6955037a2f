import type { Writable } from 'node:stream';
import * as grpc from '@grpc/grpc-js';
import type { Logger } from 'pino';
import { errorText } from '../../lib/loam-error.ts';
import { ACCEPT_PACKED_HEADER, PACKED_BY } from '../../lib/mesh/xds/packed.ts';
import type { DeltaDiscoveryRequest, DeltaDiscoveryResponse } from '../../proto/gen/envoy/discovery_pb.js';
import { AggregatedDiscoveryService } from '../../proto/gen/envoy/discovery_pb.js';
import { type Authenticator, AuthenticationUnavailable } from '../auth/authenticator.ts';
import { type Principal, principalText } from '../auth/principal.ts';
import { grpcServiceDefinition } from '../grpc-service.ts';
import type { ControllerMetrics } from '../telemetry/metrics.ts';
import { Allowances } from './allowance.ts';
import { DeltaStream, type TypeProgress } from './delta-stream.ts';
import { encodeResponse } from './encode.ts';
import { SendBudget } from './send-budget.ts';
import { EMPTY_SNAPSHOT, type Snapshot, viewOf } from './snapshot.ts';

/** How many bytes a request had on the wire. */
const requestBytes = new WeakMap<object, number>();
export const XDS_SERVICE = grpcServiceDefinition(AggregatedDiscoveryService, (request, bytes) =>
  requestBytes.set(request, bytes),
);

/** One client's stream as the status shows it. */
export interface ClientStream {
  readonly principal: Principal;
  /** What the client calls itself. */
  readonly clientId: string;
  readonly since: Date;
  readonly types: readonly TypeProgress[];
}

export interface XdsServiceOptions {
  /** Whom a call's credentials prove, if they do. */
  readonly authenticate: Authenticator['authenticate'];
  readonly metrics: ControllerMetrics;
  readonly log: Logger;
  /** Milliseconds that only go forward. */
  readonly now?: () => number;
}

type Call = grpc.ServerDuplexStream<DeltaDiscoveryRequest, DeltaDiscoveryResponse>;

interface Connection {
  readonly principal: Principal;
  /** The principal as a text, for comparing and for logs. */
  readonly who: string;
  readonly call: Call;
  readonly stream: DeltaStream;
  readonly since: Date;
  clientId: string;
  timer: NodeJS.Timeout | undefined;
  /** While nothing is read of it. */
  pause: NodeJS.Timeout | undefined;
  /** Whether the first answers may go out. */
  waited: boolean;
  /** When requests of this stream were answered last, ms. */
  flushedAtMs: number;
  /** How long the last answer took to find, ms. */
  flushTookMs: number;
  /** When a refusal of this stream was logged last, ms, and how many were not since. */
  refusalLoggedAtMs: number;
  refusalsUnlogged: number;
}

/** How long addresses wait for the subscription to policies, which clients send right after. */
const FIRST_FLUSH_MS = 30;
/** Requests that follow each other faster are answered together: each answer compares all that the client asked for. */
const ANSWER_INTERVAL_MS = 10;
/** What one stream may take of the controller's time: so many parts of it. */
const ANSWER_SHARE = 20;
/** Of refusals of one stream; the status has the newest one always. */
const REFUSAL_LOG_INTERVAL_MS = 1_000;
const MAX_CLIENT_ID = 200;
/** Smaller ones are not counted together. */
const LARGE_RESPONSE_BYTES = 64 * 1024;
/** Of open streams, whose credentials are looked at again. */
const MAX_RECHECKS_AT_ONCE = 8;
const STOPPING = 'the controller is stopping';
/** Streams of one node: the running ztunnel, its successor, and some that died without a word. */
const MAX_STREAMS_PER_NODE = 16;
/** Streams of one Gateway: each of its instances has one. */
const MAX_STREAMS_PER_GATEWAY = 256;
/** A stream begins with all that the client follows; what one costs, as bytes of {@link Allowances}. */
const NODE_STREAM_BYTES = 1024 * 1024;
const GATEWAY_STREAM_BYTES = 64 * 1024;

/** The aggregated discovery service, delta variant. */
export class XdsService {
  readonly #options: XdsServiceOptions;
  readonly #connections = new Set<Connection>();
  readonly #lastSeen = new Map<string, Date>();
  readonly #allowances: Allowances;
  readonly #budget = new SendBudget<Connection>((connection) => this.#flush(connection));
  readonly #now: () => number;
  #snapshot: Snapshot = EMPTY_SNAPSHOT;
  #serving = false;
  #ended = false;
  /** Counts the times at which credentials may have changed. */
  #credentials = 0;
  #rechecking = false;

  constructor(options: XdsServiceOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    this.#allowances = new Allowances(this.#now);
  }

  readonly implementation = {
    deltaAggregatedResources: (call: Call): void => this.#accept(call),
  };

  /** The newest state; every stream gets what it lacks. Before the first one, streams wait for their first answer. */
  publish(snapshot: Snapshot): void {
    this.#snapshot = snapshot;
    this.#serving = true;
    for (const connection of this.#connections) {
      connection.stream.setView(viewOf(snapshot, connection.principal));
      this.#flush(connection);
    }
  }

  get streams(): ClientStream[] {
    return [...this.#connections].map(({ principal, clientId, since, stream }) => ({
      principal,
      clientId,
      since,
      types: stream.progress,
    }));
  }

  /** When a client that has no stream now was connected last. */
  lastSeen(principal: Principal): Date | undefined {
    return this.#lastSeen.get(principalText(principal));
  }

  /** Ends the streams whose credentials no longer prove what they proved. */
  recheckCredentials(): void {
    this.#credentials += 1;
    if (this.#rechecking) return;
    this.#rechecking = true;
    void this.#recheckAll().finally(() => (this.#rechecking = false));
  }

  async #recheckAll(): Promise<void> {
    let checked;
    do {
      checked = this.#credentials;
      const left = [...this.#connections];
      const work = async (): Promise<void> => {
        for (let next = left.pop(); next !== undefined; next = left.pop()) await this.#recheck(next);
      };
      await Promise.all(Array.from({ length: MAX_RECHECKS_AT_ONCE }, work));
    } while (checked !== this.#credentials);
  }

  async #recheck(connection: Connection): Promise<void> {
    const { call, who } = connection;
    const found = await this.#authenticate(call);
    // While nobody can tell, what was proved once counts on.
    const stays = found.state === 'unavailable' || (found.state === 'proved' && found.who === who);
    if (stays || !this.#connections.has(connection)) return;
    end(call, grpc.status.UNAUTHENTICATED, 'the token is no longer valid');
  }

  async #authenticate(
    call: Call,
  ): Promise<
    | { readonly state: 'proved'; readonly principal: Principal; readonly who: string }
    | { readonly state: 'nobody' }
    | { readonly state: 'unavailable'; readonly reason: string }
  > {
    try {
      const principal = await this.#options.authenticate(call.metadata, call.getPeer());
      return principal === undefined
        ? { state: 'nobody' }
        : { state: 'proved', principal, who: principalText(principal) };
    } catch (error) {
      if (error instanceof AuthenticationUnavailable) return { state: 'unavailable', reason: error.message };
      this.#options.log.error({ err: error }, 'a token could not be judged, and counts for nothing');
      return { state: 'nobody' };
    }
  }

  /** Ends all streams, so that clients look for another controller or for the next one. */
  endAll(): void {
    this.#ended = true;
    for (const { call } of this.#connections) end(call, grpc.status.UNAVAILABLE, STOPPING);
  }

  #accept(call: Call): void {
    call.on('error', (error: Error) =>
      this.#options.log.debug({ reason: error.message }, 'xds stream failed'),
    );
    // Nothing is read of it before it is settled whose it is.
    void this.#admit(call);
  }

  async #admit(call: Call): Promise<void> {
    const credentials = this.#credentials;
    const found = await this.#authenticate(call);
    if (call.cancelled || call.destroyed) return;
    switch (found.state) {
      case 'nobody':
        end(
          call,
          grpc.status.UNAUTHENTICATED,
          'a bearer token of a node or gateway is needed (authorization: Bearer …)',
        );
        return;
      case 'unavailable':
        end(call, grpc.status.UNAVAILABLE, found.reason);
        return;
      case 'proved':
        if (this.#ended) end(call, grpc.status.UNAVAILABLE, STOPPING);
        // What it proved may have changed meanwhile.
        else if (credentials !== this.#credentials) await this.#admit(call);
        else this.#serve(call, found);
    }
  }

  #serve(call: Call, { principal, who }: { readonly principal: Principal; readonly who: string }): void {
    const same = [...this.#connections].filter((connection) => connection.who === who);
    if (same.length >= (principal.kind === 'node' ? MAX_STREAMS_PER_NODE : MAX_STREAMS_PER_GATEWAY)) {
      end(call, grpc.status.RESOURCE_EXHAUSTED, `${who} has ${same.length} streams already`);
      return;
    }
    if (this.#allowances.isOverdrawn(who)) {
      end(
        call,
        grpc.status.RESOURCE_EXHAUSTED,
        `${who} asks for more than a client may; it may come again later`,
      );
      return;
    }
    this.#allowances.take(who, principal.kind === 'node' ? NODE_STREAM_BYTES : GATEWAY_STREAM_BYTES);
    const packs = call.metadata.get(ACCEPT_PACKED_HEADER).includes(PACKED_BY);
    const stream = new DeltaStream(viewOf(this.#snapshot, principal), {
      // Loam's own looks at what a resource is called beside its name.
      namesAsAsked: !packs,
      send: (response) => {
        this.#options.metrics.pushes.inc({ type: shortType(response.typeUrl) });
        const bytes = encodeResponse(response, packs);
        if (bytes.length > LARGE_RESPONSE_BYTES) this.#budget.sent(connection, bytes.length);
        (call as unknown as Writable).write(bytes);
      },
    });
    const connection: Connection = {
      principal,
      who,
      call,
      stream,
      since: new Date(),
      clientId: '',
      timer: undefined,
      pause: undefined,
      waited: false,
      flushedAtMs: -Infinity,
      flushTookMs: 0,
      refusalLoggedAtMs: -Infinity,
      refusalsUnlogged: 0,
    };
    this.#connections.add(connection);
    this.#options.log.info({ client: who, peer: call.getPeer() }, 'xds client connected');
    const gone = (): void => this.#forget(connection);
    call.on('data', (request: DeltaDiscoveryRequest) => this.#receive(connection, request));
    call.on('end', () => {
      call.end();
      gone();
    });
    call.on('cancelled', gone);
    call.on('close', gone);
    call.on('error', gone);
  }

  #receive(connection: Connection, request: DeltaDiscoveryRequest): void {
    const { call, stream, who } = connection;
    const waitMs = this.#allowances.take(who, requestBytes.get(request) ?? 0);
    if (waitMs > 0) {
      call.pause();
      clearTimeout(connection.pause);
      connection.pause = setTimeout(() => call.resume(), waitMs);
    }
    let isAnswer;
    try {
      isAnswer = stream.receive(request);
    } catch (error) {
      end(call, grpc.status.INVALID_ARGUMENT, errorText(error));
      return;
    }
    if (request.responseNonce !== '') this.#budget.release(connection);
    if (request.node !== undefined) connection.clientId = request.node.id.slice(0, MAX_CLIENT_ID);
    if (request.errorDetail !== undefined) {
      // The type is one that is served, or the request would not have been taken.
      this.#options.metrics.refusals.inc({ type: shortType(request.typeUrl) });
      this.#logRefusal(connection, request);
    }
    // Addresses and policies are subscribed to by two messages; policies should be first on the wire.
    if (!connection.waited && stream.hasAllTypes) {
      connection.waited = true;
      clearTimeout(connection.timer);
      connection.timer = undefined;
    }
    // Who is sent the first state in parts waits for none of them: there are only so many, and each has been taken.
    const intervalMs = isAnswer ? 0 : Math.max(ANSWER_INTERVAL_MS, ANSWER_SHARE * connection.flushTookMs);
    const delayMs = connection.waited ? connection.flushedAtMs + intervalMs - this.#now() : FIRST_FLUSH_MS;
    if (connection.timer === undefined && delayMs <= 0) {
      this.#answer(connection);
      return;
    }
    connection.timer ??= setTimeout(() => this.#answer(connection), delayMs);
  }

  #answer(connection: Connection): void {
    connection.timer = undefined;
    connection.waited = true;
    const began = this.#now();
    this.#flush(connection);
    connection.flushedAtMs = this.#now();
    connection.flushTookMs = connection.flushedAtMs - began;
  }

  /** A client that refuses in a loop fills no log. */
  #logRefusal(connection: Connection, { typeUrl, errorDetail }: DeltaDiscoveryRequest): void {
    const now = this.#now();
    if (now - connection.refusalLoggedAtMs < REFUSAL_LOG_INTERVAL_MS) {
      connection.refusalsUnlogged += 1;
      return;
    }
    const fields = {
      client: connection.who,
      type: typeUrl.slice(0, MAX_CLIENT_ID),
      reason: (errorDetail?.message ?? '').slice(0, 1000),
      ...(connection.refusalsUnlogged > 0 && { more: connection.refusalsUnlogged }),
    };
    connection.refusalLoggedAtMs = now;
    connection.refusalsUnlogged = 0;
    this.#options.log.warn(fields, 'the client refused a response');
  }

  #flush(connection: Connection): void {
    if (!this.#serving || !connection.waited || !this.#connections.has(connection)) return;
    // Who has the first state is never held up by those who get it.
    if (connection.stream.isBeginning && !this.#budget.mayBegin(connection)) return;
    connection.stream.flush();
  }

  #forget(connection: Connection): void {
    if (!this.#connections.delete(connection)) return;
    clearTimeout(connection.timer);
    clearTimeout(connection.pause);
    this.#budget.forget(connection);
    this.#lastSeen.set(connection.who, new Date());
    this.#options.log.info({ client: connection.who }, 'xds client gone');
  }
}

/** For metrics: `istio.workload.Address`. */
function shortType(typeUrl: string): string {
  return typeUrl.slice(typeUrl.lastIndexOf('/') + 1);
}

function end(call: Call, code: grpc.status, details: string): void {
  call.emit('error', { code, details });
}
