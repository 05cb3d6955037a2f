import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import { hidden, live, selection, theme } from '../state.ts';
import type { Graph, GraphEdge } from '../types.ts';
import { curveOf, distanceTo, type Point } from './geometry.ts';
import { NODE_HEIGHT, NODE_WIDTH } from './layout.ts';
import { NodeCard } from './node-card.tsx';
import { paint, paletteOf, type Camera, type DrawnEdge } from './paint.ts';
import { useLayout } from './use-layout.ts';

const MIN_SCALE = 0.06;
const MAX_SCALE = 2.2;
const FIT_MARGIN = 36;
/** More edges than these do not move. */
const MOVING_EDGES = 160;
const FRAME_MS = 33;
/** Below these scales, cards show less. */
const MIDDLE_SCALE = 0.55;
const FAR_SCALE = 0.28;

const WAYS: Readonly<Record<string, readonly [dx: number, dy: number]>> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

/** The service graph: edges on a canvas, nodes as buttons above it. */
export function GraphView({ graph }: { readonly graph: Graph }) {
  const frame = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const world = useRef<HTMLDivElement>(null);
  /** Below the edges. */
  const ground = useRef<HTMLDivElement>(null);
  const camera = useRef<Camera>({ x: 0, y: 0, scale: 1 });
  const touched = useRef(false);
  const [hovered, setHovered] = useState<string | undefined>(undefined);
  const [zoom, setZoom] = useState<'near' | 'middle' | 'far'>('near');

  const nodes = graph.nodes.filter(({ namespace }) => !hidden.value.has(namespace));
  const shown = new Set(nodes.map(({ id }) => id));
  const edges = graph.edges.filter(({ from, to }) => shown.has(from) && shown.has(to));
  const layout = useLayout(nodes, edges);
  const callers = new Set(edges.map(({ from }) => from));

  const drawn = useMemo((): DrawnEdge[] => {
    if (layout === undefined) return [];
    return edges.flatMap((edge) => {
      const [from, to] = [layout.nodes[edge.from], layout.nodes[edge.to]];
      return from === undefined || to === undefined ? [] : [{ edge, curve: curveOf(from, to) }];
    });
  }, [graph, layout, hidden.value]);

  const chosen = selection.value;
  const looked = hovered ?? (chosen?.kind === 'node' ? chosen.id : undefined);
  const focus = useMemo(() => {
    if (looked !== undefined) return (edge: GraphEdge) => edge.from === looked || edge.to === looked;
    if (chosen?.kind === 'edge')
      return (edge: GraphEdge) => edge.from === chosen.from && edge.to === chosen.to;
    return undefined;
  }, [looked, chosen]);
  const near = useMemo(() => {
    if (focus === undefined) return undefined;
    const ids = new Set(edges.filter(focus).flatMap(({ from, to }) => [from, to]));
    if (looked !== undefined) ids.add(looked);
    return ids;
  }, [focus, graph]);

  const place = (next: Camera): void => {
    camera.current = next;
    for (const { current: element } of [world, ground])
      if (element !== null)
        element.style.transform = `translate(${next.x}px, ${next.y}px) scale(${next.scale})`;
    setZoom(next.scale < FAR_SCALE ? 'far' : next.scale < MIDDLE_SCALE ? 'middle' : 'near');
    draw();
  };

  const scene = useRef({ drawn, focus });
  scene.current = { drawn, focus };
  const palette = useMemo(
    () => (frame.current === null ? undefined : paletteOf(frame.current)),
    [theme.value, layout, matchMedia('(prefers-color-scheme: dark)').matches],
  );
  const paletteNow = useRef(palette);
  paletteNow.current = palette;

  const draw = (time?: number): void => {
    const element = canvas.current;
    const context = element?.getContext('2d');
    if (element === null || !context) return;
    const colours = (paletteNow.current ??= paletteOf(frame.current ?? document.body));
    const { drawn: all, focus: front } = scene.current;
    paint(
      context,
      { edges: all, camera: camera.current, palette: colours, focus: front, time },
      devicePixelRatio,
    );
  };

  const fit = (): void => {
    const box = frame.current?.getBoundingClientRect();
    if (layout === undefined || box === undefined || layout.width === 0) return;
    const [width, height] = [box.width - FIT_MARGIN * 2, box.height - FIT_MARGIN * 2];
    const scale = Math.max(MIN_SCALE, Math.min(1.15, width / layout.width, height / layout.height));
    place({
      scale,
      x: (box.width - layout.width * scale) / 2,
      y: Math.max(FIT_MARGIN, (box.height - layout.height * scale) / 2),
    });
  };

  const zoomAt = (at: Point, factor: number): void => {
    touched.current = true;
    const { x, y, scale } = camera.current;
    const next = Math.max(MIN_SCALE, Math.min(MAX_SCALE, scale * factor));
    const by = next / scale;
    place({ scale: next, x: at.x - (at.x - x) * by, y: at.y - (at.y - y) * by });
  };

  // The canvas is as large as its place, in the screen's own pixels.
  useLayoutEffect(() => {
    const element = frame.current;
    if (element === null) return;
    const resize = (): void => {
      const { width, height } = element.getBoundingClientRect();
      if (canvas.current !== null) {
        canvas.current.width = Math.round(width * devicePixelRatio);
        canvas.current.height = Math.round(height * devicePixelRatio);
      }
      if (touched.current) draw();
      else fit();
    };
    const observer = new ResizeObserver(resize);
    observer.observe(element);
    return () => observer.disconnect();
  }, [layout]);

  useLayoutEffect(() => {
    if (!touched.current) fit();
    if (layout !== undefined) performance.mark('loam-picture');
  }, [layout]);
  useLayoutEffect(() => draw(), [drawn, focus, palette]);

  // Dots move along the edges, where there are few enough, and nobody asked for stillness.
  const moves =
    live.value && drawn.length <= MOVING_EDGES && !matchMedia('(prefers-reduced-motion: reduce)').matches;
  useEffect(() => {
    if (!moves) return;
    let [asked, last] = [0, 0];
    const step = (time: number): void => {
      if (time - last >= FRAME_MS) {
        last = time;
        draw(time);
      }
      asked = requestAnimationFrame(step);
    };
    asked = requestAnimationFrame(step);
    return () => cancelAnimationFrame(asked);
  }, [moves]);

  const onPointerDown = (down: PointerEvent): void => {
    if ((down.target as Element).closest('.node') !== null || down.button !== 0) return;
    const element = frame.current;
    if (element === null) return;
    element.setPointerCapture(down.pointerId);
    const begin = camera.current;
    let moved = false;
    const onMove = (move: PointerEvent): void => {
      const [dx, dy] = [move.clientX - down.clientX, move.clientY - down.clientY];
      if (!moved && Math.hypot(dx, dy) < 4) return;
      moved = touched.current = true;
      place({ ...begin, x: begin.x + dx, y: begin.y + dy });
    };
    const onUp = (up: PointerEvent): void => {
      element.removeEventListener('pointermove', onMove);
      element.removeEventListener('pointerup', onUp);
      element.removeEventListener('pointercancel', onUp);
      if (!moved && up.type === 'pointerup') choose(up);
    };
    element.addEventListener('pointermove', onMove);
    element.addEventListener('pointerup', onUp);
    element.addEventListener('pointercancel', onUp);
  };

  const choose = (event: PointerEvent): void => {
    const box = frame.current?.getBoundingClientRect();
    if (box === undefined) return;
    const { x, y, scale } = camera.current;
    const at = { x: (event.clientX - box.left - x) / scale, y: (event.clientY - box.top - y) / scale };
    const [nearest] = drawn
      .map(({ edge, curve }) => ({ edge, distance: distanceTo(curve, at) }))
      .sort((a, b) => a.distance - b.distance);
    selection.value =
      nearest !== undefined && nearest.distance * scale < 14
        ? { kind: 'edge', from: nearest.edge.from, to: nearest.edge.to }
        : undefined;
  };

  const onWheel = (event: WheelEvent): void => {
    event.preventDefault();
    const box = frame.current?.getBoundingClientRect();
    if (box === undefined) return;
    zoomAt({ x: event.clientX - box.left, y: event.clientY - box.top }, Math.exp(-event.deltaY * 0.0015));
  };

  const onKeyDown = (event: KeyboardEvent): void => {
    const middle = { x: (frame.current?.clientWidth ?? 0) / 2, y: (frame.current?.clientHeight ?? 0) / 2 };
    if (event.key === '+' || event.key === '=') zoomAt(middle, 1.25);
    else if (event.key === '-') zoomAt(middle, 0.8);
    else if (event.key === '0') {
      touched.current = false;
      fit();
    } else if (event.key === 'Escape') selection.value = undefined;
    else if (event.key.startsWith('Arrow')) step(event);
    else return;
    event.preventDefault();
  };

  /** To the nearest node that way. */
  const step = ({ key, target }: KeyboardEvent): void => {
    const from = layout?.nodes[(target as HTMLElement).dataset['id'] ?? ''];
    if (layout === undefined || from === undefined) return;
    const [dx, dy] = WAYS[key] ?? [0, 0];
    const [next] = nodes
      .flatMap(({ id }) => {
        const at = layout.nodes[id];
        if (at === undefined) return [];
        const [x, y] = [at.x - from.x, at.y - from.y];
        const along = x * dx + y * dy;
        return along > 1 ? [{ id, at, cost: along + 2.5 * Math.abs(x * dy + y * dx) }] : [];
      })
      .sort((a, b) => a.cost - b.cost);
    if (next === undefined) return;
    reveal(next.at);
    frame.current
      ?.querySelector<HTMLElement>(`[data-id="${CSS.escape(next.id)}"]`)
      ?.focus({ preventScroll: true });
  };

  const reveal = ({ x, y }: Point): void => {
    const box = frame.current?.getBoundingClientRect();
    const { scale, x: left, y: top } = camera.current;
    if (box === undefined) return;
    const at = { x: x * scale + left, y: y * scale + top };
    const inside =
      at.x > 0 &&
      at.y > 0 &&
      at.x + NODE_WIDTH * scale < box.width &&
      at.y + NODE_HEIGHT * scale < box.height;
    if (!inside) place({ scale, x: box.width / 2 - x * scale, y: box.height / 2 - y * scale });
  };

  return (
    <div
      ref={frame}
      class={`graph ${zoom}`}
      onPointerDown={onPointerDown}
      onWheel={onWheel}
      onKeyDown={onKeyDown}
      role="group"
      aria-label="Service graph. Arrow keys go from node to node, plus and minus zoom, 0 shows all."
    >
      <div ref={ground} class="world">
        {Object.entries(layout?.groups ?? {}).map(([name, { x, y, width, height }]) => (
          <div
            key={name}
            class="namespace"
            style={{ transform: `translate(${x}px, ${y}px)`, width: `${width}px`, height: `${height}px` }}
          >
            <span>{name}</span>
          </div>
        ))}
      </div>
      <canvas ref={canvas} aria-hidden="true" />
      <div ref={world} class="world">
        {nodes.map((node, n) => {
          const at = layout?.nodes[node.id];
          return at === undefined ? null : (
            <NodeCard
              key={node.id}
              {...{ node, x: at.x, y: at.y, first: n === 0 && chosen?.kind !== 'node' }}
              selected={chosen?.kind === 'node' && chosen.id === node.id}
              calls={callers.has(node.id)}
              pale={near !== undefined && !near.has(node.id)}
              onSelect={(id) => (selection.value = { kind: 'node', id })}
              onHover={setHovered}
            />
          );
        })}
      </div>
      <div class="zoom" role="toolbar" aria-label="Zoom">
        <button type="button" aria-label="Zoom in" onClick={() => zoomAt(middleOf(frame.current), 1.25)}>
          +
        </button>
        <button type="button" aria-label="Zoom out" onClick={() => zoomAt(middleOf(frame.current), 0.8)}>
          −
        </button>
        <button
          type="button"
          aria-label="Show all"
          onClick={() => {
            touched.current = false;
            fit();
          }}
        >
          ⤢
        </button>
      </div>
    </div>
  );
}

function middleOf(element: HTMLElement | null): Point {
  return { x: (element?.clientWidth ?? 0) / 2, y: (element?.clientHeight ?? 0) / 2 };
}
