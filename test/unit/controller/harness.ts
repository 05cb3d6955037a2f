import { mkdtemp, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import * as grpc from '@grpc/grpc-js';
import { pino } from 'pino';
import { CONTROLLER_DNS_NAME } from '../../../controller/ca/serving-certificate.ts';
import { readConfig } from '../../../controller/config.ts';
import { Controller } from '../../../controller/controller.ts';
import { grpcServiceDefinition } from '../../../controller/grpc-service.ts';
import { makePlatform } from '../../../controller/platform/make.ts';
import { ControllerMetrics } from '../../../controller/telemetry/metrics.ts';
import {
  AggregatedDiscoveryService,
  type DeltaDiscoveryRequest,
  DeltaDiscoveryRequestSchema,
  type DeltaDiscoveryResponse,
} from '../../../proto/gen/envoy/discovery_pb.js';
import {
  type IstioCertificateRequest,
  IstioCertificateRequestSchema,
  type IstioCertificateResponse,
  IstioCertificateService,
} from '../../../proto/gen/istio/auth/ca_pb.js';

export const SILENT = pino({ level: 'silent' });
export const TOKEN_A = 'a'.repeat(32);
export const TOKEN_B = 'b'.repeat(32);

/** A directory that goes away at the end of the block. */
export async function temporaryDir(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'loam-controller-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

const GIVE_UP_MS = 20_000;

/** Waits for something to become true, and fails rather than keep the test process alive for ever. */
export async function until<T>(
  probe: () => T | undefined | false | Promise<T | undefined | false>,
  waitMs = GIVE_UP_MS,
): Promise<T> {
  const giveUp = Date.now() + waitMs;
  while (Date.now() < giveUp) {
    const value = await probe();
    if (value !== undefined && value !== false) return value;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`it did not come true: ${probe.toString()}`);
}

/** Writes as editors and the local mesh do: beside it, then rename. */
export async function replaceFile(path: string, content: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(`${path}.tmp`, content, { mode: 0o600 });
  await rename(`${path}.tmp`, path);
}

export const MANIFESTS = `
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {loam.dev/dataplane-mode: ambient}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: frontend, namespace: shop}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: payments, namespace: shop}
---
apiVersion: v1
kind: Pod
metadata: {name: frontend-0, namespace: shop, labels: {app: frontend}, annotations: {local.loam.dev/command.main: sleep 1d}}
spec: {nodeName: node-a, serviceAccountName: frontend, containers: [{name: main, image: any}]}
---
apiVersion: v1
kind: Pod
metadata: {name: payments-0, namespace: shop, labels: {app: payments}, annotations: {local.loam.dev/command.main: sleep 1d}}
spec:
  nodeName: node-b
  serviceAccountName: payments
  containers: [{name: main, image: any, ports: [{name: web, containerPort: 8080}]}]
---
apiVersion: v1
kind: Service
metadata: {name: payments, namespace: shop}
spec: {selector: {app: payments}, ports: [{name: http, port: 80, targetPort: web}]}
`;

export function policyManifest(principal: string, name = 'payments-only-frontend'): string {
  return `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ${name}, namespace: shop}
spec:
  selector: {matchLabels: {app: payments}}
  action: DENY
  rules: [{from: [{source: {notPrincipals: ["${principal}"]}}]}]
`;
}

export const ASSIGNMENTS = {
  pods: {
    'shop/frontend-0': { uid: '1', ips: ['198.18.1.2'], node: 'node-a', ready: true },
    'shop/payments-0': { uid: '2', ips: ['198.18.2.2'], node: 'node-b', ready: true },
  },
  services: { 'shop/payments': { clusterIPs: ['198.19.0.5'] } },
};

export interface RunningController extends AsyncDisposable {
  readonly dir: string;
  readonly address: string;
  readonly status: (path: string) => Promise<{ code: number; body: unknown }>;
  readonly report: () => Promise<StatusView>;
  readonly manifest: (name: string, content: string) => Promise<void>;
  readonly assignments: (content: unknown) => Promise<void>;
  readonly tokens: (content: unknown) => Promise<void>;
  readonly channel: () => Promise<grpc.ChannelCredentials>;
}

/** The parts of the status that tests look at. */
export interface StatusView {
  readonly generation: number;
  readonly objects: readonly {
    readonly kind: string;
    readonly name: string;
    readonly state: string;
    readonly message?: string;
    readonly field?: string;
    readonly lastGood: boolean;
    readonly compiledTo: readonly string[];
  }[];
  readonly warnings: readonly { readonly text: string }[];
  readonly nodes: readonly {
    readonly node: string;
    readonly connected: boolean;
    readonly ackedGeneration: number;
    readonly nacks: readonly string[];
  }[];
}

/** A whole controller in this process, on a port of its own, over real TLS. `dir` is reused for a restart. */
export async function runController(dir: string, extra: readonly string[] = []): Promise<RunningController> {
  await mkdir(join(dir, 'manifests'), { recursive: true });
  const file = (name: string): string => join(dir, name);
  const flags: Record<string, string> = {
    manifests: file('manifests'),
    assignments: file('assignments.json'),
    tokens: file('tokens.json'),
    state: file('state'),
    status: file('status.sock'),
    listen: '127.0.0.1:0',
  };
  const args = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value]);
  const config = readConfig([...args, ...extra], {});
  const metrics = new ControllerMetrics('test');
  const controller = new Controller(config, makePlatform(config, metrics, SILENT), metrics, SILENT);
  const port = await controller.start();
  const address = `127.0.0.1:${port}`;
  const status = (path: string): Promise<{ code: number; body: unknown }> =>
    getJson(file('status.sock'), path);
  return {
    dir,
    address,
    status,
    report: async () => (await status('/v1/status')).body as StatusView,
    manifest: (name, content) => replaceFile(join(dir, 'manifests', name), content),
    assignments: (content) => replaceFile(file('assignments.json'), JSON.stringify(content)),
    tokens: (content) => replaceFile(file('tokens.json'), JSON.stringify(content)),
    channel: async () => grpc.credentials.createSsl(await readFile(join(dir, 'state', 'root-cert.pem'))),
    [Symbol.asyncDispose]: () => controller.stop(),
  };
}

/** Lays out a directory with the shop, its assignments and the tokens of both nodes. */
export async function layOutShop(dir: string): Promise<void> {
  await replaceFile(join(dir, 'manifests', 'shop.yaml'), MANIFESTS);
  await replaceFile(join(dir, 'assignments.json'), JSON.stringify(ASSIGNMENTS));
  const tokens = [
    { node: 'node-a', token: TOKEN_A },
    { node: 'node-b', token: TOKEN_B },
  ];
  await replaceFile(join(dir, 'tokens.json'), JSON.stringify({ tokens }));
}

export function getJson(
  socketPath: string,
  path: string,
  method = 'GET',
): Promise<{ code: number; body: unknown }> {
  return new Promise((resolve, reject) => {
    const req = request({ socketPath, path, method }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        const body: unknown = JSON.parse(Buffer.concat(chunks).toString());
        resolve({ code: response.statusCode ?? 0, body });
      });
    });
    req.on('error', reject);
    req.end();
  });
}

/** The certificate is checked against its DNS name: Node refuses an address as the TLS server name. */
const CHANNEL_OPTIONS = { 'grpc.ssl_target_name_override': CONTROLLER_DNS_NAME };

type RequestInit = MessageInitShape<typeof DeltaDiscoveryRequestSchema>;
type XdsCall = grpc.ClientDuplexStream<DeltaDiscoveryRequest, DeltaDiscoveryResponse>;

export function bearer(token: string | undefined): grpc.Metadata {
  const metadata = new grpc.Metadata();
  if (token !== undefined) metadata.set('authorization', `Bearer ${token}`);
  return metadata;
}

/** A client that speaks delta xDS as a ztunnel does, with every step in the test's hands. */
export class TestXdsClient implements Disposable {
  readonly call: XdsCall;
  readonly responses: DeltaDiscoveryResponse[] = [];
  readonly ended: Promise<grpc.StatusObject>;
  readonly #client: grpc.Client;
  #read = 0;

  private constructor(client: grpc.Client, call: XdsCall) {
    this.#client = client;
    this.call = call;
    call.on('data', (response: DeltaDiscoveryResponse) => this.responses.push(response));
    call.on('error', () => undefined);
    this.ended = new Promise((resolve) => call.on('status', resolve));
  }

  static async connect(controller: RunningController, token: string | undefined): Promise<TestXdsClient> {
    const Client = grpc.makeClientConstructor(grpcServiceDefinition(AggregatedDiscoveryService), 'xds');
    const client = new Client(controller.address, await controller.channel(), CHANNEL_OPTIONS);
    const method = client['deltaAggregatedResources'] as unknown as (metadata: grpc.Metadata) => XdsCall;
    return new TestXdsClient(client, method.call(client, bearer(token)));
  }

  send(init: RequestInit): void {
    this.call.write(create(DeltaDiscoveryRequestSchema, init));
  }

  /** The next response, in order. */
  async next(): Promise<DeltaDiscoveryResponse> {
    const response = await until(() => this.responses[this.#read]);
    this.#read += 1;
    return response;
  }

  get unread(): number {
    return this.responses.length - this.#read;
  }

  ack(response: DeltaDiscoveryResponse): void {
    this.send({ typeUrl: response.typeUrl, responseNonce: response.nonce });
  }

  nack(response: DeltaDiscoveryResponse, message: string): void {
    this.send({
      typeUrl: response.typeUrl,
      responseNonce: response.nonce,
      errorDetail: { code: 3, message },
    });
  }

  [Symbol.dispose](): void {
    this.call.cancel();
    this.#client.close();
  }
}

/** Asks for a certificate; resolves with the error's status when refused. */
export async function requestCertificate(
  controller: RunningController,
  token: string | undefined,
  init: MessageInitShape<typeof IstioCertificateRequestSchema>,
): Promise<{ ok: true; response: IstioCertificateResponse } | { ok: false; error: grpc.ServiceError }> {
  const Client = grpc.makeClientConstructor(grpcServiceDefinition(IstioCertificateService), 'ca');
  const client = new Client(controller.address, await controller.channel(), CHANNEL_OPTIONS);
  type Method = (
    request: IstioCertificateRequest,
    metadata: grpc.Metadata,
    callback: (error: grpc.ServiceError | null, response?: IstioCertificateResponse) => void,
  ) => void;
  const method = client['createCertificate'] as unknown as Method;
  return new Promise((resolve) => {
    method.call(client, create(IstioCertificateRequestSchema, init), bearer(token), (error, response) => {
      client.close();
      if (error !== null) resolve({ ok: false, error });
      else if (response !== undefined) resolve({ ok: true, response });
    });
  });
}
