import { spiffeUri } from '../../lib/spiffe.ts';
import { OUTSIDE, type Edge } from './edges.ts';

/** What the shop's manifests say about the connections of one caller and one called. */
export type Expectation =
  | { readonly kind: 'allowed'; readonly from: string; readonly to: string; readonly pods: readonly string[] }
  | { readonly kind: 'denied'; readonly from: string; readonly to: string; readonly policy: string }
  /** Refused on the caller's own node, before anything was dialled. */
  | { readonly kind: 'refused'; readonly from: string; readonly to: string; readonly policy: string }
  /** To or from the waypoint; `mayFail`: the called is not always there, which the waypoint makes up for. */
  | { readonly kind: 'hop'; readonly from: string; readonly to: string; readonly mayFail: boolean };

const hop = (from: string, to: string, mayFail = false): Expectation => ({ kind: 'hop', from, to, mayFail });

/** The shop as it is in deploy/examples/shop. What becomes of its requests: request-expectations.ts. */
export const SHOP: readonly Expectation[] = [
  hop('frontend', 'waypoint'),
  hop('auth', 'waypoint'),
  hop('payments', 'waypoint'),
  hop('waypoint', 'auth', true),
  hop('waypoint', 'auth-fallback'),
  hop('waypoint', 'payments'),
  hop('waypoint', 'backend'),
  { kind: 'allowed', from: 'backend', to: 'db', pods: ['shop/db'] },
  hop('kiosk/frontend', 'waypoint'),
  ...['backend', 'db', 'kiosk/printer', OUTSIDE].map((to): Expectation => ({
    kind: 'refused',
    from: 'kiosk/frontend',
    to,
    policy: 'kiosk/frontend-only-payments',
  })),
  { kind: 'denied', from: 'frontend', to: 'db', policy: 'shop/database-only-from-backend' },
];

const SHOP_NAMESPACE = 'shop';
const TRUST_DOMAIN = 'cluster.local';

/** The identity of an account of the shop, or of `namespace/account`. */
export function shopIdentity(name: string): string {
  const [serviceAccount = name, namespace = SHOP_NAMESPACE] = name.split('/').reverse();
  return spiffeUri({ trustDomain: TRUST_DOMAIN, namespace, serviceAccount });
}

/** Whether the set has the value and nothing else. */
export function only(set: ReadonlySet<string>, value: string): boolean {
  return set.size === 1 && set.has(value);
}

/** For a message. */
export function listed(set: ReadonlySet<string>): string {
  return set.size === 0 ? 'none' : [...set].sort().join(', ');
}

/** What of an edge is not as expected; nothing when all is right. */
function wrongWith(expected: Expectation, edge: Edge | undefined): string[] {
  const name = `${expected.from} → ${expected.to}`;
  if (edge === undefined) return [`${name}: no call was seen`];
  const wrong: string[] = [];
  const check = (good: boolean, text: string): void => {
    if (!good) wrong.push(`${name}: ${text}`);
  };
  if (expected.kind === 'refused') {
    checkDenied(edge, expected.policy, check);
    return wrong;
  }
  check(edge.mutualTls > 0, 'no connection with mutual TLS was seen');
  const plaintext = edge.plaintext + edge.deniedPlaintext;
  check(plaintext === 0, `${plaintext} connections came in plaintext`);
  const [source, destination] = [shopIdentity(expected.from), shopIdentity(expected.to)];
  check(
    only(edge.sourceIdentities, source),
    `caller proved to be ${listed(edge.sourceIdentities)}, not ${source}`,
  );
  check(
    only(edge.destinationIdentities, destination),
    `called proved to be ${listed(edge.destinationIdentities)}, not ${destination}`,
  );
  if (expected.kind !== 'denied') {
    const mayFail = expected.kind === 'hop' && expected.mayFail;
    check(edge.completed + edge.live > 0, 'no call got through');
    check(edge.bytesSent > 0 && edge.bytesReceived > 0, 'no bytes passed');
    check(mayFail || edge.errors === 0, `${edge.errors} errors, the last: ${edge.lastError ?? ''}`);
    check(edge.denied + edge.cut === 0, `${edge.denied + edge.cut} denied by ${listed(edge.deniedBy)}`);
    const pods = expected.kind === 'hop' ? [] : expected.pods;
    for (const pod of pods) check(edge.destinations.has(pod), `${pod} was never called`);
  } else checkDenied(edge, expected.policy, check);
  return wrong;
}

/** Nothing got through, and this policy is why. */
function checkDenied(edge: Edge, policy: string, check: (good: boolean, text: string) => void): void {
  check(edge.denied > 0, 'was never denied');
  check(edge.completed + edge.live === 0, `${edge.completed + edge.live} calls got through`);
  check(edge.deniedBytes === 0, `${edge.deniedBytes} bytes passed before the denial`);
  check(only(edge.deniedBy, policy), `denied by ${listed(edge.deniedBy)}, expected ${policy}`);
}

/** All that is not as the shop's own manifests say, calls that nobody expects included. */
export function findWrong(edges: readonly Edge[], expectations: readonly Expectation[] = SHOP): string[] {
  const find = (from: string, to: string): Edge | undefined =>
    edges.find((edge) => edge.from === from && edge.to === to);
  const wrong = expectations.flatMap((expected) => wrongWith(expected, find(expected.from, expected.to)));
  for (const { from, to } of edges) {
    if (!expectations.some((expected) => expected.from === from && expected.to === to))
      wrong.push(`${from} → ${to}: nobody expects this call`);
  }
  return wrong;
}
