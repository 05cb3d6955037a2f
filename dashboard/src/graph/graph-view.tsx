import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import { hidden, live, selection, theme } from '../state.ts';
import type { Graph } from '../types.ts';
import {
  fitted,
  nodeAt,
  revealing,
  toWorld,
  visibleNodes,
  zoomed,
  zoomOf,
  type Camera,
  type Size,
  type Zoom,
} from './camera.ts';
import { followPointer, nextNode, type Gestures } from './controls.ts';
import { drawnOf, isInFocus, type Focus } from './drawn.ts';
import { distanceTo, type Point } from './geometry.ts';
import { NodeCard } from './node-card.tsx';
import { DirectPainter, WorkerPainter, type Painter } from './painters.ts';
import { paletteOf } from './palette.ts';
import { useLayout } from './use-layout.ts';
import { ZoomButtons } from './zoom-buttons.tsx';

/** More nodes than these are painted by the worker, and have elements only where they are seen. */
const MANY = 150;
/** More cards than these at once are no elements. */
const MOST_CARDS = 100;
/** More edges than these do not move. */
const MOVING_EDGES = 160;
const FRAME_MS = 33;
/** After so long without a move, the graph stands still. */
const STILL_MS = 120;
/** So near to an edge is a click on it. */
const NEAR_PX = 14;

/** The service graph: edges on a canvas, nodes as buttons above it; of many nodes only those that are seen. */
export function GraphView({ graph }: { readonly graph: Graph }) {
  const frame = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const world = useRef<HTMLDivElement>(null);
  const camera = useRef<Camera>({ x: 0, y: 0, scale: 1 });
  const size = useRef<Size>({ width: 0, height: 0 });
  const painter = useRef<Painter | undefined>(undefined);
  const touched = useRef(false);
  const [hovered, setHovered] = useState<string | undefined>(undefined);
  const [zoom, setZoom] = useState<Zoom>('near');
  /** Where the keyboard is. */
  const [active, setActive] = useState<string | undefined>(undefined);
  const [seen, setSeen] = useState<ReadonlySet<string>>(new Set());

  const nodes = graph.nodes.filter(({ namespace }) => !hidden.value.has(namespace));
  const ids = new Set(nodes.map(({ id }) => id));
  const edges = graph.edges.filter(({ from, to }) => ids.has(from) && ids.has(to));
  const isLarge = nodes.length > MANY;
  const layout = useLayout(nodes, edges);
  const callers = new Set(edges.map(({ from }) => from));
  const drawn = useMemo(
    () => (layout === undefined ? undefined : drawnOf(nodes, edges, layout)),
    [graph, layout, hidden.value],
  );

  const chosen = selection.value;
  const looked = hovered ?? (chosen?.kind === 'node' ? chosen.id : undefined);
  const focus = useMemo((): Focus | undefined => {
    if (looked !== undefined) return { node: looked };
    return chosen?.kind === 'edge' ? { from: chosen.from, to: chosen.to } : undefined;
  }, [looked, chosen]);
  const near = useMemo(() => {
    if (focus === undefined) return undefined;
    const joined = edges.filter((edge) => isInFocus(focus, edge)).flatMap(({ from, to }) => [from, to]);
    return new Set(looked === undefined ? joined : [...joined, looked]);
  }, [focus, graph]);

  const latest = useRef({ layout, drawn, nodes, isLarge });
  latest.current = { layout, drawn, nodes, isLarge };

  const frames = useRef({ asked: 0, still: 0 as unknown as ReturnType<typeof setTimeout> });
  const show = (): void => {
    frames.current.asked = 0;
    const { x, y, scale } = camera.current;
    // While it moves, the painter's picture stands for the cards, which the browser would paint anew at each scale.
    const isMoving = world.current?.classList.contains('moving') === true;
    if (world.current !== null && !isMoving)
      world.current.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
    painter.current?.show(camera.current, size.current, { isMoving });
  };
  const settle = (): void => {
    clearTimeout(frames.current.still);
    world.current?.classList.remove('moving');
    setZoom(zoomOf(camera.current));
    const { layout: now, isLarge: large } = latest.current;
    if (large && now !== undefined) {
      const visible = visibleNodes(now, camera.current, size.current);
      const next = new Set(visible.length > MOST_CARDS ? [] : visible);
      setSeen((before) => (isSame(before, next) ? before : next));
    }
    show();
  };
  const place = (next: Camera): void => {
    camera.current = next;
    const { isLarge: large } = latest.current;
    if (!large) setZoom(zoomOf(next));
    else {
      world.current?.classList.add('moving');
      clearTimeout(frames.current.still);
      frames.current.still = setTimeout(settle, STILL_MS);
    }
    frames.current.asked ||= requestAnimationFrame(show);
  };

  const fit = (): void => {
    touched.current = false;
    if (latest.current.layout === undefined || size.current.width === 0) return;
    camera.current = fitted(latest.current.layout, size.current);
    settle();
  };
  const zoomBy = (
    factor: number,
    at: Point = { x: size.current.width / 2, y: size.current.height / 2 },
  ): void => {
    touched.current = true;
    place(zoomed(camera.current, at, factor));
  };

  useLayoutEffect(() => {
    const [element, target] = [frame.current, canvas.current];
    if (element === null || target === null) return;
    painter.current = isLarge ? new WorkerPainter(target) : new DirectPainter(target);
    const resize = (): void => {
      const { width, height } = element.getBoundingClientRect();
      size.current = { width, height };
      if (touched.current) settle();
      else fit();
    };
    const observer = new ResizeObserver(resize);
    observer.observe(element);
    return () => {
      observer.disconnect();
      clearTimeout(frames.current.still);
      cancelAnimationFrame(frames.current.asked);
      frames.current.asked = 0;
      painter.current?.close();
    };
  }, [isLarge]);

  const palette = useMemo(
    () => (frame.current === null ? undefined : paletteOf(frame.current)),
    [theme.value, layout, matchMedia('(prefers-color-scheme: dark)').matches],
  );
  useLayoutEffect(() => {
    if (drawn === undefined || frame.current === null) return;
    painter.current?.setScene({ drawn, palette: palette ?? paletteOf(frame.current), withNodes: isLarge });
    painter.current?.show(camera.current, size.current);
  }, [drawn, palette, isLarge]);
  useLayoutEffect(() => {
    painter.current?.setFocus(focus);
    painter.current?.show(camera.current, size.current);
  }, [focus, isLarge]);
  useLayoutEffect(() => (touched.current ? settle() : fit()), [layout, isLarge]);

  // Dots move along the edges, where there are few enough, and nobody asked for stillness.
  const moves =
    !isLarge &&
    live.value &&
    edges.length <= MOVING_EDGES &&
    !matchMedia('(prefers-reduced-motion: reduce)').matches;
  useEffect(() => {
    if (!moves) return;
    let [asked, last] = [0, 0];
    const step = (time: number): void => {
      if (time - last >= FRAME_MS) {
        last = time;
        painter.current?.show(camera.current, size.current, { time });
      }
      asked = requestAnimationFrame(step);
    };
    asked = requestAnimationFrame(step);
    return () => cancelAnimationFrame(asked);
  }, [moves]);

  /** From the window to the graph. */
  const worldOf = (event: MouseEvent): Point => {
    const box = frame.current?.getBoundingClientRect();
    return toWorld(camera.current, {
      x: event.clientX - (box?.left ?? 0),
      y: event.clientY - (box?.top ?? 0),
    });
  };
  const gestures: Gestures = {
    begin: () => camera.current,
    pan: (next) => {
      touched.current = true;
      place(next);
    },
    choose: (event) => {
      const at = worldOf(event);
      const node = layout === undefined ? undefined : nodeAt(layout, at);
      if (node !== undefined) {
        selection.value = { kind: 'node', id: node };
        return;
      }
      const [nearest] = (drawn?.edges ?? [])
        .map(({ from, to, curve }) => ({ from, to, distance: distanceTo(curve, at) }))
        .sort((a, b) => a.distance - b.distance);
      selection.value =
        nearest !== undefined && nearest.distance * camera.current.scale < NEAR_PX
          ? { kind: 'edge', from: nearest.from, to: nearest.to }
          : undefined;
    },
  };

  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.key === '+' || event.key === '=') zoomBy(1.25);
    else if (event.key === '-') zoomBy(0.8);
    else if (event.key === '0') fit();
    else if (event.key === 'Escape') selection.value = undefined;
    else if (event.key.startsWith('Arrow')) step(event);
    else return;
    event.preventDefault();
  };
  const cardOf = (id: string): HTMLElement | null =>
    frame.current?.querySelector<HTMLElement>(`[data-id="${CSS.escape(id)}"]`) ?? null;
  const wanted = useRef<string | undefined>(undefined);
  /** To the nearest node that way; its card comes with the next picture where it has none yet. */
  const step = ({ key, target }: KeyboardEvent): void => {
    const from = (target as HTMLElement).dataset['id'];
    const next = layout === undefined || from === undefined ? undefined : nextNode(layout, from, key);
    const at = next === undefined ? undefined : layout?.nodes[next];
    if (next === undefined || at === undefined) return;
    const there = revealing(camera.current, at, size.current);
    if (there !== camera.current) {
      touched.current = true;
      camera.current = there;
      settle();
    }
    setActive(next);
    wanted.current = next;
    cardOf(next)?.focus({ preventScroll: true });
  };
  useLayoutEffect(() => {
    if (wanted.current !== undefined) cardOf(wanted.current)?.focus({ preventScroll: true });
    wanted.current = undefined;
  }, [active]);

  const selected = chosen?.kind === 'node' ? chosen.id : undefined;
  const entry = [active, selected].find((id) => id !== undefined && ids.has(id)) ?? nodes[0]?.id;
  return (
    <div
      ref={frame}
      class={`graph ${zoom}${hovered === undefined ? '' : ' over'}`}
      onPointerDown={(event) => followPointer(event, frame.current, gestures)}
      onPointerMove={(event) => {
        if (event.buttons === 0 && layout !== undefined) setHovered(nodeAt(layout, worldOf(event)));
      }}
      onPointerLeave={() => setHovered(undefined)}
      onWheel={(event) => {
        event.preventDefault();
        const box = event.currentTarget.getBoundingClientRect();
        zoomBy(Math.exp(-event.deltaY * 0.0015), { x: event.clientX - box.left, y: event.clientY - box.top });
      }}
      onKeyDown={onKeyDown}
      role="group"
      aria-label={`Service graph of ${nodes.length}. Arrow keys go from node to node, plus and minus zoom, 0 shows all. All calls are in the table as well.`}
    >
      <canvas key={isLarge ? 'large' : 'small'} ref={canvas} aria-hidden="true" />
      <div ref={world} class="world">
        {nodes.map((node) => {
          const { id } = node;
          const at = layout?.nodes[id];
          if (at === undefined || (isLarge && !seen.has(id) && id !== entry && id !== selected)) return null;
          return (
            <NodeCard
              key={id}
              {...{ node, x: at.x, y: at.y, reached: id === entry, calls: callers.has(id) }}
              selected={selected === id}
              pale={near !== undefined && !near.has(id)}
            />
          );
        })}
      </div>
      <ZoomButtons onZoom={zoomBy} onFit={fit} />
    </div>
  );
}

function isSame(a: ReadonlySet<string>, b: ReadonlySet<string>): boolean {
  return a.size === b.size && [...a].every((each) => b.has(each));
}
