import * as grpc from '@grpc/grpc-js';
import type { Logger } from 'pino';
import type { Principal } from './auth/principal.ts';
import { TokenTable } from './auth/tokens.ts';
import { loadAuthority } from './ca/root.ts';
import { CA_SERVICE, CaService } from './ca/service.ts';
import { ServingCertificate } from './ca/serving-certificate.ts';
import { NO_EGRESS } from './compile/egress/compile.ts';
import { type CompiledMesh, compileMesh } from './compile/mesh.ts';
import type { Config } from './config.ts';
import { ControllerError } from './errors.ts';
import { AssignmentsSource } from './sources/assignments.ts';
import { DirectorySource } from './sources/directory.ts';
import { LastGoodStore } from './sources/last-good.ts';
import type { Source, SourceGate } from './sources/source.ts';
import { loadSessionSecret } from './session-secret.ts';
import { prepareStateDir } from './state-dir.ts';
import { refusalsOf, reportGateways, reportNodes } from './status/clients.ts';
import { withEnforcement } from './status/enforcement.ts';
import { reportFiles, reportObjects, reportWarnings, type StatusReport } from './status/report.ts';
import { StatusServer } from './status/server.ts';
import { XDS_SERVICE, XdsService } from './xds/service.ts';
import { EMPTY_SNAPSHOT, makeSnapshot, sameContent, type Snapshot } from './xds/snapshot.ts';

/** Requests are small: subscriptions, acknowledgements, one certificate request. */
const MAX_REQUEST_BYTES = 8 * 1024 * 1024;
const KEEPALIVE_MS = 30_000;
const KEEPALIVE_TIMEOUT_MS = 10_000;
const MAX_STREAMS_PER_CONNECTION = 100;
const SHUTDOWN_GRACE_MS = 2000;

const NOTHING: CompiledMesh = {
  addresses: new Map(),
  authorizations: new Map(),
  outcomes: new Map(),
  identities: new Map(),
  waypoints: new Map(),
  served: new Map(),
  egress: NO_EGRESS,
  waypointIdentities: new Map(),
};

/** The whole program: sources → compiler → xDS, with the certificate service and the status beside it. */
export class Controller {
  readonly #config: Config;
  readonly #log: Logger;
  readonly #stop = new AbortController();
  readonly #source: Source;
  readonly #assignments: AssignmentsSource;
  readonly #tokens: TokenTable;
  readonly #xds: XdsService;
  readonly #status: StatusServer;
  #sessionSecret: Uint8Array | undefined;
  #ca: CaService | undefined;
  #serving: ServingCertificate | undefined;
  #grpc: grpc.Server | undefined;
  #mesh: CompiledMesh = NOTHING;
  #snapshot: Snapshot = EMPTY_SNAPSHOT;

  constructor(config: Config, log: Logger) {
    this.#config = config;
    this.#log = log;
    const { manifests, assignments, state, rootNamespace, tokens, status } = config;
    this.#source = new DirectorySource({
      dir: manifests,
      rootNamespace,
      trustDomain: config.trustDomain,
      store: new LastGoodStore(state),
      log,
    });
    this.#assignments = new AssignmentsSource({
      path: assignments,
      stateDir: state,
      log,
      onChange: () => this.#compile(),
    });
    this.#tokens = new TokenTable(tokens, log);
    this.#xds = new XdsService({ authenticate: (metadata) => this.#authenticate(metadata), log });
    this.#status = new StatusServer({
      path: status,
      gates: () => this.#gates(),
      report: () => this.#report(),
      objects: () => this.#source.current,
      onObjects: (listener, signal) => this.#source.onChange(listener, signal),
      log,
    });
  }

  /**
   * Starts everything.
   *
   * @returns the port of xDS and certificates, as it is chosen when the configured one is 0
   */
  async start(): Promise<number> {
    await prepareStateDir(this.#config.state);
    this.#sessionSecret = await loadSessionSecret(this.#config.state);
    const { state: stateDir, trustDomain, given, listen } = this.#config;
    const authority = await loadAuthority({
      stateDir,
      trustDomain,
      ...(given === undefined ? {} : { given }),
    });
    this.#serving = await ServingCertificate.make(authority, listen.host, this.#log);
    this.#ca = new CaService({
      authority,
      maxTtlS: this.#config.certTtlMaxS,
      authenticate: (metadata) => this.#authenticate(metadata),
      identitiesOf: (principal) => (this.#knowsPods() ? this.#identitiesOf(principal) : undefined),
      log: this.#log,
    });
    await this.#status.start();
    await this.#tokens.start();
    this.#tokens.onChange(() => this.#xds.recheckCredentials());
    await this.#assignments.start();
    const port = await this.#listen(this.#ca, this.#serving.credentials);
    this.#source.onChange(() => this.#compile(), this.#stop.signal);
    await this.#source.start();
    return port;
  }

  /** Ends in good order: streams are told to go, files are written. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#serving?.[Symbol.dispose]();
    this.#tokens.close();
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
    await this.#source.close();
    await this.#assignments.close();
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

  #authenticate(metadata: grpc.Metadata): Principal | undefined {
    const [value] = metadata.get('authorization');
    return this.#tokens.principalOf(typeof value === 'string' ? value : undefined);
  }

  #identitiesOf(principal: Principal): ReadonlySet<string> {
    if (principal.kind === 'node') return this.#mesh.identities.get(principal.node) ?? new Set();
    const own = this.#mesh.waypointIdentities.get(principal.gateway);
    return new Set(own === undefined ? [] : [own]);
  }

  #knowsPods(): boolean {
    return this.#source.gate().ready && this.#assignments.gate().ready;
  }

  #compile(): void {
    const { clusterId, trustDomain, rootNamespace } = this.#config;
    const objects = [...this.#source.current.objects.values()].map(({ object }) => object);
    const started = performance.now();
    this.#mesh = compileMesh({
      objects,
      assignments: this.#assignments.current,
      clusterId,
      trustDomain,
      rootNamespace,
      ...(this.#sessionSecret !== undefined && { sessionSecret: this.#sessionSecret }),
    });
    // Until it is known what is true, nodes keep what they have: an incomplete picture would take things away.
    if (!this.#knowsPods()) return;
    const before = this.#snapshot;
    const next = makeSnapshot(before.generation + 1, this.#mesh, before);
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
    const tokens = this.#tokens.ready;
    return [
      this.#source.gate(),
      this.#assignments.gate(),
      { name: 'tokens', ready: tokens, reason: tokens ? '' : 'no tokens file read yet' },
      {
        name: 'published',
        ready: this.#snapshot.generation > 0,
        reason: this.#snapshot.generation > 0 ? '' : 'no mesh compiled yet',
      },
    ];
  }

  #report(): StatusReport {
    const set = this.#source.current;
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
