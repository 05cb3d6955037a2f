import { listed, only, shopIdentity } from './expectations.ts';
import type { DeniedRequests, Requests } from './requests.ts';
import { percentText } from './text.ts';
import { plausible, type SplitView } from './splits.ts';

/** What the shop's manifests say about the requests of one caller to one Service. */
export interface RequestExpectation {
  readonly from: string;
  readonly to: string;
  /** Pods that must have answered. */
  readonly pods: readonly string[];
  /** The account of the fallback, where there is one that must have answered. */
  readonly fallback?: string;
}

/** Requests that must have been denied, by which policy. */
export interface DenialExpectation {
  readonly from: string;
  readonly to: string;
  readonly request: string;
  readonly policy: string;
}

export interface SplitExpectation {
  readonly route: string;
  /** 0 to 1, by Service. */
  readonly shares: Readonly<Record<string, number>>;
  /** The Service whose failures must have been hidden. */
  readonly failing: string;
}

export interface RequestExpectations {
  readonly requests: readonly RequestExpectation[];
  readonly denials: readonly DenialExpectation[];
  readonly splits: readonly SplitExpectation[];
}

const POLICY = 'shop/payments-only-charges';

/** The shop as it is in deploy/examples/shop. */
export const SHOP_REQUESTS: RequestExpectations = {
  requests: [
    { from: 'frontend', to: 'auth', pods: ['shop/auth', 'shop/auth-fallback'], fallback: 'auth-fallback' },
    {
      from: 'frontend',
      to: 'payments',
      pods: ['shop/payments-v1-1', 'shop/payments-v1-2', 'shop/payments-v2'],
    },
    { from: 'payments', to: 'backend', pods: ['shop/backend'] },
    { from: 'kiosk/frontend', to: 'payments', pods: [] },
  ],
  denials: [
    { from: 'auth', to: 'payments', request: 'POST /charge', policy: POLICY },
    { from: 'frontend', to: 'payments', request: 'GET /charges', policy: POLICY },
  ],
  splits: [
    {
      route: 'HTTPRoute/shop/payments#0',
      shares: { 'payments-v1': 0.9, 'payments-v2': 0.1 },
      failing: 'payments-v2',
    },
  ],
};

/** With fewer requests a split says nothing. */
const MIN_REQUESTS = 50;
/** Configured weights are whole numbers: what differs by less is rounding. */
const EQUAL = 1e-9;

/** What was seen of requests. */
export interface RequestsSeen {
  readonly requests: readonly Requests[];
  readonly denied: readonly DeniedRequests[];
  readonly splits: readonly SplitView[];
}

/** All that is not as the shop's own manifests say of requests, those that nobody expects included. */
export function findWrongRequests(
  seen: RequestsSeen,
  expected: RequestExpectations = SHOP_REQUESTS,
): string[] {
  const wrong = [
    ...expected.requests.flatMap((each) => wrongRequests(each, seen.requests)),
    ...expected.denials.flatMap((each) => wrongDenials(each, seen.denied)),
    ...expected.splits.flatMap((each) => wrongSplit(each, seen.splits)),
  ];
  for (const { from, to, count } of seen.requests)
    if (!expected.requests.some((each) => each.from === from && each.to === to))
      wrong.push(`${from} → ${to}: ${count} requests got through, and none should`);
  for (const { from, to, method, path, times, policies } of seen.denied) {
    const request = `${method} ${path}`;
    if (!expected.denials.some((d) => d.from === from && d.to === to && d.request === request))
      wrong.push(`${from} → ${to}: ${request} was denied ${times} times by ${listed(policies)}`);
  }
  return wrong;
}

function wrongRequests(expected: RequestExpectation, all: readonly Requests[]): string[] {
  const name = `${expected.from} → ${expected.to}`;
  const found = all.find(({ from, to }) => from === expected.from && to === expected.to);
  if (found === undefined) return [`${name}: no request was seen`];
  const wrong: string[] = [];
  const check = (good: boolean, text: string): void => {
    if (!good) wrong.push(`${name}: ${text}`);
  };
  check(found.errors === 0, `the client saw ${found.errors} errors, the last: ${found.lastError ?? ''}`);
  check(found.unproved === 0, `${found.unproved} requests came without a proof of who asks`);
  const proved = (what: string, identities: ReadonlySet<string>, account: string): void => {
    const wanted = shopIdentity(account);
    check(only(identities, wanted), `${what} proved to be ${listed(identities)}, not ${wanted}`);
  };
  proved('caller', found.sourceIdentities, expected.from);
  proved('called', found.destinationIdentities, expected.to);
  if (expected.fallback === undefined)
    check(found.fallbacks === 0, `${found.fallbacks} were answered by a fallback`);
  else {
    check(found.fallbacks > 0, 'the fallback never answered');
    proved('fallback', found.fallbackIdentities, expected.fallback);
  }
  for (const pod of expected.pods) check(found.destinations.has(pod), `${pod} never answered`);
  return wrong;
}

function wrongDenials(expected: DenialExpectation, all: readonly DeniedRequests[]): string[] {
  const { from, to, request, policy } = expected;
  const name = `${from} → ${to}: ${request}`;
  const found = all.find((d) => d.from === from && d.to === to && `${d.method} ${d.path}` === request);
  if (found === undefined) return [`${name} was never denied`];
  const wrong: string[] = [];
  if (found.reached > 0) wrong.push(`${name} reached an endpoint ${found.reached} times before the denial`);
  if (!only(found.policies, policy))
    wrong.push(`${name} was denied by ${listed(found.policies)}, expected ${policy}`);
  return wrong;
}

function wrongSplit(expected: SplitExpectation, all: readonly SplitView[]): string[] {
  const { route, shares, failing } = expected;
  const own = all.filter((split) => split.route === route);
  const total = own.reduce((sum, { count }) => sum + count, 0);
  if (total < MIN_REQUESTS)
    return [`${route}: ${total} requests were counted, and ${MIN_REQUESTS} are needed to judge the split`];
  const wrong: string[] = [];
  for (const { backend, configured = 0, count } of own) {
    const share = shares[backend] ?? 0;
    if (Math.abs(configured - share) > EQUAL)
      wrong.push(
        `${route}: ${backend} is configured to get ${percentText(configured)}, not ${percentText(share)}`,
      );
    if (!plausible(count, total, share))
      wrong.push(
        `${route}: ${backend} got ${count} of ${total} requests, which is not ${percentText(share)}`,
      );
  }
  for (const backend of Object.keys(shares))
    if (!own.some((split) => split.backend === backend))
      wrong.push(`${route}: ${backend} is no backend of it`);
  if (!own.some(({ backend, hidden }) => backend === failing && hidden > 0))
    wrong.push(`${route}: no failure of ${failing} was hidden by a retry`);
  return wrong;
}
