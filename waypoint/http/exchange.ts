import type { Duplex, Readable, Writable } from 'node:stream';
import type { Headers, HttpProtocol, RequestHead } from '../../lib/mesh/waypoint/request.ts';

/** A client's request as it arrived, before routing. */
export interface IncomingHead {
  readonly method: string;
  readonly authority: string;
  /** Path and query as they came. */
  readonly target: string;
  readonly protocol: HttpProtocol;
  /** The client's headers in lower case, hop-by-hop ones included for HTTP/1.1. */
  readonly headers: Headers;
}

/** One request and the way to answer it, whatever version of HTTP it came by. */
export interface Exchange {
  readonly incoming: IncomingHead;
  /** Undefined when the request has no body. Paused until somebody reads it. */
  readonly body: Readable | undefined;
  /** Trailers of the request; empty until its body ended. */
  readonly requestTrailers: () => Headers;
  /** The client waits for 100 before it sends the body. */
  readonly expectsContinue: boolean;
  /** The upgrade that the client asks for, in lower case; undefined for ordinary requests. */
  readonly upgrade: string | undefined;

  /** Interim response (1xx but 101). Ignored where the client's version has none. */
  informational(status: number, headers: Headers): void;
  /** Sends the head. With `endStream` the response is complete. To be called once. */
  respond(status: number, headers: Headers, endStream: boolean): void;
  /** Sends head and whole body as one, in place of {@link respond}; there are no trailers. */
  respondWhole(status: number, headers: Headers, body: Buffer): void;
  /** Where the body of the response goes after {@link respond}. */
  readonly out: Writable;
  /** Ends the body, with trailers where there are some. */
  endWithTrailers(trailers: Headers): void;
  /** Answers 101 (or 200 for HTTP/2 where it has that) and gives the raw bytes both ways. */
  switchProtocols(headers: Headers): Duplex;
  /** Ends the exchange so that the client sees that it is incomplete. */
  reset(): void;
  readonly headSent: boolean;
  /** The client went away before the response was complete. */
  onAbort(listener: () => void): void;
  readonly aborted: boolean;
}

/** What serves exchanges. Never throws and never rejects. */
export type ExchangeHandler = (exchange: Exchange) => void;

/** Response of an upstream, its body paused. */
export interface UpstreamResponse {
  readonly status: number;
  readonly headers: Headers;
  /** Undefined when there is none (HEAD, 204, 304, or an end with the head). */
  readonly body: Readable | undefined;
  /** Takes the body if all of it is here already, without trailers: then {@link body} gives nothing more. */
  readonly takeWhole: () => Buffer | undefined;
  /** Of a body that has ended: whether its connection broke, though the body itself cannot tell. */
  readonly isCut?: () => boolean;
  /** Empty until the body ended. */
  readonly trailers: () => Headers;
  /** Set for 101: raw bytes both ways. */
  readonly upgraded: Duplex | undefined;
}

/** How an attempt failed before its response's head. */
export type AttemptFailure =
  | { readonly kind: 'connect'; readonly error: Error }
  /** The peer says that it has not processed it, or the connection ended before the request could have been. */
  | { readonly kind: 'refused'; readonly error: Error }
  | { readonly kind: 'reset'; readonly error: Error }
  | { readonly kind: 'timeout' }
  | { readonly kind: 'protocol'; readonly error: Error }
  | { readonly kind: 'aborted' };

export class AttemptError extends Error {
  readonly failure: AttemptFailure;

  constructor(failure: AttemptFailure) {
    super('error' in failure ? failure.error.message : failure.kind);
    this.failure = failure;
  }
}

/** A request on its way to an endpoint. */
export interface UpstreamAttempt {
  /** Where the body of the request goes; undefined when it was sent without. */
  readonly body: Writable | undefined;
  /** Rejects with {@link AttemptError}. */
  readonly response: Promise<UpstreamResponse>;
  endBody(trailers: Headers): void;
  /** Gives it up; its connection is not used again where the answer would come by it. {@link response} rejects at once. */
  abort(): void;
  /** Its response is complete: what of the request was not sent yet never will be. */
  complete(): void;
}

export interface AttemptRequest {
  readonly head: Pick<RequestHead, 'method' | 'authority' | 'path' | 'query' | 'protocol'>;
  readonly headers: Headers;
  readonly hasBody: boolean;
  /** Not to be sent on a connection that was idle: the last one broke, and others of its age may have. */
  readonly fresh?: boolean;
  readonly upgrade: string | undefined;
  readonly onInformational: (status: number, headers: Headers) => void;
}

/** Whatever can take requests to one endpoint. */
export interface UpstreamClient {
  request(request: AttemptRequest): UpstreamAttempt;
}
