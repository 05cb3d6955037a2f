import { NODE_HEIGHT, NODE_WIDTH } from './layout.ts';

export interface Point {
  readonly x: number;
  readonly y: number;
}

/** A cubic Bézier curve. */
export type Curve = readonly [Point, Point, Point, Point];

/** The curve of an edge between two nodes, of which the upper left corners are given. */
export function curveOf(from: Point, to: Point): Curve {
  const [a, b] = [
    { x: from.x + NODE_WIDTH, y: from.y + NODE_HEIGHT / 2 },
    { x: to.x, y: to.y + NODE_HEIGHT / 2 },
  ];
  if (from.x === to.x && from.y === to.y)
    return [a, { x: a.x + 70, y: a.y - 70 }, { x: b.x - 70, y: b.y - 70 }, b];
  if (b.x - a.x > 24) {
    const bend = Math.max(40, (b.x - a.x) * 0.45);
    return [a, { x: a.x + bend, y: a.y }, { x: b.x - bend, y: b.y }, b];
  }
  if (Math.abs(from.x - to.x) < NODE_WIDTH) {
    // One above the other: round the side.
    const end = { x: to.x + NODE_WIDTH, y: b.y };
    const bend = 60 + Math.abs(b.y - a.y) * 0.12;
    return [a, { x: a.x + bend, y: a.y }, { x: end.x + bend, y: end.y }, end];
  }
  // Backwards: below what goes forward.
  const start = { x: from.x, y: from.y + NODE_HEIGHT * 0.72 };
  const end = { x: to.x + NODE_WIDTH, y: to.y + NODE_HEIGHT * 0.72 };
  const bend = Math.max(50, (start.x - end.x) * 0.4);
  const sink = 26 + Math.abs(start.x - end.x) * 0.04;
  return [start, { x: start.x - bend, y: start.y + sink }, { x: end.x + bend, y: end.y + sink }, end];
}

export function pointAt([a, b, c, d]: Curve, t: number): Point {
  const u = 1 - t;
  const [wa, wb, wc, wd] = [u * u * u, 3 * u * u * t, 3 * u * t * t, t * t * t];
  return { x: wa * a.x + wb * b.x + wc * c.x + wd * d.x, y: wa * a.y + wb * b.y + wc * c.y + wd * d.y };
}

/** How far a point is from a curve, about. */
export function distanceTo(curve: Curve, { x, y }: Point): number {
  let nearest = Infinity;
  for (let n = 0; n <= 24; n += 1) {
    const at = pointAt(curve, n / 24);
    nearest = Math.min(nearest, Math.hypot(at.x - x, at.y - y));
  }
  return nearest;
}
