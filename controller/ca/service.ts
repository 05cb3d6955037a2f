import { once } from 'node:events';
import { create } from '@bufbuild/protobuf';
import * as grpc from '@grpc/grpc-js';
import type { Logger } from 'pino';
import { errorText } from '../../lib/loam-error.ts';
import { parseSpiffeUri } from '../../lib/spiffe.ts';
import {
  type IstioCertificateRequest,
  type IstioCertificateResponse,
  IstioCertificateResponseSchema,
  IstioCertificateService,
} from '../../proto/gen/istio/auth/ca_pb.js';
import { type Authenticator, AuthenticationUnavailable } from '../auth/authenticator.ts';
import { type Principal, principalText } from '../auth/principal.ts';
import { ControllerError } from '../errors.ts';
import { grpcServiceDefinition } from '../grpc-service.ts';
import { LogBound } from '../telemetry/log-bound.ts';
import type { ControllerMetrics } from '../telemetry/metrics.ts';
import { publicKeyOfCsr } from './csr.ts';
import { issueLeaf } from './issue.ts';
import type { Authority } from './root.ts';

/** A request holds a CSR and a name. It is read before it is known whose it is, and held until it is. */
const MAX_REQUEST_BYTES = 64 * 1024;

export const CA_SERVICE = grpcServiceDefinition(IstioCertificateService, (_, bytes) => {
  if (bytes > MAX_REQUEST_BYTES)
    throw new Error(`a request of ${bytes} bytes; allowed: ${MAX_REQUEST_BYTES}`);
});

const IMPERSONATED = 'ImpersonatedIdentity';
const MAX_IDENTITY_CHARS = 1024;
/** A node may ask for many certificates at once after a restart; beyond that it waits its turn. */
const MAX_IN_FLIGHT_PER_CALLER = 64;
/**
 * Of these, so many may wait for a pod: fewer than a node asks for at once (8), or names that never come to be, of pods that only ask,
 * would keep the node's other pods from certificates.
 */
const MAX_WAITING_PER_CALLER = 4;
/** For so long a node waits for an answer about a pod that is not known to run there, before it is refused. */
const LATE_MS = 3_000;

export interface CaServiceOptions {
  /** The authority of now. */
  readonly authority: () => Authority;
  readonly maxTtlS: number;
  readonly authenticate: Authenticator['authenticate'];
  readonly metrics: ControllerMetrics;
  /**
   * What a caller may be certified as: a node as any mesh pod that it runs, a Gateway as itself; undefined while it is
   * not known yet what there is.
   */
  readonly identitiesOf: (principal: Principal) => ReadonlySet<string> | undefined;
  /** Resolves when what {@link identitiesOf} says may have changed; absent: it never does. */
  readonly changed?: () => Promise<void>;
  readonly log: Logger;
}

type Call = grpc.ServerUnaryCall<IstioCertificateRequest, IstioCertificateResponse>;
type Callback = grpc.sendUnaryData<IstioCertificateResponse>;

class Refused extends Error {
  readonly code: grpc.status;
  constructor(code: grpc.status, message: string) {
    super(message);
    this.code = code;
  }
}

/**
 * Istio's certificate service: a node asks on behalf of the pods that it runs, a waypoint for its Gateway's identity, and
 * neither for any other.
 */
export class CaService {
  readonly #options: CaServiceOptions;
  readonly #inFlight = new Map<string, number>();
  readonly #waiting = new Map<string, number>();
  readonly #logged = new LogBound();
  #issued = 0;
  #refused = 0;

  constructor(options: CaServiceOptions) {
    this.#options = options;
  }

  get counts(): { readonly issued: number; readonly refused: number } {
    return { issued: this.#issued, refused: this.#refused };
  }

  readonly implementation = {
    createCertificate: (call: Call, callback: Callback): void => {
      this.#serve(call).then(
        (response) => {
          this.#options.metrics.certificates.inc({ result: 'OK' });
          callback(null, response);
        },
        (error: unknown) => callback(this.#refusal(call, error)),
      );
    },
  };

  #refusal(call: Call, error: unknown): Partial<grpc.StatusObject> {
    this.#refused += 1;
    const known = error instanceof Refused;
    const code = known ? error.code : grpc.status.INTERNAL;
    this.#options.metrics.certificates.inc({ result: grpc.status[code] });
    const admitted = this.#logged.admit();
    if (admitted !== undefined)
      this.#options.log.warn(
        { peer: call.getPeer(), code: grpc.status[code], reason: errorText(error), ...admitted },
        'certificate refused',
      );
    return { code, details: known ? error.message : 'the certificate could not be made' };
  }

  async #serve(call: Call): Promise<IstioCertificateResponse> {
    const principal = await this.#options
      .authenticate(call.metadata, call.getPeer())
      .catch((error: unknown) => {
        if (error instanceof AuthenticationUnavailable)
          throw new Refused(grpc.status.UNAVAILABLE, error.message);
        throw error;
      });
    if (principal === undefined)
      throw new Refused(
        grpc.status.UNAUTHENTICATED,
        'a bearer token of a node or gateway is needed (authorization: Bearer …)',
      );
    const who = principalText(principal);
    if (!enter(this.#inFlight, who, MAX_IN_FLIGHT_PER_CALLER))
      throw new Refused(grpc.status.RESOURCE_EXHAUSTED, `too many requests of ${who} at once`);
    try {
      return await this.#issue(principal, call.request);
    } finally {
      leave(this.#inFlight, who);
    }
  }

  async #issue(principal: Principal, request: IstioCertificateRequest): Promise<IstioCertificateResponse> {
    const identity = await this.#authoriseSoon(principal, request.metadata?.[IMPERSONATED]);
    const publicKey = await publicKeyOfCsr(request.csr).catch((error: unknown) => {
      if (error instanceof ControllerError) throw new Refused(grpc.status.INVALID_ARGUMENT, error.message);
      throw error;
    });
    const { maxTtlS, log } = this.#options;
    const authority = this.#options.authority();
    const requested = Number(request.validityDuration);
    const ttlS = requested > 0 ? Math.min(requested, maxTtlS) : maxTtlS;
    const leaf = await issueLeaf(authority, { publicKey, names: [{ type: 'url', value: identity }], ttlS });
    this.#issued += 1;
    log.info({ caller: principalText(principal), identity, notAfter: leaf.notAfter }, 'certificate issued');
    return create(IstioCertificateResponseSchema, {
      certChain: [leaf.pem, ...authority.chain.slice(0, -1), authority.rootsPem],
    });
  }

  /** Waits a moment for a pod of which the node may have heard first: both follow the API server, in no order. */
  async #authoriseSoon(principal: Principal, wanted: unknown): Promise<string> {
    try {
      return this.#authorise(principal, wanted);
    } catch (error) {
      const { changed } = this.#options;
      const who = principalText(principal);
      const mayWait = changed !== undefined && principal.kind === 'node' && isUnknown(error);
      if (!mayWait || !enter(this.#waiting, who, MAX_WAITING_PER_CALLER)) throw error;
      try {
        return await this.#authoriseLater(principal, wanted, changed);
      } finally {
        leave(this.#waiting, who);
      }
    }
  }

  async #authoriseLater(
    principal: Principal,
    wanted: unknown,
    changed: () => Promise<void>,
  ): Promise<string> {
    const late = AbortSignal.timeout(LATE_MS);
    const isLate = once(late, 'abort');
    for (;;) {
      await Promise.race([changed(), isLate]);
      try {
        return this.#authorise(principal, wanted);
      } catch (error) {
        if (!isUnknown(error) || late.aborted) throw error;
      }
    }
  }

  #authorise(principal: Principal, wanted: unknown): string {
    const identities = this.#options.identitiesOf(principal);
    const name = this.#nameOf(principal, wanted, identities);
    if (identities === undefined)
      throw new Refused(grpc.status.UNAVAILABLE, 'the controller does not know yet which pods run where');
    if (!identities.has(name)) {
      const why =
        principal.kind === 'node'
          ? `of no mesh pod assigned to node ${principal.node}`
          : `not that of Gateway ${principal.gateway}, or there is no such Gateway`;
      throw new Refused(grpc.status.PERMISSION_DENIED, `identity ${name} is ${why}`);
    }
    return name;
  }

  /** The identity that is asked for. A waypoint need not name its own. */
  #nameOf(principal: Principal, wanted: unknown, identities: ReadonlySet<string> | undefined): string {
    const [own] = identities ?? [];
    if (wanted === undefined && principal.kind === 'gateway' && own !== undefined) return own;
    if (typeof wanted !== 'string' || wanted === '' || wanted.length > MAX_IDENTITY_CHARS) {
      throw new Refused(
        grpc.status.INVALID_ARGUMENT,
        `${principalText(principal)} must name an identity in metadata field ${IMPERSONATED}`,
      );
    }
    try {
      parseSpiffeUri(wanted);
    } catch (error) {
      throw new Refused(grpc.status.INVALID_ARGUMENT, errorText(error));
    }
    return wanted;
  }
}

/** Whether a name was refused that the caller may have heard of before us. */
function isUnknown(error: unknown): boolean {
  return error instanceof Refused && error.code === grpc.status.PERMISSION_DENIED;
}

/** @returns false where there are as many as may be */
function enter(counts: Map<string, number>, who: string, most: number): boolean {
  const count = counts.get(who) ?? 0;
  if (count >= most) return false;
  counts.set(who, count + 1);
  return true;
}

function leave(counts: Map<string, number>, who: string): void {
  const left = (counts.get(who) ?? 1) - 1;
  if (left === 0) counts.delete(who);
  else counts.set(who, left);
}
