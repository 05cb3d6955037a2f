import { ipToBytes } from '../../state/ip.ts';
import { spiffeUri } from '../../../spiffe.ts';
import type { RequestHead, Source } from '../request.ts';

const SPIFFE_SCHEME = 'spiffe://';

/** What policy sees of a connection that passes without being read as HTTP. {@link RequestHead} has all of it too. */
export interface ConnectionFacts {
  readonly source: Source;
  /** The port that the client dialled: the Service's, or the pod's where a pod was dialled. */
  readonly port: number;
  /** The address that the client dialled. */
  readonly destinationIp: string;
}

/** What one evaluation looks at. What has to be computed is computed once, and only when a policy asks for it. */
export class Subject {
  readonly source: Source;
  readonly port: number;
  /** Undefined for an opaque connection: what only a request has cannot be seen then. */
  readonly request: RequestHead | undefined;
  readonly #destinationIp: string;
  #principal: string | undefined;
  #sourceIp: readonly number[] | null | undefined;
  #remoteIp: readonly number[] | null | undefined;
  #destIp: readonly number[] | null | undefined;

  constructor(facts: ConnectionFacts, request?: RequestHead) {
    this.source = facts.source;
    this.port = facts.port;
    this.request = request;
    this.#destinationIp = facts.destinationIp;
  }

  /** `<trust domain>/ns/<namespace>/sa/<account>`, without `spiffe://`, as Istio writes principals. */
  get principal(): string | undefined {
    const { identity } = this.source;
    if (identity === undefined) return undefined;
    return (this.#principal ??= spiffeUri(identity).slice(SPIFFE_SCHEME.length));
  }

  /** Null when the text is no address. */
  get sourceIp(): readonly number[] | null {
    return (this.#sourceIp ??= ipToBytes(this.source.ip) ?? null);
  }

  /** For an opaque connection nobody told another address than the source's. */
  get remoteIp(): readonly number[] | null {
    return (this.#remoteIp ??= ipToBytes(this.request?.remoteIp ?? this.source.ip) ?? null);
  }

  get destinationIp(): readonly number[] | null {
    return (this.#destIp ??= ipToBytes(this.#destinationIp) ?? null);
  }
}
