import { setImmediate as nextTurn } from 'node:timers/promises';
import { create, type JsonObject } from '@bufbuild/protobuf';
import { connectivityState } from '@grpc/grpc-js';
import {
  DeltaDiscoveryRequestSchema,
  type DeltaDiscoveryResponse,
} from '../../../proto/gen/envoy/discovery_pb.js';
import { Backoff } from '../../backoff.ts';
import { errorText } from '../../loam-error.ts';
import { MeshError } from '../errors.ts';
import { decodeAddress, decodePolicy } from '../state/decode.ts';
import type { AddressDelta, Policy, PolicyDelta, Service, Workload } from '../state/model.ts';
import { shown } from '../state/resource-error.ts';
import { openControlChannel, type ControlChannel, type ControlEndpoint } from './control-channel.ts';
import { ADDRESS_TYPE, AUTHORIZATION_TYPE, openDeltaStream, type DeltaStream } from './delta-service.ts';
import { Subscription, type AnySubscription, type RawDelta, type RawResource } from './subscription.ts';

const BACKOFF = { initialMs: 10, maxMs: 15_000, factor: 2, jitter: 0.2 };
/** For TCP, TLS and HTTP/2 together. */
const DEFAULT_CONNECT_TIMEOUT_MS = 10_000;
/** A connection that lasted so long was a good one: after it, waits begin anew. One that flaps is waited for ever longer. */
const DEFAULT_STABLE_MS = 1_000;
const INVALID_ARGUMENT = 3;

/** Where the client writes; pino fits. */
export interface ControlLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  debug(fields: object, message: string): void;
}

/** Who asks, as Istio's node proxies say it; `metadata` has NODE_NAME, CLUSTER_ID and the like. */
export interface XdsNode {
  readonly id: string;
  readonly metadata: JsonObject;
}

export interface XdsClientOptions extends ControlEndpoint {
  readonly node: XdsNode;
  /** Take a delta into force, in all threads; what they return is awaited before the acknowledgement. */
  readonly onAddresses: (delta: AddressDelta) => void | Promise<void>;
  /** Absent: L4 policies are not asked for. */
  readonly onPolicies?: (delta: PolicyDelta) => void | Promise<void>;
  /** What a program follows beyond that; asked for on the same stream. */
  readonly more?: readonly AnySubscription[];
  /**
   * Present: addresses are not followed all, but those that are asked for by {@link XdsClient.ask} (ambient-facts C9), and what
   * the server adds. Called when what was told of these names, also by what else they are called, is in force: perhaps nothing.
   */
  readonly onTold?: (names: readonly string[]) => void;
  /** Once, when a first response of each type is in force. */
  readonly onReady: () => void;
  /** After each response: what of it is in force, as it was sent. */
  readonly onRaw?: (typeUrl: string, delta: RawDelta) => void;
  /** After each end of a stream, for metrics. */
  readonly onDisconnect?: (reason: string) => void;
  readonly log: ControlLog;
  readonly connectTimeoutMs?: number;
  readonly stableMs?: number;
  readonly random?: () => number;
}

/** One type's state of affairs. */
export interface TypeStatus {
  readonly typeUrl: string;
  readonly ready: boolean;
  readonly resources: number;
}

/** For readiness and config_dump. */
export interface XdsStatus {
  readonly connected: boolean;
  readonly addressesReady: boolean;
  readonly policiesReady: boolean;
  readonly addresses: number;
  readonly policies: number;
  readonly types: readonly TypeStatus[];
  readonly lastError?: string;
}

/**
 * Follows the control plane by one delta discovery stream, for ever: what was received stays in force while the
 * controller is away, and is completed on the next connection.
 */
export class XdsClient {
  readonly #options: XdsClientOptions;
  readonly #addresses: Subscription<Workload | Service>;
  readonly #policies: Subscription<Policy> | undefined;
  readonly #all: readonly AnySubscription[];
  readonly #stop = new AbortController();
  /** Names that are asked for, where not everything is followed. */
  readonly #names = new Set<string>();
  #stream: DeltaStream | undefined;
  readonly #backoff: Backoff;
  #running: Promise<void> | undefined;
  /** When this connection gave its first answer, by performance.now(). */
  #connectedAt: number | undefined;
  #ready = false;
  #lastError: string | undefined;

  constructor(options: XdsClientOptions) {
    this.#options = options;
    this.#backoff = new Backoff(BACKOFF, options.random);
    this.#addresses = new Subscription({
      typeUrl: ADDRESS_TYPE,
      decode: (name, bytes) => ({ value: decodeAddress(name, bytes), errors: [] }),
      apply: options.onAddresses,
    });
    this.#policies =
      options.onPolicies &&
      new Subscription({
        typeUrl: AUTHORIZATION_TYPE,
        decode: (name, bytes) => {
          const { policy, errors } = decodePolicy(name, bytes);
          return { value: policy, errors };
        },
        apply: options.onPolicies,
      });
    this.#all = [
      this.#addresses,
      ...(this.#policies === undefined ? [] : [this.#policies]),
      ...(options.more ?? []),
    ];
  }

  /**
   * Takes into force what an earlier process had of a type; to be called before {@link start}. It counts as no answer:
   * who is to go by it while no server answers decides by itself.
   */
  async restore(typeUrl: string, resources: readonly RawResource[]): Promise<void> {
    await this.#all.find((s) => s.typeUrl === typeUrl)?.restore(resources);
  }

  /** Begins to connect; failures are logged and retried, never thrown. */
  start(): void {
    this.#running ??= this.#run();
  }

  /** Asks for addresses, and follows them from now on; on a later connection too. */
  ask(names: readonly string[]): void {
    for (const name of names) this.#names.add(name);
    this.#subscribeTo(names, []);
  }

  /** Takes back what was asked for, and forgets resources: the server is to say nothing more of both. */
  forget(names: readonly string[], resources: readonly string[]): void {
    for (const name of names) this.#names.delete(name);
    this.#addresses.forget(resources);
    this.#subscribeTo(
      [],
      [...new Set([...names, ...resources])].filter((name) => !this.#names.has(name)),
    );
  }

  #subscribeTo(subscribe: readonly string[], unsubscribe: readonly string[]): void {
    if (subscribe.length + unsubscribe.length === 0) return;
    this.#stream?.write(
      create(DeltaDiscoveryRequestSchema, {
        typeUrl: ADDRESS_TYPE,
        resourceNamesSubscribe: [...subscribe],
        resourceNamesUnsubscribe: [...unsubscribe],
      }),
    );
  }

  /** Ends the stream and waits until nothing more will be called back. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  status(): XdsStatus {
    return {
      connected: this.#connectedAt !== undefined,
      addressesReady: this.#addresses.answered,
      policiesReady: this.#policies?.answered ?? false,
      addresses: this.#addresses.size,
      policies: this.#policies?.size ?? 0,
      types: this.#all.map(({ typeUrl, answered, size }) => ({ typeUrl, ready: answered, resources: size })),
      ...(this.#lastError !== undefined && { lastError: this.#lastError }),
    };
  }

  async #run(): Promise<void> {
    const { log, address } = this.#options;
    while (!this.#stop.signal.aborted) {
      let reason = 'closed by the server';
      try {
        await this.#session();
      } catch (error) {
        reason = errorText(error);
      }
      const lastedMs = this.#connectedAt === undefined ? -1 : performance.now() - this.#connectedAt;
      this.#connectedAt = undefined;
      if (this.#stop.signal.aborted) return;
      if (lastedMs >= (this.#options.stableMs ?? DEFAULT_STABLE_MS)) this.#backoff.reset();
      this.#lastError = reason;
      this.#options.onDisconnect?.(reason);
      const waitMs = this.#backoff.next();
      log.warn(
        { address, reason, waitMs: Math.round(waitMs) },
        'xds: not connected, the last state stays in force',
      );
      await pause(waitMs, this.#stop.signal);
    }
  }

  /** One connection, from its opening to its end. */
  async #session(): Promise<void> {
    const channel = await openControlChannel(this.#options);
    const stream = openDeltaStream(channel.client, channel.metadata);
    const end = () => stream.cancel();
    this.#stop.signal.addEventListener('abort', end, { once: true });
    if (this.#stop.signal.aborted) end();
    const stopWatching = this.#limitConnecting(channel, stream);
    try {
      this.#subscribe(stream);
      this.#stream = stream;
      await consume(stream, (response) => this.#answer(stream, response));
    } finally {
      this.#stream = undefined;
      stopWatching();
      this.#stop.signal.removeEventListener('abort', end);
      stream.cancel();
      channel.client.close();
    }
  }

  #subscribe(stream: DeltaStream): void {
    // All at once; the node is named in the first request only. No names subscribed to means all of them.
    for (const [i, subscription] of this.#all.entries()) {
      stream.write(
        create(DeltaDiscoveryRequestSchema, {
          ...(i === 0 && { node: { id: this.#options.node.id, metadata: this.#options.node.metadata } }),
          typeUrl: subscription.typeUrl,
          // Everything and not everything, in one message: nothing but what is named.
          ...(this.#isByName(subscription) && {
            resourceNamesSubscribe: ['*', ...this.#names],
            resourceNamesUnsubscribe: ['*'],
          }),
          initialResourceVersions: subscription.initialVersions(),
        }),
      );
    }
  }

  #isByName({ typeUrl }: AnySubscription): boolean {
    return typeUrl === ADDRESS_TYPE && this.#options.onTold !== undefined;
  }

  async #answer(stream: DeltaStream, response: DeltaDiscoveryResponse): Promise<void> {
    const { log, address } = this.#options;
    if (this.#connectedAt === undefined) {
      this.#connectedAt = performance.now();
      this.#lastError = undefined;
      log.info({ address }, 'xds: connected');
    }
    const subscription = this.#all.find((s) => s.typeUrl === response.typeUrl);
    if (!subscription) {
      throw new MeshError(
        'XDS_PROTOCOL',
        `a response of type ${shown(response.typeUrl)} was never asked for`,
      );
    }
    const { applied, removed, raw, nack } = await subscription.handle(response, nextTurn);
    this.#options.onRaw?.(response.typeUrl, raw);
    if (this.#isByName(subscription)) {
      const names = response.resources.flatMap(({ name, aliases }) => [name, ...aliases]);
      this.#options.onTold?.([...names, ...response.removedResources]);
    }
    if (this.#stop.signal.aborted) return;
    stream.write(
      create(DeltaDiscoveryRequestSchema, {
        typeUrl: response.typeUrl,
        responseNonce: response.nonce,
        ...(nack !== undefined && { errorDetail: { code: INVALID_ARGUMENT, message: nack } }),
      }),
    );
    const fields = { type: response.typeUrl, nonce: response.nonce, applied, removed };
    if (nack === undefined) log.debug(fields, 'xds: applied');
    else log.warn({ ...fields, error: nack }, 'xds: refused what is named here, applied the rest');
    if (!this.#ready && this.#all.every((s) => s.answered)) {
      this.#ready = true;
      this.#options.onReady();
    }
  }

  /** A peer that takes the TCP connection and then says nothing must not hold us for ever. */
  #limitConnecting({ client }: ControlChannel, stream: DeltaStream): () => void {
    const limitMs = this.#options.connectTimeoutMs ?? DEFAULT_CONNECT_TIMEOUT_MS;
    const timer = setTimeout(() => {
      if (client.getChannel().getConnectivityState(false) === connectivityState.READY) return;
      stream.destroy(
        new MeshError('XDS_STREAM', `no connection to ${this.#options.address} within ${limitMs} ms`),
      );
    }, limitMs);
    return () => clearTimeout(timer);
  }
}

/** Hands responses on one by one, none while another is being applied. Resolves at the end, rejects on an error. */
async function consume(
  stream: DeltaStream,
  handle: (response: DeltaDiscoveryResponse) => Promise<void>,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let handling = Promise.resolve();
  stream.on('error', reject);
  stream.on('end', resolve);
  stream.on('close', resolve);
  stream.on('data', (response: DeltaDiscoveryResponse) => {
    stream.pause();
    handling = handle(response).then(() => void stream.resume(), reject);
  });
  try {
    await promise;
  } finally {
    await handling;
  }
}

/** Waits; an abort ends the wait early, without an error. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const done = () => resolve();
  const timer = setTimeout(done, ms);
  signal.addEventListener('abort', done, { once: true });
  await promise;
  clearTimeout(timer);
  signal.removeEventListener('abort', done);
}
