import type { Outcome } from '../resilience/outcome.ts';
import type { LocalReply } from './local-reply.ts';

/** What the client gets when no endpoint gave a response. */
export function failureReply(outcome: Outcome): LocalReply {
  switch (outcome.kind) {
    case 'no-endpoint':
      return { status: 503, text: 'no healthy endpoint', flags: ['UH'] };
    case 'circuit-open':
      return { status: 503, text: 'too many requests at once', flags: ['UO'] };
    case 'connect-failure':
      return { status: 503, text: 'no connection to an endpoint', flags: ['UF'] };
    case 'refused-stream':
      return { status: 503, text: 'the endpoint refused the request', flags: ['UR'] };
    case 'reset':
      return { status: 503, text: 'the endpoint closed the connection', flags: ['UC'] };
    case 'protocol-error':
      return { status: 502, text: 'the endpoint broke the protocol', flags: ['UPE'] };
    case 'try-timeout':
      return { status: 504, text: 'the endpoint did not answer in time', flags: ['UT'] };
    case 'request-timeout':
      return { status: 504, text: 'the request took too long', flags: ['DT'] };
    case 'client-gone':
      return { status: 499, text: '', flags: ['DC'] };
    case 'status':
      return { status: outcome.status, text: '', flags: [] };
    case 'grpc-status':
      return { status: 200, text: '', flags: [], grpcStatus: outcome.grpcStatus };
  }
}
