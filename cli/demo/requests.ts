import type { GroupOf } from './edges.ts';
import type { RequestLine } from './request-log.ts';
import { serviceName } from './text.ts';

/** All requests of one party to one Service through a waypoint. */
export interface Requests {
  readonly from: string;
  /** The Service's name; with its namespace where that is not the shop's. */
  readonly to: string;
  /** That were let in, however they ended. */
  count: number;
  /** Sum over them. */
  durationMs: number;
  /** Tries that failed and that the client saw nothing of: a further try or the fallback succeeded. */
  hidden: number;
  /** Answered by the fallback Service. */
  fallbacks: number;
  /** The client got 5xx or no response. */
  errors: number;
  lastError: string | undefined;
  /** As the TLS handshakes with the waypoint proved them; of the one that answers, without a fallback's. */
  sourceIdentities: Set<string>;
  destinationIdentities: Set<string>;
  fallbackIdentities: Set<string>;
  /** Let in without any proof of who asks: must stay 0. */
  unproved: number;
  /** Pods that answered. */
  destinations: Set<string>;
}

/** Requests of one kind that a policy denied. */
export interface DeniedRequests {
  readonly from: string;
  readonly to: string;
  readonly method: string;
  readonly path: string;
  times: number;
  /** That a policy denied and that reached an endpoint all the same: must stay 0. */
  reached: number;
  policies: Set<string>;
  reason: string | undefined;
}

/** What a rule of a route sent to one of its backends. */
export interface Share {
  /** `HTTPRoute/namespace/name#rule` */
  readonly route: string;
  /** Name of the Service. */
  readonly backend: string;
  count: number;
  /** Tries there that failed and were hidden by others. */
  hidden: number;
  errors: number;
}

/** A denial, as response flags have it: by an AuthorizationPolicy, or for want of a valid token. */
const DENIED_FLAGS = ['DENY', 'JWT'];
/** Denials differ by path, which a client chooses: so many kinds are told apart, the rest is counted as one. */
const MAX_DENIED_KINDS = 32;

/** Adds up what the waypoints tell of requests. */
export class RequestBook {
  readonly #requests = new Map<string, Requests>();
  readonly #denied = new Map<string, DeniedRequests>();
  readonly #shares = new Map<string, Share>();
  readonly #groupOf: GroupOf;

  constructor(groupOf: GroupOf) {
    this.#groupOf = groupOf;
  }

  add(line: RequestLine): void {
    const from = line.source === undefined ? 'unknown' : this.#groupOf(line.source);
    const to = serviceName(line.service) ?? 'unknown';
    if (line.flags.some((flag) => DENIED_FLAGS.includes(flag))) {
      addDenied(this.#deniedKind(from, to, line), line);
      return;
    }
    addRequest(
      valueOf(this.#requests, `${from} ${to}`, () => newRequests(from, to)),
      line,
    );
    // What the fallback answered says nothing of how the route splits.
    if (line.route === undefined || line.fallback) return;
    const { route } = line;
    const backend = serviceName(line.backend) ?? to;
    const share = valueOf(this.#shares, `${route} ${backend}`, () => {
      return { route, backend, count: 0, hidden: 0, errors: 0 };
    });
    share.count += 1;
    share.hidden += hiddenTries(line);
    if (isError(line)) share.errors += 1;
  }

  /** Sorted by name. */
  requests(): Requests[] {
    return sorted([...this.#requests.values()], ({ from, to }) => `${from} ${to}`);
  }

  denied(): DeniedRequests[] {
    return sorted([...this.#denied.values()], ({ from, to, path }) => `${from} ${to} ${path}`);
  }

  shares(): Share[] {
    return sorted([...this.#shares.values()], ({ route, backend }) => `${route} ${backend}`);
  }

  /** Begins to count a route's shares anew: its weights are others now. */
  forgetShares(route: string): void {
    for (const [key, share] of this.#shares) if (share.route === route) this.#shares.delete(key);
  }

  #deniedKind(from: string, to: string, { method, path }: RequestLine): DeniedRequests {
    const key = `${from} ${to} ${method} ${path}`;
    const known = this.#denied.has(key) || this.#denied.size < MAX_DENIED_KINDS;
    const kind = known ? { method, path } : { method: 'many', path: '…' };
    return valueOf(this.#denied, known ? key : `${from} ${to}`, () => ({
      ...{ from, to, ...kind, times: 0, reached: 0, policies: new Set<string>(), reason: undefined },
    }));
  }
}

function newRequests(from: string, to: string): Requests {
  return {
    ...{ from, to, count: 0, durationMs: 0, hidden: 0, fallbacks: 0, errors: 0, lastError: undefined },
    ...{ sourceIdentities: new Set(), destinationIdentities: new Set(), fallbackIdentities: new Set() },
    ...{ unproved: 0, destinations: new Set() },
  };
}

function addRequest(requests: Requests, line: RequestLine): void {
  requests.count += 1;
  requests.durationMs += line.durationMs;
  requests.hidden += hiddenTries(line);
  if (line.fallback) requests.fallbacks += 1;
  if (isError(line)) {
    requests.errors += 1;
    requests.lastError = [line.status, line.flags.join(','), line.error].filter(Boolean).join(' ');
  }
  if (line.sourceIdentity === undefined) requests.unproved += 1;
  else requests.sourceIdentities.add(line.sourceIdentity);
  if (line.destinationIdentity !== undefined)
    (line.fallback ? requests.fallbackIdentities : requests.destinationIdentities).add(
      line.destinationIdentity,
    );
  if (line.destination !== undefined && !isError(line)) requests.destinations.add(line.destination);
}

function addDenied(denied: DeniedRequests, line: RequestLine): void {
  denied.times += 1;
  if (line.attempts > 0) denied.reached += 1;
  if (line.policy !== undefined) denied.policies.add(line.policy);
  denied.reason = line.error ?? denied.reason;
}

function isError({ status }: RequestLine): boolean {
  return status === 0 || status >= 500;
}

/** Every try but the last failed; where the client got an error, the last one did too, and was not hidden. */
function hiddenTries(line: RequestLine): number {
  return isError(line) ? 0 : Math.max(0, line.attempts - 1);
}

function valueOf<T>(map: Map<string, T>, key: string, make: () => T): T {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = make();
  map.set(key, made);
  return made;
}

function sorted<T>(values: T[], key: (value: T) => string): T[] {
  return values.sort((a, b) => (key(a) < key(b) ? -1 : 1));
}
