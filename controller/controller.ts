import type { Server } from 'node:http';
import * as grpc from '@grpc/grpc-js';
import type { Logger } from 'pino';
import type { Principal } from './auth/principal.ts';
import { CA_SERVICE, CaService } from './ca/service.ts';
import { ServingCertificate } from './ca/serving-certificate.ts';
import { NO_EGRESS } from './compile/egress/compile.ts';
import { MeshCompiler } from './compile/incremental.ts';
import type { CompiledMesh } from './compile/mesh.ts';
import type { Config } from './config.ts';
import { ControllerError } from './errors.ts';
import type { Kind } from './model/meta.ts';
import { dnsLookUp } from './names/look-up.ts';
import { NameResolver } from './names/resolver.ts';
import type { Platform } from './platform/platform.ts';
import type { SourceGate } from './sources/source.ts';
import { refusalsOf, reportGateways, reportNodes } from './status/clients.ts';
import { withEnforcement } from './status/enforcement.ts';
import { serveHttp } from './status/http.ts';
import {
  type ObjectReport,
  ofKinds,
  reportFiles,
  reportObjects,
  reportWarnings,
  type StatusReport,
} from './status/report.ts';
import { StatusServer } from './status/server.ts';
import { ControllerMetrics } from './telemetry/metrics.ts';
import { XDS_SERVICE, XdsService } from './xds/service.ts';
import { EMPTY_SNAPSHOT, makeSnapshot, patchSnapshot, sameContent, type Snapshot } from './xds/snapshot.ts';

/** Requests are small: subscriptions, acknowledgements, one certificate request. */
const MAX_REQUEST_BYTES = 8 * 1024 * 1024;
const KEEPALIVE_MS = 30_000;
const KEEPALIVE_TIMEOUT_MS = 10_000;
const MAX_STREAMS_PER_CONNECTION = 100;
const SHUTDOWN_GRACE_MS = 2000;
const MS_PER_S = 1000;

const NOTHING: CompiledMesh = {
  addresses: new Map(),
  authorizations: new Map(),
  outcomes: new Map(),
  outcomeOf: () => undefined,
  identities: new Map(),
  waypoints: new Map(),
  served: new Map(),
  egress: NO_EGRESS,
  waypointIdentities: new Map(),
  names: new Set(),
};

/** The whole program: sources → compiler → xDS, with the certificate service and the status beside it. */
export class Controller {
  readonly #config: Config;
  readonly #log: Logger;
  readonly #stop = new AbortController();
  readonly #platform: Platform;
  readonly #metrics: ControllerMetrics;
  readonly #xds: XdsService;
  readonly #status: StatusServer;
  #sessionSecret: Uint8Array | undefined;
  #serving: ServingCertificate | undefined;
  #grpc: grpc.Server | undefined;
  #http: readonly Server[] = [];
  readonly #compiler = new MeshCompiler();
  readonly #names: NameResolver;
  #mesh: CompiledMesh = NOTHING;
  /** Resolved by the next compilation. */
  #recompiled = Promise.withResolvers<void>();
  #snapshot: Snapshot = EMPTY_SNAPSHOT;
  /** The snapshot lacks what was compiled: there was no telling yet. */
  #unpublished = true;
  #compiling: NodeJS.Timeout | undefined;
  #restUntilMs = -Infinity;

  constructor(config: Config, platform: Platform, metrics: ControllerMetrics, log: Logger) {
    this.#config = config;
    this.#platform = platform;
    this.#metrics = metrics;
    this.#log = log;
    const { source, authenticator } = platform;
    this.#names = new NameResolver({
      lookUp: dnsLookUp(config.dnsServers),
      onChange: () => this.#changed(),
      log,
    });
    this.#xds = new XdsService({
      authenticate: (metadata, peer) => authenticator.authenticate(metadata, peer),
      metrics,
      log,
    });
    this.#status = new StatusServer({
      path: config.status,
      admin: config.admin,
      gates: () => this.#gates(),
      report: () => this.#report(),
      objects: () => source.current,
      onObjects: (listener, signal) => source.onChange(listener, signal),
      log,
    });
    metrics.observe({
      gates: () => this.#gates(),
      clients: () => this.#xds.streams.map(({ principal }) => principal.kind),
      generation: () => this.#snapshot.generation,
    });
  }

  /**
   * Starts everything.
   *
   * @returns the port of xDS and certificates, as it is chosen when the configured one is 0
   */
  async start(): Promise<number> {
    const { source, assignments, authenticator } = this.#platform;
    const { signal } = this.#stop;
    await this.#status.start();
    const { ready, metrics: metricsAt } = this.#config;
    const gates = (): SourceGate[] => this.#gates();
    this.#http = await serveHttp({ ready, metricsAt, gates, metrics: this.#metrics });
    const { ca, credentials } = await this.#prepareAuthority();
    await authenticator.start();
    authenticator.onChange(() => this.#xds.recheckCredentials(), signal);
    assignments.onChange(() => this.#changed(), signal);
    await assignments.start();
    const port = await this.#listen(ca, credentials);
    source.onChange(() => this.#changed(), signal);
    await source.start();
    this.#platform.begin((kinds) => this.#reportOf(kinds));
    return port;
  }

  async #prepareAuthority(): Promise<{ ca: CaService; credentials: grpc.ServerCredentials }> {
    const platform = this.#platform;
    this.#sessionSecret = await platform.sessionSecret();
    let authority = await platform.authority();
    const { servingNames: dnsNames, listen, certTtlMaxS } = this.#config;
    const serving = await ServingCertificate.make(authority, { host: listen.host, dnsNames }, this.#log);
    this.#serving = serving;
    const expires = (): void =>
      this.#metrics.authorityExpiry.set(authority.issuer.notAfter.getTime() / MS_PER_S);
    expires();
    platform.onAuthority((next) => {
      authority = next;
      expires();
      void serving.renew(next);
    }, this.#stop.signal);
    const ca = new CaService({
      authority: () => authority,
      maxTtlS: certTtlMaxS,
      authenticate: (metadata, peer) => platform.authenticator.authenticate(metadata, peer),
      changed: () => this.#recompiled.promise,
      identitiesOf: (principal) => (this.#knowsPods() ? this.#identitiesOf(principal) : undefined),
      metrics: this.#metrics,
      log: this.#log,
    });
    return { ca, credentials: serving.credentials };
  }

  /** Ends in good order: streams are told to go, files are written. */
  async stop(): Promise<void> {
    this.#stop.abort();
    clearTimeout(this.#compiling);
    this.#names.close();
    this.#serving?.[Symbol.dispose]();
    // Another one may write from now on.
    await this.#platform.end();
    this.#platform.authenticator.close();
    const server = this.#grpc;
    if (server !== undefined) {
      await new Promise<void>((resolve) => {
        const force = setTimeout(() => {
          server.forceShutdown();
          resolve();
        }, SHUTDOWN_GRACE_MS);
        this.#xds.endAll();
        server.tryShutdown(() => {
          clearTimeout(force);
          resolve();
        });
      });
    }
    await this.#platform.source.close();
    await this.#platform.assignments.close();
    for (const server of this.#http) {
      server.close();
      server.closeAllConnections();
    }
    await this.#platform.close();
    await this.#status.close();
  }

  async #listen(ca: CaService, credentials: grpc.ServerCredentials): Promise<number> {
    const { host, port } = this.#config.listen;
    const server = new grpc.Server({
      'grpc.max_receive_message_length': MAX_REQUEST_BYTES,
      'grpc.max_send_message_length': -1,
      'grpc.keepalive_time_ms': KEEPALIVE_MS,
      'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
      'grpc.max_concurrent_streams': MAX_STREAMS_PER_CONNECTION,
    });
    server.addService(XDS_SERVICE, this.#xds.implementation);
    server.addService(CA_SERVICE, ca.implementation);
    this.#grpc = server;
    const address = `${host.includes(':') ? `[${host}]` : host}:${port}`;
    return new Promise((resolve, reject) => {
      server.bindAsync(address, credentials, (cause, bound) => {
        if (cause === null) resolve(bound);
        else reject(new ControllerError('LISTEN', `${address} cannot be listened on`, { cause }));
      });
    });
  }

  #identitiesOf(principal: Principal): ReadonlySet<string> {
    if (principal.kind === 'node') return this.#mesh.identities.get(principal.node) ?? new Set();
    const own = this.#mesh.waypointIdentities.get(principal.gateway);
    return new Set(own === undefined ? [] : [own]);
  }

  #knowsPods(): boolean {
    return this.#platform.source.gate().ready && this.#platform.assignments.gate().ready;
  }

  /** Changes that come while it rests are compiled together: it never compiles for more than half of the time. */
  #changed(): void {
    if (this.#compiling !== undefined || this.#stop.signal.aborted) return;
    const waitMs = this.#restUntilMs - performance.now();
    if (waitMs <= 0) this.#compile();
    else this.#compiling = setTimeout(() => this.#compile(), waitMs);
  }

  #compile(): void {
    this.#compiling = undefined;
    const started = performance.now();
    this.#compileNow(started);
    const now = performance.now();
    this.#restUntilMs = now + (now - started);
  }

  #compileNow(started: number): void {
    const { clusterId, trustDomain, rootNamespace } = this.#config;
    const { objects, changes } = this.#platform.source.current;
    const { mesh, patch } = this.#compiler.compile({
      objects,
      names: this.#names.current,
      ...(changes !== undefined && { changes }),
      assignments: this.#platform.assignments.current,
      clusterId,
      trustDomain,
      rootNamespace,
      ...(this.#sessionSecret !== undefined && { sessionSecret: this.#sessionSecret }),
    });
    this.#mesh = mesh;
    this.#names.want(mesh.names);
    this.#recompiled.resolve();
    this.#recompiled = Promise.withResolvers();
    // Until it is known what is true, nodes keep what they have: an incomplete picture would take things away.
    if (!this.#knowsPods() || !this.#names.settled) {
      this.#unpublished = true;
      return;
    }
    const before = this.#snapshot;
    const generation = before.generation + 1;
    const next =
      patch === undefined || this.#unpublished
        ? makeSnapshot(generation, mesh, before)
        : patchSnapshot(generation, before, patch);
    this.#unpublished = false;
    this.#metrics.compile.observe((performance.now() - started) / MS_PER_S);
    if (before.generation > 0 && sameContent(before, next)) return;
    this.#snapshot = next;
    this.#xds.publish(next);
    const ms = Math.round(performance.now() - started);
    this.#log.info(
      {
        generation: next.generation,
        addresses: this.#mesh.addresses.size,
        policies: this.#mesh.authorizations.size,
        waypoints: this.#mesh.waypoints.size,
        ms,
      },
      'mesh compiled',
    );
  }

  #gates(): SourceGate[] {
    const { source, assignments, authenticator } = this.#platform;
    return [
      ...this.#platform.gates(),
      source.gate(),
      assignments.gate(),
      authenticator.gate(),
      {
        name: 'published',
        ready: this.#snapshot.generation > 0,
        reason: this.#snapshot.generation > 0 ? '' : 'no mesh compiled yet',
      },
    ];
  }

  /** Of some kinds alone: in a large cluster a report of everything takes a part of a second. */
  #reportOf(kinds: readonly Kind[]): readonly ObjectReport[] {
    const set = ofKinds(this.#platform.source.current, kinds);
    const { streams } = this.#xds;
    const outcomes = new Map(
      [...set.objects.keys()].flatMap((key) => {
        const outcome = this.#mesh.outcomeOf(key);
        return outcome === undefined ? [] : [[key, outcome]];
      }),
    );
    const enforced = withEnforcement(outcomes, this.#mesh.egress, streams, this.#snapshot.generation);
    return reportObjects(set, enforced, refusalsOf(streams));
  }

  #report(): StatusReport {
    const set = this.#platform.source.current;
    const { streams } = this.#xds;
    const { generation } = this.#snapshot;
    const outcomes = withEnforcement(this.#mesh.outcomes, this.#mesh.egress, streams, generation);
    const lastSeen = (principal: Principal): Date | undefined => this.#xds.lastSeen(principal);
    return {
      generation,
      gates: this.#gates(),
      objects: reportObjects(set, outcomes, refusalsOf(streams)),
      files: reportFiles(set),
      warnings: reportWarnings(set, outcomes),
      nodes: reportNodes(this.#mesh.identities.keys(), streams, lastSeen),
      gateways: reportGateways(this.#mesh, streams, lastSeen),
    };
  }
}
