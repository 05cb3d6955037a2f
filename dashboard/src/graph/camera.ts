import type { Point } from './geometry.ts';
import { NODE_HEIGHT, NODE_WIDTH, type Layout } from './layout.ts';

/** Where the graph's corner is on the screen, and how large it is shown. */
export interface Camera {
  readonly x: number;
  readonly y: number;
  readonly scale: number;
}

export interface Size {
  readonly width: number;
  readonly height: number;
}

export type Zoom = 'near' | 'middle' | 'far';

const MIN_SCALE = 0.06;
const MAX_SCALE = 2.2;
const FIT_MARGIN = 36;
/** Below these scales, cards show less. */
const MIDDLE_SCALE = 0.55;
const FAR_SCALE = 0.28;

export function zoomOf({ scale }: Camera): Zoom {
  return scale < FAR_SCALE ? 'far' : scale < MIDDLE_SCALE ? 'middle' : 'near';
}

/** All of the graph, in the middle. */
export function fitted(layout: Layout, { width, height }: Size): Camera {
  const scale = Math.max(
    MIN_SCALE,
    Math.min(1.15, (width - FIT_MARGIN * 2) / layout.width, (height - FIT_MARGIN * 2) / layout.height),
  );
  return {
    scale,
    x: (width - layout.width * scale) / 2,
    y: Math.max(FIT_MARGIN, (height - layout.height * scale) / 2),
  };
}

/** Nearer or farther, with one point of the screen where it is. */
export function zoomed({ x, y, scale }: Camera, at: Point, factor: number): Camera {
  const next = Math.max(MIN_SCALE, Math.min(MAX_SCALE, scale * factor));
  const by = next / scale;
  return { scale: next, x: at.x - (at.x - x) * by, y: at.y - (at.y - y) * by };
}

/** The camera that shows a node: the same where it shows it already. */
export function revealing(camera: Camera, { x, y }: Point, { width, height }: Size): Camera {
  const { scale } = camera;
  const at = toScreen(camera, { x, y });
  const inside =
    at.x > 0 && at.y > 0 && at.x + NODE_WIDTH * scale < width && at.y + NODE_HEIGHT * scale < height;
  return inside ? camera : { scale, x: width / 2 - x * scale, y: height / 2 - y * scale };
}

export function toScreen({ x, y, scale }: Camera, at: Point): Point {
  return { x: at.x * scale + x, y: at.y * scale + y };
}

export function toWorld({ x, y, scale }: Camera, at: Point): Point {
  return { x: (at.x - x) / scale, y: (at.y - y) / scale };
}

/** Ids of the nodes that are on the screen. */
export function visibleNodes(layout: Layout, camera: Camera, { width, height }: Size): string[] {
  const from = toWorld(camera, { x: 0, y: 0 });
  const to = toWorld(camera, { x: width, y: height });
  return Object.entries(layout.nodes).flatMap(([id, { x, y }]) =>
    x + NODE_WIDTH > from.x && x < to.x && y + NODE_HEIGHT > from.y && y < to.y ? [id] : [],
  );
}

/** The node at a point of the graph. */
export function nodeAt(layout: Layout, at: Point): string | undefined {
  return Object.entries(layout.nodes).find(
    ([, { x, y }]) => at.x >= x && at.x <= x + NODE_WIDTH && at.y >= y && at.y <= y + NODE_HEIGHT,
  )?.[0];
}
