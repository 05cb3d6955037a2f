import type { Duplex } from 'node:stream';
import type { Verdict } from '../../lib/flow/event.ts';
import { errorText } from '../../lib/loam-error.ts';
import { completionRecord, openRecord, type AccessFacts } from '../telemetry/access-record.ts';
import { connectionSpan } from '../telemetry/span.ts';
import { attributesOf } from '../telemetry/attributes.ts';
import type { ConnectionFlows } from '../telemetry/connection-flows.ts';
import type { Flow } from '../telemetry/flow-labels.ts';
import type { FlowHandle, FlowMetrics } from '../telemetry/flow-metrics.ts';
import type { PodTelemetry } from '../../lib/mesh/egress/model.ts';
import { type AccessRecord, inForms } from '../../lib/mesh/telemetry/access-log.ts';
import type { SpanRecord } from '../../lib/mesh/telemetry/span.ts';
import { formsOf, openForms } from '../../lib/mesh/telemetry/lines.ts';
import type { LogFormat, SideTelemetry } from '../../lib/mesh/telemetry/model.ts';
import { CONNECTION_BYTES } from './memory-relief.ts';
import type { ConnectionRegistry, ConnectionRow, Direction, LiveConnection } from './connection-registry.ts';
import { hostPortText, type HostPort } from '../../lib/mesh/hbone/host-port.ts';
import { ProxyError, responseFlag } from '../../lib/mesh/hbone/proxy-error.ts';
import { Relay, type RelayEnd } from '../../lib/mesh/hbone/relay.ts';

/** Where connections are counted and reported. */
export interface Telemetry {
  readonly registry: ConnectionRegistry;
  readonly metrics: FlowMetrics;
  readonly access: (record: AccessRecord) => void;
  /** Takes the span of a connection that is traced. */
  readonly span?: (span: SpanRecord) => void;
  /** What is said of a workload's telemetry; undefined: nothing. */
  readonly told?: (uid: string) => PodTelemetry | undefined;
  /** The flow stream, where there is one. */
  readonly flows?: ConnectionFlows;
}

export interface ConnectionStart {
  readonly podUid: string;
  readonly direction: Direction;
  readonly source: HostPort;
  readonly destination: HostPort;
}

let nextId = 1;

/**
 * One connection from its acceptance to its end: registered, counted, logged, and closed when somebody says so.
 * Every instance ends in exactly one of {@link carry} or {@link fail}.
 */
export class TrackedConnection implements LiveConnection {
  readonly id = nextId++;
  readonly podUid: string;
  readonly direction: Direction;
  readonly #telemetry: Telemetry;
  readonly #startedAt = Date.now();
  readonly #clock = performance.now();
  readonly #unregister: () => void;
  /** What is known so far; refined by the owner until {@link opened}. */
  flow: Flow;
  /** The client's address as far as it is known. */
  source: HostPort;
  /** The destination as finally dialled, where it is not the one that the client named. */
  destinationAddress: string;
  hboneAddress: string | undefined;
  trace: string | undefined;
  /** The policy that let it pass, as the owner was told; undefined: none applies. */
  allowedBy: string | undefined;
  /** Policies on trial that match it. */
  trial: Verdict['trial'];
  /** Set by the owner once policies admitted the connection: asks them again. */
  onRecheck: (() => void) | undefined;
  /** Set by the owner while it sets the connection up: cuts what there is. */
  onTerminate: (() => void) | undefined;
  #handle: FlowHandle | undefined;
  #countedAsMutual: boolean | undefined;
  #relay: Relay | undefined;
  #terminated: ProxyError | undefined;
  #ended = false;
  #forward = 0;
  #backward = 0;
  /** What {@link takeGrowth} told already. */
  #told: readonly [up: number, down: number] = [0, 0];

  constructor(telemetry: Telemetry, start: ConnectionStart) {
    this.#telemetry = telemetry;
    this.source = start.source;
    this.podUid = start.podUid;
    this.direction = start.direction;
    this.destinationAddress = text(start.destination);
    this.flow = {
      reporter: start.direction === 'outbound' ? 'source' : 'destination',
      source: undefined,
      sourceIdentity: undefined,
      destination: undefined,
      destinationIdentity: undefined,
      service: undefined,
      mutualTls: false,
    };
    this.#unregister = telemetry.registry.register(this);
  }

  /**
   * Counts it as opened; `flow` must be complete. One that is tried again counts once more only where it goes otherwise than
   * before: what was counted as mutual TLS must not turn out to be plaintext.
   */
  opened(): void {
    if (this.#handle !== undefined && this.#countedAsMutual === this.flow.mutualTls) return;
    this.#handle?.closed('-');
    this.#countedAsMutual = this.flow.mutualTls;
    this.#handle = this.#telemetry.metrics.handle(this.flow);
    this.#handle.opened();
    this.#write(openRecord(this.#facts()), openForms(this.#side()));
    this.#telemetry.flows?.opened(this);
  }

  /** @throws ProxyError when it was terminated meanwhile; to be asked after each wait of the set-up */
  throwIfTerminated(): void {
    if (this.#terminated !== undefined) throw this.#terminated;
  }

  /** Relays between client and server side until both are closed; then it is over, counted and logged. */
  async carry(client: Duplex, server: Duplex): Promise<void> {
    const handle = this.#handle;
    this.#relay = new Relay(client, server, {
      onForward: (bytes) => {
        this.#forward += bytes;
        handle?.request(bytes);
      },
      onBackward: (bytes) => {
        this.#backward += bytes;
        handle?.response(bytes);
      },
    });
    this.onTerminate = undefined;
    if (this.#terminated !== undefined) this.#relay.abort(this.#terminated.message);
    const end = await this.#relay.done;
    this.#finish(this.#terminated ?? relayError(end));
  }

  /** It could not be set up. The first reason counts. */
  fail(error: ProxyError): void {
    this.#finish(this.#terminated ?? error);
  }

  get heldBytes(): number {
    return CONNECTION_BYTES + (this.#relay?.waitingBytes ?? 0);
  }

  /** Bytes from and to the client since the last call. */
  takeGrowth(): readonly [up: number, down: number] {
    const [up, down] = this.#told;
    this.#told = [this.#forward, this.#backward];
    return [this.#forward - up, this.#backward - down];
  }

  recheck(): void {
    if (!this.#ended) this.onRecheck?.();
  }

  terminate(error: ProxyError): void {
    if (this.#ended || this.#terminated !== undefined) return;
    this.#terminated = error;
    this.onRecheck = undefined;
    if (this.#relay !== undefined) this.#relay.abort(error.message);
    else this.onTerminate?.();
  }

  describe(): ConnectionRow {
    const { flow } = this;
    const [bytesSent, bytesReceived] = this.#bytes();
    return {
      id: this.id,
      podUid: this.podUid,
      direction: this.direction,
      state: this.#relay === undefined ? 'opening' : 'open',
      since: new Date(this.#startedAt).toISOString(),
      source: {
        address: text(this.source),
        ...(flow.source && { workload: flow.source.name, namespace: flow.source.namespace }),
        ...(flow.sourceIdentity !== undefined && { identity: flow.sourceIdentity }),
      },
      ...(flow.via !== undefined && { via: flow.via }),
      destination: {
        address: this.destinationAddress,
        ...(flow.destination && { workload: flow.destination.name, namespace: flow.destination.namespace }),
        ...(flow.destinationIdentity !== undefined && { identity: flow.destinationIdentity }),
        ...(flow.service && { service: flow.service.hostname }),
        ...(this.hboneAddress !== undefined && { hboneAddress: this.hboneAddress }),
      },
      bytesSent,
      bytesReceived,
    };
  }

  #bytes(): [sent: number, received: number] {
    return this.direction === 'outbound' ? [this.#forward, this.#backward] : [this.#backward, this.#forward];
  }

  #facts(): AccessFacts {
    return {
      direction: this.direction,
      flow: this.flow,
      sourceAddress: text(this.source),
      destinationAddress: this.destinationAddress,
      hboneAddress: this.hboneAddress,
      trace: this.trace,
    };
  }

  /** What is said of the telemetry of this node's pod. */
  #side(): SideTelemetry | undefined {
    const { flow } = this;
    const uid = flow.reporter === 'source' ? flow.source?.uid : flow.destination?.uid;
    const told = uid === undefined ? undefined : this.#telemetry.told?.(uid);
    return flow.reporter === 'source' ? told?.client : told?.server;
  }

  #write(record: AccessRecord, forms: readonly LogFormat[]): void {
    for (const each of inForms(record, forms)) this.#telemetry.access(each);
  }

  #finish(error: ProxyError | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    this.onRecheck = undefined;
    this.onTerminate = undefined;
    this.#unregister();
    const flag = error === undefined ? '-' : responseFlag(error.code);
    const opened = this.#handle !== undefined;
    this.#handle?.closed(flag);
    if (error !== undefined && flag !== '-')
      (this.#handle ?? this.#telemetry.metrics.handle(this.flow)).failed(flag);
    const [bytesSent, bytesReceived] = this.#bytes();
    const durationMs = performance.now() - this.#clock;
    const facts = this.#facts();
    const outcome = {
      ...{ bytesSent, bytesReceived, durationMs, flag },
      error: error && errorText(error),
      policy: error?.policy,
    };
    const side = this.#side();
    const span = side?.tracing && connectionSpan(facts, outcome, this.#startedAt, side.tracing);
    if (span !== undefined) this.#telemetry.span?.(span);
    const forms = formsOf(side, attributesOf(facts, outcome));
    if (forms.length > 0) this.#write(completionRecord(facts, outcome, opened), forms);
    this.#telemetry.flows?.ended(this, {
      ...{ opened, durationMs, flag, up: this.#forward, down: this.#backward },
      growth: this.takeGrowth(),
      error: error && errorText(error),
      policy: error?.policy,
    });
  }
}

/** A connection that one of its ends reset had an ordinary life (ambient-facts C2, copy). */
function relayError(end: RelayEnd): ProxyError | undefined {
  switch (end.kind) {
    case 'closed':
      return undefined;
    case 'reset':
      if (end.error === undefined) return undefined;
      return new ProxyError('CONNECTION_LOST', 'the connection broke', { cause: end.error });
    case 'aborted':
      return new ProxyError('CONNECTION_LOST', end.reason);
  }
}

function text(address: HostPort): string {
  return hostPortText(address);
}
