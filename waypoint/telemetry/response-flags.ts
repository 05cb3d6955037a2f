/**
 * Why a response is not simply the application's: Envoy's short words where it has one, so that dashboards and habits
 * carry over; docs/response-flags.md tells what to do about each.
 */
export const RESPONSE_FLAGS = {
  DENY: 'an AuthorizationPolicy denied the request (403)',
  JWT: 'the request brought a token that is not valid (401), or whose keys are missing (503)',
  NR: 'no route matches, or the route has no backend (404; 500 where a backend reference is wrong)',
  NC: 'the Service is not known or has no such port (503)',
  UH: 'no healthy endpoint (503)',
  UF: 'no connection to an endpoint could be made (503)',
  UO: 'a circuit breaker is open (503)',
  UC: 'the endpoint closed the connection before a complete response (503, or a reset)',
  UR: 'the endpoint reset the stream (503, or a reset)',
  UT: 'the endpoint did not answer in time (504)',
  UPE: 'the endpoint broke the protocol (502)',
  URX: 'all retries were used up',
  RL: 'a rate limit refused the request (429)',
  FI: 'an abort was injected',
  DI: 'a delay was injected',
  FB: 'the fallback service answered',
  DC: 'the client went away',
  DPE: 'the client broke the protocol (400)',
  DT: 'the whole request took longer than its time (504)',
  SI: 'the stream was idle for too long (408 or a reset)',
  OM: 'the waypoint is overloaded (503)',
} as const;

export type WaypointFlag = keyof typeof RESPONSE_FLAGS;
