import { ms, percent, rate } from '../format.ts';
import type { GraphEdge, GraphNode } from '../types.ts';
import { curveOf, type Curve } from './geometry.ts';
import { healthOf, type Health } from './health.ts';
import type { Box, Layout } from './layout.ts';

/** An edge as far as it is drawn; small, since it goes to the worker with every news. */
export interface DrawnEdge {
  readonly from: string;
  readonly to: string;
  readonly curve: Curve;
  /** Left, top, right, bottom of all that the curve touches. */
  readonly reach: readonly [number, number, number, number];
  readonly health: Health;
  readonly rate: number;
  readonly label: string;
  /** More than half of it is mutual TLS. */
  readonly secure: boolean;
  /** A waypoint reads it. */
  readonly waypoint: boolean;
}

export interface DrawnNode {
  readonly id: string;
  readonly x: number;
  readonly y: number;
  readonly kind: GraphNode['kind'];
  readonly health: Health;
  /** Success, 0 to 1. */
  readonly share: number;
  readonly name: string;
  readonly facts: string;
  readonly waypoint: boolean;
}

export interface Drawn {
  readonly edges: readonly DrawnEdge[];
  readonly nodes: readonly DrawnNode[];
  readonly groups: readonly (Box & { readonly name: string })[];
}

/** What of the graph is looked at: a node with its edges, or one edge. */
export type Focus = { readonly node: string } | { readonly from: string; readonly to: string };

export function isInFocus(
  focus: Focus,
  { from, to }: { readonly from: string; readonly to: string },
): boolean {
  return 'node' in focus ? from === focus.node || to === focus.node : from === focus.from && to === focus.to;
}

export function drawnOf(nodes: readonly GraphNode[], edges: readonly GraphEdge[], layout: Layout): Drawn {
  const callers = new Set(edges.map(({ from }) => from));
  return {
    edges: edges.flatMap((edge) => {
      const [from, to] = [layout.nodes[edge.from], layout.nodes[edge.to]];
      return from === undefined || to === undefined ? [] : [drawnEdge(edge, curveOf(from, to, layout.down))];
    }),
    nodes: nodes.flatMap((node): DrawnNode[] => {
      const at = layout.nodes[node.id];
      if (at === undefined) return [];
      const { id, kind, name, inbound } = node;
      return [
        {
          ...{ id, kind, name, x: at.x, y: at.y, health: healthOf(inbound), share: inbound?.success ?? 1 },
          facts: factsOf(node, callers.has(id)),
          waypoint: node.waypoint !== undefined,
        },
      ];
    }),
    groups: Object.entries(layout.groups).map(([name, box]) => ({ name, ...box })),
  };
}

function drawnEdge(edge: GraphEdge, curve: Curve): DrawnEdge {
  const xs = curve.map(({ x }) => x);
  const ys = curve.map(({ y }) => y);
  const { from, to } = edge;
  return {
    ...{ from, to, curve, health: healthOf(edge), rate: edge.rate, label: labelText(edge) },
    reach: [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)],
    secure: (edge.mtls ?? 1) >= 0.5,
    waypoint: edge.of === 'requests',
  };
}

/** What stands on an edge beside its signs: rate and p50. */
function labelText(edge: GraphEdge): string {
  const health = healthOf(edge);
  if (health === 'idle') return '';
  if (health === 'denied') return `denied ${rate(edge.rate)}`;
  const parts = [rate(edge.rate)];
  if (edge.p50 !== undefined) parts.push(ms(edge.p50));
  return parts.join(' · ');
}

/** The second line of a card. */
export function factsOf({ inbound, versions, kind }: GraphNode, calls: boolean): string {
  if (kind === 'outside')
    return inbound === undefined ? 'outside the mesh' : `outside · ${rate(inbound.rate)}`;
  if (inbound === undefined || (inbound.ended === 0 && inbound.active === 0))
    return versions.length > 0 ? versions.join(', ') : calls ? 'calls others' : 'nothing lately';
  const share = inbound.success === undefined ? 'all denied' : percent(inbound.success);
  return `${rate(inbound.rate)} · ${share}`;
}
