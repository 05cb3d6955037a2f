import type { Graph, GraphEdge } from '../../lib/flow/view.ts';
import { bytesText, durationText, percentText } from '../demo/text.ts';
import type { Colours } from '../output/colours.ts';
import { tableLines } from '../output/table.ts';

export const SORTS = ['rate', 'failed', 'denied', 'p95', 'bytes'] as const;
export type Sort = (typeof SORTS)[number];

/** Edges with the greatest first. */
export function sortedEdges(edges: readonly GraphEdge[], by: Sort): GraphEdge[] {
  return [...edges].sort((a, b) => valueOf(b, by) - valueOf(a, by) || (nameOf(a) < nameOf(b) ? -1 : 1));
}

/** Those with a namespace at either end; all, where none is given. */
export function edgesIn(edges: readonly GraphEdge[], namespace?: string): readonly GraphEdge[] {
  if (namespace === undefined) return edges;
  return edges.filter(({ from, to }) => [from, to].some((id) => id.startsWith(`${namespace}/`)));
}

function valueOf(edge: GraphEdge, by: Sort): number {
  switch (by) {
    case 'rate':
      return edge.rate;
    case 'failed':
      return edge.failed;
    case 'denied':
      return edge.denied;
    case 'p95':
      return edge.p95 ?? -1;
    case 'bytes':
      return edge.up + edge.down;
  }
}

function nameOf({ from, to }: GraphEdge): string {
  return `${from}\n${to}`;
}

/** Who calls whom in a table. */
export function edgeLines(edges: readonly GraphEdge[], colours: Colours): string[] {
  if (edges.length === 0) return ['Nothing was seen.'];
  const head = [
    'FROM',
    'TO',
    'BY',
    'OF',
    'PER S',
    'SUCCESS',
    'DENIED',
    'P50',
    'P95',
    'P99',
    'OPEN',
    'UP/S',
    'DOWN/S',
    // Of observed edges alone.
    ...(edges.some(({ observed }) => observed !== undefined) ? ['RTT P50', 'RETRANS'] : []),
  ];
  const rows = edges.map((edge) => [
    edge.from,
    `${edge.to}${edge.via.length > 0 ? colours.dim(` via ${edge.via.join(', ')}`) : ''}`,
    mtlsText(edge, colours),
    edge.of === 'requests' ? 'req' : 'conn',
    edge.rate.toFixed(1),
    edge.success === undefined
      ? ''
      : (edge.success >= 1 ? colours.good : colours.bad)(percentText(edge.success)),
    edge.denied === 0 ? '' : colours.bad(String(edge.denied)),
    ...[edge.p50, edge.p95, edge.p99].map((ms) => (ms === undefined ? '' : durationText(ms))),
    String(edge.active),
    bytesText(edge.up),
    bytesText(edge.down),
    ...(edge.observed === undefined
      ? []
      : [
          edge.observed.rtt50 === undefined ? '' : durationText(edge.observed.rtt50),
          String(edge.observed.retransmits),
        ]),
  ]);
  return tableLines([head.map((name) => colours.dim(name)), ...rows], [4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]);
}

function mtlsText({ mtls, observed }: GraphEdge, { good, odd, dim }: Colours): string {
  if (observed !== undefined && (mtls ?? 0) <= 0) return dim('observed');
  if (mtls === undefined) return '';
  if (mtls >= 1) return good('mTLS');
  return odd(mtls <= 0 ? 'plain' : `${percentText(mtls)} mTLS`);
}

/** The graph for Graphviz. */
export function dotLines({ edges }: Graph): string[] {
  return [
    'digraph mesh {',
    '  rankdir=LR;',
    ...edges.map((edge) => {
      const label = `${edge.rate.toFixed(1)}/s${edge.denied > 0 ? `, ${edge.denied} denied` : ''}`;
      const style = isDeniedOnly(edge)
        ? ', style=dashed, color=red'
        : (edge.mtls ?? 1) < 1
          ? ', color=orange'
          : '';
      return `  ${JSON.stringify(edge.from)} -> ${JSON.stringify(edge.to)} [label=${JSON.stringify(label)}${style}];`;
    }),
    '}',
  ];
}

/** The graph for Mermaid, as Markdown of code hosts shows it. */
export function mermaidLines({ edges }: Graph): string[] {
  const ids = new Map<string, string>();
  const id = (name: string): string => {
    if (!ids.has(name)) ids.set(name, `n${ids.size}`);
    return ids.get(name) ?? '';
  };
  const arrows = edges.map((edge) => {
    const label = `${edge.rate.toFixed(1)}/s${edge.denied > 0 ? `, ${edge.denied} denied` : ''}`;
    return `  ${id(edge.from)} ${isDeniedOnly(edge) ? '-.->' : '-->'}|"${label}"| ${id(edge.to)}`;
  });
  return ['graph LR', ...[...ids].map(([name, own]) => `  ${own}["${name.replaceAll('"', '')}"]`), ...arrows];
}

function isDeniedOnly({ denied, ended, active }: GraphEdge): boolean {
  return denied > 0 && denied === ended && active === 0;
}
