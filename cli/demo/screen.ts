import { type Line, type Size, type Span, span, wrap } from './layout.ts';
import { callsTable, deniedTable } from './tables.ts';
import { requestsTable, splitsTable } from './request-tables.ts';
import { clockText } from './text.ts';
import type { View } from './view.ts';

const EMPTY: Line = [];
const NOTE_INDENT = 3;
/** From this many columns on the first line is shown in full. */
const WIDE = 90;

function podLines(view: View): Line[] {
  const nodes = [...new Set([...view.pods, ...view.waypoints].map(({ node }) => node))].sort();
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
    ...view.waypoints
      .filter((waypoint) => waypoint.node === node)
      .flatMap(({ name, ready }): Span[] => [
        span('◆ ', ready ? 'good' : 'bad'),
        span(`${name}${ready ? '' : ' (not ready)'}   `),
      ]),
  ]);
}

/** A table with an empty line below, where there is one. */
function block(lines: readonly Line[]): readonly Line[] {
  return lines.length === 0 ? [] : [...lines, EMPTY];
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
    ...block(requestsTable(view, columns)),
    ...block(splitsTable(view, columns)),
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
    `Try it: edit ${view.manifests}/routes/payments.yaml (the weights) or policies/payments.yaml (let auth in) and save.`,
    `Or set the label in ${view.manifests}/namespace.yaml to none: the pods leave the mesh while they run, and the shop goes on, seen and ruled by nobody.`,
  ];
}
