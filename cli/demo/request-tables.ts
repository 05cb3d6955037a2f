import { type Column, type Line, type Span, span, table } from './layout.ts';
import type { Requests } from './requests.ts';
import type { SplitView } from './splits.ts';
import { durationText, percentText, shortIdentity } from './text.ts';
import type { View } from './view.ts';

/** A count that is bad news above 0. */
function bad(count: number): Span {
  return span(String(count), count > 0 ? 'bad' : 'dim');
}

/** A count of failures that nobody outside of the application noticed. */
function hidden(count: number): Span {
  return span(String(count), count > 0 ? 'warn' : 'dim');
}

/** Who both ends of the way through the waypoint proved to it to be. */
function identities({ sourceIdentities, destinationIdentities, unproved }: Requests): Span {
  const names = (set: ReadonlySet<string>): string => [...set].map(shortIdentity).sort().join('+') || '?';
  const pair = `mTLS  ${names(sourceIdentities)} ⇄ ${names(destinationIdentities)}`;
  return unproved === 0 ? span(pair, 'good') : span(`${pair}, ${unproved} UNPROVED`, 'bad');
}

/** What became of requests through waypoints; nothing where there was none. */
export function requestsTable(view: View, width: number): Line[] {
  const columns: Column<Requests>[] = [
    { head: 'REQUESTS', cell: ({ from, to }) => span(`${from} → ${to}`, 'bold') },
    { head: 'req', align: 'right', cell: ({ count }) => span(String(count)) },
    {
      ...{ head: 'req/s', align: 'right', goes: 1 },
      cell: (each) => span(view.requestRateOf(each).toFixed(1), 'dim'),
    },
    { head: 'app errors', align: 'right', goes: 4, cell: (each) => hidden(each.hidden + each.errors) },
    { head: 'fallback', align: 'right', goes: 3, cell: ({ fallbacks }) => hidden(fallbacks) },
    { head: 'client saw', align: 'right', cell: ({ errors }) => bad(errors) },
    {
      ...{ head: 'time', align: 'right', goes: 2 },
      cell: ({ count, durationMs }) => span(durationText(durationMs / count)),
    },
    { head: 'proved to the waypoint', cell: identities },
  ];
  return view.requests.length === 0 ? [] : table(columns, view.requests, width);
}

/** How routes split requests, as configured and as measured; nothing where no route has several backends. */
export function splitsTable(view: View, width: number): Line[] {
  const columns: Column<SplitView>[] = [
    {
      head: 'SPLIT',
      cell: ({ route, backend }) => span(`${routeName(route, view.splits)} → ${backend}`, 'bold'),
    },
    { head: 'configured', align: 'right', cell: ({ configured }) => share(configured) },
    { head: 'measured', align: 'right', cell: ({ measured }) => share(measured) },
    { head: 'req', align: 'right', goes: 1, cell: ({ count }) => span(String(count)) },
    { head: 'app errors', align: 'right', goes: 2, cell: (each) => hidden(each.hidden + each.errors) },
    { head: 'client saw', align: 'right', goes: 3, cell: ({ errors }) => bad(errors) },
  ];
  return view.splits.length === 0 ? [] : table(columns, view.splits, width);
}

function share(value: number | undefined): Span {
  return value === undefined ? span('-', 'dim') : span(percentText(value));
}

/** `payments` of `HTTPRoute/shop/payments#0`; the number of the rule only where several of a route split. */
function routeName(route: string, all: readonly SplitView[]): string {
  const short = (text: string): string => (text.split('/')[2] ?? text).split('#')[0] ?? text;
  const alone = all.every((other) => other.route === route || short(other.route) !== short(route));
  return alone ? short(route) : (route.split('/')[2] ?? route);
}
