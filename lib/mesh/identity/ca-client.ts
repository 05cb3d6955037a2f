import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { status, type ServiceError } from '@grpc/grpc-js';
import {
  IstioCertificateRequestSchema,
  IstioCertificateResponseSchema,
  type IstioCertificateRequest,
  type IstioCertificateResponse,
} from '../../../proto/gen/istio/auth/ca_pb.js';
import { spiffeUri, type Identity } from '../../spiffe.ts';
import { MeshError } from '../errors.ts';
import { openControlChannel, type ControlChannel, type ControlEndpoint } from '../xds/control-channel.ts';

/** The RPC of Istio's certificate service. */
export const CREATE_CERTIFICATE_PATH = '/istio.v1.auth.IstioCertificateService/CreateCertificate';
const CALL_TIMEOUT_MS = 10_000;

/** Asks a certificate authority on behalf of a pod of this node. */
export interface CertificateAuthority {
  /**
   * @param ttlSeconds validity asked for
   * @returns PEM texts, leaf first, root last; not verified
   * @throws MeshError CA_UNAVAILABLE (try again), CA_REFUSED (this identity is not ours to have, or not yet)
   */
  createCertificate(request: CertificateRequest): Promise<readonly string[]>;
  close(): void;
}

export interface CertificateRequest {
  readonly identity: Identity;
  readonly csrPem: string;
  readonly ttlSeconds: number;
}

/** The CA behind Istio's certificate service, over verified TLS with a bearer token. */
export class IstioCaClient implements CertificateAuthority {
  readonly #endpoint: ControlEndpoint;
  readonly #stop = new AbortController();

  constructor(endpoint: ControlEndpoint) {
    this.#endpoint = endpoint;
  }

  async createCertificate(request: CertificateRequest): Promise<readonly string[]> {
    // A connection for each call: there are two a day for an identity, and the token and root are then of now.
    const channel = await openControlChannel(this.#endpoint);
    try {
      const response = await call(
        channel,
        create(IstioCertificateRequestSchema, {
          csr: request.csrPem,
          validityDuration: BigInt(request.ttlSeconds),
          metadata: { ImpersonatedIdentity: spiffeUri(request.identity) },
        }),
        this.#stop.signal,
      );
      return response.certChain;
    } finally {
      channel.client.close();
    }
  }

  /** Ends calls under way. */
  close(): void {
    this.#stop.abort();
  }
}

async function call(
  { client, metadata }: ControlChannel,
  request: IstioCertificateRequest,
  signal: AbortSignal,
): Promise<IstioCertificateResponse> {
  if (signal.aborted) throw new MeshError('CA_UNAVAILABLE', 'stopping');
  const { promise, resolve, reject } = Promise.withResolvers<IstioCertificateResponse>();
  const running = client.makeUnaryRequest(
    CREATE_CERTIFICATE_PATH,
    (message: IstioCertificateRequest) => Buffer.from(toBinary(IstioCertificateRequestSchema, message)),
    (bytes: Buffer) => fromBinary(IstioCertificateResponseSchema, bytes),
    request,
    metadata,
    { deadline: Date.now() + CALL_TIMEOUT_MS },
    (error, response) => {
      if (response) resolve(response);
      else reject(caError(error));
    },
  );
  const cancel = () => running.cancel();
  signal.addEventListener('abort', cancel, { once: true });
  try {
    return await promise;
  } finally {
    signal.removeEventListener('abort', cancel);
  }
}

function caError(error: ServiceError | null): MeshError {
  const text = `${status[error?.code ?? status.UNKNOWN]}: ${error?.details ?? 'no answer'}`;
  switch (error?.code) {
    case status.PERMISSION_DENIED:
    case status.UNAUTHENTICATED:
    case status.INVALID_ARGUMENT:
    case status.FAILED_PRECONDITION:
      return new MeshError('CA_REFUSED', `the CA refused (${text})`);
    default:
      return new MeshError('CA_UNAVAILABLE', `the CA did not answer (${text})`);
  }
}
