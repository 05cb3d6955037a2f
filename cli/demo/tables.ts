import type { Edge } from './edges.ts';
import { type Column, type Line, type Span, span, table } from './layout.ts';
import { bytesText, durationText, shortIdentity } from './text.ts';
import type { View } from './view.ts';

/** Who both ends proved to be, judged by the calls of late: one call amid a switch does not speak for all. */
function identityPair(edge: Edge, idle: boolean): Span {
  const names = (set: ReadonlySet<string>): string => [...set].map(shortIdentity).sort().join('+');
  if (idle) return span('idle', 'dim');
  if (edge.recent.length === 0) return span('…', 'dim');
  const inPlaintext = edge.recent.filter((kind) => kind === 'plaintext').length;
  if (inPlaintext * 2 > edge.recent.length) return span(`plaintext (${edge.plaintext})`, 'bad');
  const pair = `mTLS  ${names(edge.sourceIdentities)} ⇄ ${names(edge.destinationIdentities)}`;
  return edge.plaintext === 0 ? span(pair, 'good') : span(`${pair}, ${edge.plaintext} in plaintext`, 'warn');
}

/** The connections, but for those to and from waypoints that are as they should be: requests are shown for them. */
export function callsTable(view: View, width: number): Line[] {
  const columns: Column<Edge>[] = [
    { head: 'CALLS', cell: (edge) => span(`${edge.from} → ${edge.to}`, 'bold') },
    { head: 'conn', align: 'right', cell: (edge) => span(String(edge.completed + edge.live)) },
    { head: 'conn/s', align: 'right', goes: 5, cell: (edge) => span(view.rateOf(edge).toFixed(1), 'dim') },
    { head: 'open', align: 'right', goes: 3, cell: (edge) => span(String(edge.live), 'dim') },
    { head: 'sent', align: 'right', goes: 1, cell: (edge) => span(bytesText(edge.bytesSent)) },
    { head: 'received', align: 'right', goes: 2, cell: (edge) => span(bytesText(edge.bytesReceived)) },
    {
      ...{ head: 'errors', align: 'right', goes: 6 },
      cell: (edge) => span(String(edge.errors), edge.errors > 0 ? 'bad' : 'dim'),
    },
    {
      ...{ head: 'time', align: 'right', goes: 4 },
      cell: (edge) => span(edge.completed > 0 ? durationText(edge.durationMs / edge.completed) : 'stays'),
    },
    { head: 'proved by both ends', cell: (edge) => identityPair(edge, view.idle(edge)) },
  ];
  const rows = view.edges
    .filter((edge) => edge.completed + edge.live + edge.errors > 0)
    .filter((edge) => !view.isHop(edge) || edge.plaintext > 0);
  return rows.length === 0 ? [[span(' no calls yet', 'dim')]] : table(columns, rows, width);
}

/** Connections or requests that were denied. */
interface Denial {
  readonly who: string;
  readonly times: number;
  /** What got through before the denial; must be nothing. */
  readonly leaked: string;
  readonly policies: ReadonlySet<string>;
  readonly reason: string;
}

const NOTHING = bytesText(0);

function denials(view: View): Denial[] {
  const connections = view.edges
    .filter((edge) => edge.denied + edge.cut > 0)
    .map((edge): Denial => ({
      who: `${edge.from} ✗ ${edge.to}`,
      times: edge.denied + edge.cut,
      leaked: bytesText(edge.deniedBytes),
      policies: edge.deniedBy,
      reason: edge.deniedReason ?? '',
    }));
  const requests = view.deniedRequests.map(
    ({ from, to, method, path, times, reached, policies, reason }): Denial => ({
      who: `${from} ✗ ${to} ${method} ${path}`,
      ...{ times, policies, reason: reason ?? '' },
      leaked: reached === 0 ? NOTHING : `${reached} PASSED`,
    }),
  );
  return [...connections, ...requests];
}

export function deniedTable(view: View, width: number): Line[] {
  const columns: Column<Denial>[] = [
    { head: 'DENIED', cell: ({ who }) => span(who, 'bad') },
    { head: 'times', align: 'right', cell: ({ times }) => span(String(times)) },
    {
      ...{ head: 'bytes', align: 'right', goes: 1 },
      cell: ({ leaked }) => span(leaked, leaked === NOTHING ? 'dim' : 'bad'),
    },
    {
      head: 'by policy',
      cell: ({ policies }) => span([...policies].map(view.policyName).sort().join(', ') || '?', 'accent'),
    },
    {
      ...{ head: 'because', goes: 2 },
      // The table is of what was denied: that word alone is no reason.
      cell: ({ reason }) => span(reason.replace(/^(denied: )+/, ''), 'dim'),
    },
  ];
  const rows = denials(view);
  return rows.length === 0 ? [[span(' nothing was denied', 'dim')]] : table(columns, rows, width);
}
