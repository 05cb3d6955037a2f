import { NODE_HEIGHT, NODE_WIDTH } from './layout.ts';

export interface Point {
  readonly x: number;
  readonly y: number;
}

/** A cubic Bézier curve. */
export type Curve = readonly [Point, Point, Point, Point];

interface Form {
  /** Of a node, along the way of calls and across it. */
  readonly along: number;
  readonly across: number;
}

const RIGHT: Form = { along: NODE_WIDTH, across: NODE_HEIGHT };
const DOWN: Form = { along: NODE_HEIGHT, across: NODE_WIDTH };
const turned = ({ x, y }: Point): Point => ({ x: y, y: x });

/**
 * The curve of an edge between two nodes, of which the upper left corners are given.
 *
 * @param down callers stand above whom they call, and not left of them
 */
export function curveOf(from: Point, to: Point, down = false): Curve {
  if (!down) return rightwards(from, to, RIGHT);
  const [a, b, c, d] = rightwards(turned(from), turned(to), DOWN);
  return [turned(a), turned(b), turned(c), turned(d)];
}

function rightwards(from: Point, to: Point, { along, across }: Form): Curve {
  const [a, b] = [
    { x: from.x + along, y: from.y + across / 2 },
    { x: to.x, y: to.y + across / 2 },
  ];
  if (from.x === to.x && from.y === to.y)
    return [a, { x: a.x + 70, y: a.y - 70 }, { x: b.x - 70, y: b.y - 70 }, b];
  if (b.x - a.x > 24) {
    const bend = Math.max(40, (b.x - a.x) * 0.45);
    return [a, { x: a.x + bend, y: a.y }, { x: b.x - bend, y: b.y }, b];
  }
  if (Math.abs(from.x - to.x) < along) {
    // Side by side in a layer: round the end.
    const end = { x: to.x + along, y: b.y };
    const bend = 60 + Math.abs(b.y - a.y) * 0.12;
    return [a, { x: a.x + bend, y: a.y }, { x: end.x + bend, y: end.y }, end];
  }
  // Backwards: beside what goes forward.
  const start = { x: from.x, y: from.y + across * 0.72 };
  const end = { x: to.x + along, y: to.y + across * 0.72 };
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
