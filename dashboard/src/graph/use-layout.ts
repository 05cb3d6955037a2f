import { useEffect, useRef, useState } from 'preact/hooks';
import type { GraphEdge, GraphNode } from '../types.ts';
import { onWorker, tellWorker } from './graph-worker.ts';
import { layOut, type Layout, type LayoutInput } from './layout.ts';

/** So few are laid out at once, in less time than a worker takes to start. */
const AT_ONCE = 80;

let lastId = 0;

/** The layout of nodes and edges, made anew only when there are others. */
export function useLayout(nodes: readonly GraphNode[], edges: readonly GraphEdge[]): Layout | undefined {
  const [layout, setLayout] = useState<Layout | undefined>(undefined);
  const known = useRef('');
  // A call that pauses keeps its place: nothing jumps because nobody called for a minute.
  const everSeen = useRef(new Map<string, readonly [string, string]>());
  for (const { from, to } of edges) everSeen.current.set(`${from}\n${to}`, [from, to]);
  const ids = new Set(nodes.map(({ id }) => id));
  // By the window and not by the graph's place, which a panel changes at each click.
  const aspect = matchMedia('(max-width: 760px)').matches ? 0.55 : 1.8;
  const input: LayoutInput = {
    aspect,
    nodes: nodes.map(({ id, namespace }) => ({ id, group: namespace })),
    edges: [...everSeen.current.values()].filter(([from, to]) => ids.has(from) && ids.has(to)),
  };
  const form = JSON.stringify([
    aspect,
    input.nodes.map(({ id }) => id).sort(),
    input.edges.map((edge) => edge.join('\n')).sort(),
  ]);
  useEffect(() => {
    if (form === known.current || nodes.length === 0) return;
    known.current = form;
    if (nodes.length <= AT_ONCE) {
      lastId += 1;
      setLayout(layOut(input));
      return;
    }
    const id = (lastId += 1);
    const end = onWorker((message) => {
      if (message.kind !== 'layout' || message.id !== id) return;
      end();
      // One that was overtaken is dropped.
      if (id === lastId) setLayout(message.layout);
    });
    tellWorker({ kind: 'layout', id, input });
  }, [form]);
  return layout;
}
