import { bytesText, clockText, durationText, shortIdentity } from './text.ts';
import type { Edge } from './edges.ts';
import type { View } from './view.ts';

/** Plain ANSI (ECMA-48) colours, which every terminal has. */
export type Style = 'plain' | 'bold' | 'dim' | 'good' | 'bad' | 'warn' | 'accent';

/** A piece of a line in one style. A screen is data until terminal.ts paints it. */
export interface Span {
  readonly text: string;
  readonly style: Style;
}

export type Line = readonly Span[];

const span = (text: string, style: Style = 'plain'): Span => ({ text, style });
const EMPTY: Line = [];

type Cell = Span & { readonly align?: 'right' };

/** Lays out cells in columns; the last column is not padded. */
function table(rows: readonly (readonly Cell[])[]): Line[] {
  const widths: number[] = [];
  for (const row of rows)
    row.forEach(({ text }, i) => (widths[i] = Math.max(widths[i] ?? 0, [...text].length)));
  return rows.map((row) => [
    span(' '),
    ...row.flatMap((cell, i): Span[] => {
      const padding = ' '.repeat((widths[i] ?? 0) - [...cell.text].length);
      const last = i === row.length - 1;
      const text = cell.align === 'right' ? padding + cell.text : last ? cell.text : cell.text + padding;
      return [span(text, cell.style), span('  ')];
    }),
  ]);
}

function identityPair(edge: Edge): Cell {
  const names = (set: ReadonlySet<string>): string => [...set].map(shortIdentity).sort().join('+');
  if (edge.plaintext > 0) return span(`plaintext (${edge.plaintext})`, 'bad');
  if (edge.mutualTls === 0) return span('…', 'dim');
  return span(`mTLS  ${names(edge.sourceIdentities)} ⇄ ${names(edge.destinationIdentities)}`, 'good');
}

function callsTable(view: View): Line[] {
  const header = [
    'CALLS',
    'conn',
    'conn/s',
    'open',
    'sent',
    'received',
    'errors',
    'time',
    'proved by both ends',
  ];
  const rows = view.edges
    .filter((edge) => edge.completed + edge.live + edge.errors > 0)
    .map((edge): Cell[] => [
      span(`${edge.from} → ${edge.to}`, 'bold'),
      { ...span(String(edge.completed + edge.live)), align: 'right' },
      { ...span(view.rateOf(edge).toFixed(1), 'dim'), align: 'right' },
      { ...span(String(edge.live), 'dim'), align: 'right' },
      { ...span(bytesText(edge.bytesSent)), align: 'right' },
      { ...span(bytesText(edge.bytesReceived)), align: 'right' },
      { ...span(String(edge.errors), edge.errors > 0 ? 'bad' : 'dim'), align: 'right' },
      {
        ...span(edge.completed > 0 ? durationText(edge.durationMs / edge.completed) : 'stays'),
        align: 'right',
      },
      identityPair(edge),
    ]);
  if (rows.length === 0) return [[span(' no calls yet', 'dim')]];
  const head = header.map((text, i): Cell => ({
    ...span(text, 'dim'),
    ...(i > 0 && i < 8 ? { align: 'right' as const } : {}),
  }));
  return table([head, ...rows]);
}

function deniedTable(view: View): Line[] {
  const denied = view.edges.filter((edge) => edge.denied + edge.cut > 0);
  if (denied.length === 0) return [[span(' no call was denied', 'dim')]];
  const head = ['DENIED', 'times', 'bytes', 'by policy', 'because'].map((text): Cell => span(text, 'dim'));
  return table([
    head,
    ...denied.map((edge): Cell[] => [
      span(`${edge.from} ✗ ${edge.to}`, 'bad'),
      { ...span(String(edge.denied + edge.cut)), align: 'right' },
      { ...span(bytesText(edge.deniedBytes), edge.deniedBytes > 0 ? 'bad' : 'dim'), align: 'right' },
      span([...edge.deniedBy].sort().join(', ') || '?', 'accent'),
      span(edge.deniedReason ?? '', 'dim'),
    ]),
  ]);
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

/** The whole screen for a view, to be cut to the terminal's size by whoever paints it. */
export function screen(view: View): Line[] {
  const lines: Line[] = [
    [
      span(' Loam ', 'bold'),
      span(` a mesh of ${new Set(view.pods.map((pod) => pod.node)).size} nodes and ${view.pods.length} pods`),
      span(`   ${clockText(view.elapsedMs)}   Ctrl-C ends it and removes everything`, 'dim'),
    ],
    EMPTY,
    ...podLines(view),
    EMPTY,
    ...callsTable(view),
    EMPTY,
    ...deniedTable(view),
    EMPTY,
  ];
  for (const { what, why } of view.problems) lines.push([span(` ! ${what}: `, 'bad'), span(why)]);
  if (view.problems.length > 0) lines.push(EMPTY);
  lines.push(...hints(view).map((text): Line => [span(` ${text}`, 'accent')]));
  if (view.events.length > 0) lines.push(EMPTY);
  for (const event of view.events) lines.push([span(` ${event.at}  `, 'dim'), span(event.text)]);
  return lines;
}

/** What a person may try. */
export function hints(view: Pick<View, 'manifests'>): string[] {
  return [
    `Try it: edit ${view.manifests}/policies/payments.yaml (let auth in, or the frontend out) and save.`,
    `Or set the label in ${view.manifests}/namespace.yaml to none: the pods leave the mesh while they run.`,
  ];
}
