import type { Edge } from './edges.ts';
import { type Column, type Line, type Size, type Span, span, table, wrap } from './layout.ts';
import { bytesText, clockText, durationText, shortIdentity } from './text.ts';
import type { View } from './view.ts';

const EMPTY: Line = [];
const NOTE_INDENT = 3;
/** From this many columns on the first line is shown in full. */
const WIDE = 90;

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

function callsTable(view: View, width: number): Line[] {
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
  const rows = view.edges.filter((edge) => edge.completed + edge.live + edge.errors > 0);
  return rows.length === 0 ? [[span(' no calls yet', 'dim')]] : table(columns, rows, width);
}

function deniedTable(view: View, width: number): Line[] {
  const columns: Column<Edge>[] = [
    { head: 'DENIED', cell: (edge) => span(`${edge.from} ✗ ${edge.to}`, 'bad') },
    { head: 'times', align: 'right', cell: (edge) => span(String(edge.denied + edge.cut)) },
    {
      ...{ head: 'bytes', align: 'right', goes: 1 },
      cell: (edge) => span(bytesText(edge.deniedBytes), edge.deniedBytes > 0 ? 'bad' : 'dim'),
    },
    {
      head: 'by policy',
      cell: (edge) => span([...edge.deniedBy].map(view.policyName).sort().join(', ') || '?', 'accent'),
    },
    // The table is of what was denied: that word alone is no reason.
    { head: 'because', cell: (edge) => span((edge.deniedReason ?? '').replace(/^(denied: )+/, ''), 'dim') },
  ];
  const rows = view.edges.filter((edge) => edge.denied + edge.cut > 0);
  return rows.length === 0 ? [[span(' no call was denied', 'dim')]] : table(columns, rows, width);
}

function podLines(view: View): Line[] {
  const nodes = [...new Set(view.pods.map((pod) => pod.node))].sort();
  return nodes.map((node) => [
    span(` ${node}  `, 'dim'),
    ...view.pods
      .filter((pod) => pod.node === node)
      .flatMap((pod): Span[] => {
        const style =
          !pod.ready || pod.state === 'not verified' ? 'bad' : pod.state === 'outside' ? 'warn' : 'good';
        const note = !pod.ready ? ' (not ready)' : pod.state === 'in the mesh' ? '' : ` (${pod.state})`;
        return [span('● ', style), span(`${pod.name}${note}   `)];
      }),
  ]);
}

/**
 * The whole screen for a view.
 *
 * @param size of the terminal: columns that find no room are left out, long lines are broken, and only as many events
 *   shown as there are lines left; without it nothing is held back
 */
export function screen(view: View, size: Size = { columns: Infinity, rows: Infinity }): Line[] {
  const { columns, rows } = size;
  const lines: Line[] = [
    [
      span(' Loam ', 'bold'),
      span(` a mesh of ${new Set(view.pods.map((pod) => pod.node)).size} nodes and ${view.pods.length} pods`),
      span(
        `   ${clockText(view.elapsedMs)}   Ctrl-C ends it${columns < WIDE ? '' : ' and removes everything'}`,
        'dim',
      ),
    ],
    EMPTY,
    ...podLines(view),
    EMPTY,
    ...callsTable(view, columns),
    EMPTY,
    ...deniedTable(view, columns),
    EMPTY,
  ];
  const note = (...spans: Span[]): void => void lines.push(...wrap(spans, columns, NOTE_INDENT));
  for (const { what, why } of view.problems) note(span(` ! ${what}: `, 'bad'), span(why));
  for (const { what, why } of view.warnings) note(span(` ~ ${what}: `, 'warn'), span(why));
  if (view.problems.length + view.warnings.length > 0) lines.push(EMPTY);
  for (const text of hints(view)) note(span(` ${text}`, 'accent'));
  const room = Math.max(0, Math.min(view.events.length, rows - lines.length - 1));
  if (room > 0) lines.push(EMPTY);
  for (const event of view.events.slice(view.events.length - room))
    lines.push([span(` ${event.at}  `, 'dim'), span(event.text)]);
  return lines;
}

/** What a person may try. */
export function hints(view: Pick<View, 'manifests'>): string[] {
  return [
    `Try it: edit ${view.manifests}/policies/payments.yaml (let auth in, or the frontend out) and save.`,
    `Or set the label in ${view.manifests}/namespace.yaml to none: the pods leave the mesh while they run, and the shop goes on, seen and ruled by nobody.`,
  ];
}
