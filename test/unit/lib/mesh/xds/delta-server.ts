import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create, fromBinary, toBinary, type DescMessage, type MessageInitShape } from '@bufbuild/protobuf';
import { anyPack } from '@bufbuild/protobuf/wkt';
import {
  Server,
  ServerCredentials,
  type Metadata,
  type ServerDuplexStream,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import {
  DeltaDiscoveryRequestSchema,
  DeltaDiscoveryResponseSchema,
  type DeltaDiscoveryRequest,
  type DeltaDiscoveryResponse,
  type Resource,
} from '../../../../../proto/gen/envoy/discovery_pb.js';
import { AuthorizationSchema } from '../../../../../proto/gen/istio/security/authorization_pb.js';
import { AddressSchema } from '../../../../../proto/gen/istio/workload/workload_pb.js';
import { DELTA_ADS_PATH } from '../../../../../lib/mesh/xds/delta-service.ts';
import { TestCa } from '../identity/test-ca.ts';

type Stream = ServerDuplexStream<DeltaDiscoveryRequest, DeltaDiscoveryResponse>;

/** One stream that a client opened: what it asked, in order, and how to answer. */
export class ServedStream {
  readonly metadata: Metadata;
  readonly #stream: Stream;
  readonly #requests: DeltaDiscoveryRequest[] = [];
  #wake = Promise.withResolvers<void>();
  readonly ended: Promise<void>;

  constructor(stream: Stream) {
    this.#stream = stream;
    this.metadata = stream.metadata;
    this.ended = new Promise((resolve) => {
      stream.on('cancelled', resolve);
      stream.on('end', resolve);
      stream.on('error', () => resolve());
    });
    stream.on('data', (request: DeltaDiscoveryRequest) => {
      this.#requests.push(request);
      this.#wake.resolve();
    });
  }

  /** The next request, waited for. */
  async next(): Promise<DeltaDiscoveryRequest> {
    for (;;) {
      const request = this.#requests.shift();
      if (request) return request;
      this.#wake = Promise.withResolvers();
      await this.#wake.promise;
    }
  }

  send(response: MessageInitShape<typeof DeltaDiscoveryResponseSchema>): void {
    this.#stream.write(create(DeltaDiscoveryResponseSchema, response));
  }

  /** Ends the stream without an error, as a server at its maximum connection age does. */
  end(): void {
    this.#stream.end();
  }
}

/** A discovery server over TLS on loopback, whose answers the test writes; and the client's files. */
export class DeltaServer {
  readonly #server: Server;
  readonly #dir: string;
  readonly #streams: ServedStream[] = [];
  #wake = Promise.withResolvers<void>();
  port = 0;

  private constructor(dir: string, extra: UntypedServiceImplementation, definition: object) {
    this.#dir = dir;
    this.#server = new Server();
    this.#server.addService(
      {
        delta: {
          path: DELTA_ADS_PATH,
          requestStream: true,
          responseStream: true,
          requestSerialize: (m: DeltaDiscoveryRequest) =>
            Buffer.from(toBinary(DeltaDiscoveryRequestSchema, m)),
          requestDeserialize: (b: Buffer) => fromBinary(DeltaDiscoveryRequestSchema, b),
          responseSerialize: (m: DeltaDiscoveryResponse) =>
            Buffer.from(toBinary(DeltaDiscoveryResponseSchema, m)),
          responseDeserialize: (b: Buffer) => fromBinary(DeltaDiscoveryResponseSchema, b),
        },
        ...definition,
      },
      {
        delta: (stream: Stream) => {
          this.#streams.push(new ServedStream(stream));
          this.#wake.resolve();
        },
        ...extra,
      },
    );
  }

  /**
   * @param names of the serving certificate; default 127.0.0.1
   * @param extra further gRPC methods and their definitions
   */
  static async start(
    options: {
      ca?: TestCa;
      names?: Parameters<TestCa['issue']>[0];
      port?: number;
      extra?: UntypedServiceImplementation;
      definition?: object;
    } = {},
  ): Promise<DeltaServer> {
    const ca = options.ca ?? (await TestCa.root());
    const dir = await mkdtemp(join(tmpdir(), 'loam-xds-test-'));
    const self = new DeltaServer(dir, options.extra ?? {}, options.definition ?? {});
    const { certPem, keyPem } = await ca.issue(options.names ?? [{ type: 'ip', value: '127.0.0.1' }]);
    await writeFile(self.rootFile, ca.pem);
    await self.setToken('first-token');
    const credentials = ServerCredentials.createSsl(null, [
      { private_key: Buffer.from(keyPem), cert_chain: Buffer.from(certPem) },
    ]);
    self.port = await new Promise((resolve, reject) =>
      self.#server.bindAsync(`127.0.0.1:${options.port ?? 0}`, credentials, (error, port) =>
        error ? reject(error) : resolve(port),
      ),
    );
    return self;
  }

  get address(): string {
    return `https://127.0.0.1:${this.port}`;
  }
  get rootFile(): string {
    return join(this.#dir, 'root.pem');
  }
  get tokenFile(): string {
    return join(this.#dir, 'token');
  }

  async setToken(token: string): Promise<void> {
    await writeFile(this.tokenFile, token, { mode: 0o600 });
  }

  /** The next stream, waited for. */
  async stream(): Promise<ServedStream> {
    for (;;) {
      const stream = this.#streams.shift();
      if (stream) return stream;
      this.#wake = Promise.withResolvers();
      await this.#wake.promise;
    }
  }

  get openedStreams(): number {
    return this.#streams.length;
  }

  /** Cuts every connection; the client's files stay until {@link clean}. */
  stop(): void {
    this.#server.forceShutdown();
  }

  async clean(): Promise<void> {
    this.stop();
    await rm(this.#dir, { recursive: true, force: true });
  }
}

/** A resource as it goes over the wire. */
export function wireAddress(
  name: string,
  version: string,
  init: MessageInitShape<typeof AddressSchema>,
): Resource {
  return pack(name, version, AddressSchema, init);
}

export function wirePolicy(
  name: string,
  version: string,
  init: Omit<MessageInitShape<typeof AuthorizationSchema>, '$typeName' | 'name' | 'namespace'>,
): Resource {
  const [namespace = '', short = ''] = name.split('/');
  return pack(name, version, AuthorizationSchema, { ...init, name: short, namespace });
}

function pack<D extends DescMessage>(
  name: string,
  version: string,
  schema: D,
  init: MessageInitShape<D>,
): Resource {
  const response = create(DeltaDiscoveryResponseSchema, {
    resources: [{ name, version, resource: anyPack(schema, create(schema, init)) }],
  });
  return response.resources[0] as Resource;
}
