import type { Identity } from '../../spiffe.ts';
import type { Workload } from '../state/model.ts';

/**
 * Headers of one message: names in lower case, without pseudo headers; several lines of one name are joined as Node does
 * (RFC 9110 section 5.3), `set-cookie` stays a list. The object has no prototype, since names come from the network.
 */
export type Headers = Record<string, string | string[] | undefined>;

/** The client of a request, as its tunnel proved and its ztunnel told. */
export interface Source {
  /** Address of the client's pod: the TCP peer's, or what a trusted waypoint before us said. */
  readonly ip: string;
  readonly port: number;
  /** Proven by the peer's certificate, or told by a trusted waypoint; undefined never comes in by HBONE. */
  readonly identity: Identity | undefined;
  /** The workload at that address, when it has that identity. */
  readonly workload: Workload | undefined;
}

export type HttpProtocol = 'http1' | 'http2' | 'grpc';

/** A request as routing, policy and filters see it. Filters change it in place; what arrived is gone then. */
export interface RequestHead {
  method: string;
  /** Host and, where given, port, in lower case: the Host header or :authority. */
  authority: string;
  /** Normalised (see normalise-path.ts), without query; `*` for OPTIONS of the server as a whole. */
  path: string;
  /** As it came, without `?`; empty when there is none. */
  query: string;
  readonly protocol: HttpProtocol;
  readonly headers: Headers;
  readonly source: Source;
  /** The Service (`namespace/hostname`) and the port of it that were dialled. */
  readonly service: string;
  readonly port: number;
  /** The address that the client dialled, and where a route's backend resolves no better. */
  readonly destinationIp: string;
  /**
   * The client's address as trusted hops in front of the mesh told it (x-forwarded-for), else {@link Source.ip}. For
   * `remoteIpBlocks`.
   */
  readonly remoteIp: string;
  /** Set by authentication: what a valid token said. */
  jwt: JwtFacts | undefined;
}

export interface JwtFacts {
  /** `issuer/subject`, as Istio's request principal. */
  readonly principal: string;
  readonly audiences: readonly string[];
  readonly presenter: string | undefined;
  readonly claims: Readonly<Record<string, unknown>>;
}

/** First value of a header that is one text. */
export function header(headers: Headers, name: string): string | undefined {
  const value = headers[name];
  return typeof value === 'string' ? value : value?.join(', ');
}
