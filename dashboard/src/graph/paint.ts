/** Draws the graph on a canvas, which takes hundreds of edges in a few milliseconds, where elements of a page would not. */
import type { Camera, Size } from './camera.ts';
import { isInFocus, type Drawn, type DrawnEdge, type Focus } from './drawn.ts';
import { pointAt, type Curve } from './geometry.ts';
import { NODE_HEIGHT, NODE_WIDTH } from './layout.ts';
import { paintGroups, paintNodes } from './paint-nodes.ts';
import { diamond, FONT_FAMILY, type Context } from './pen.ts';
import type { Palette } from './palette.ts';

export interface Scene {
  readonly drawn: Drawn;
  readonly palette: Palette;
  /** Nodes as well; else they are elements above. */
  readonly withNodes: boolean;
}

/** From where, onto how much, in pixels of the style sheet; `ratio` of the screen's own to one of them. */
export interface View {
  readonly camera: Camera;
  readonly size: Size;
  readonly ratio: number;
  /** It is in front, the rest pale. */
  readonly focus: Focus | undefined;
  /** ms, for what moves; undefined: nothing moves. */
  readonly time?: number | undefined;
}

/** Labels show from this scale on. */
const LABEL_SCALE = 0.62;
const MAX_LABELS = 250;

export function paint(context: Context, scene: Scene, view: View): void {
  const { camera, size, ratio, focus } = view;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, context.canvas.width, context.canvas.height);
  context.setTransform(ratio * camera.scale, 0, 0, ratio * camera.scale, ratio * camera.x, ratio * camera.y);
  const [left, top] = [-camera.x / camera.scale, -camera.y / camera.scale];
  const [right, bottom] = [left + size.width / camera.scale, top + size.height / camera.scale];
  const { drawn, palette } = scene;
  paintGroups(context, drawn.groups, palette, camera.scale);
  const seen = drawn.edges.filter(
    ({ reach: [l, t, r, b] }) => r >= left && l <= right && b >= top && t <= bottom,
  );
  const back = focus === undefined ? [] : seen.filter((edge) => !isInFocus(focus, edge));
  const front = focus === undefined ? seen : seen.filter((edge) => isInFocus(focus, edge));
  context.globalAlpha = 0.14;
  for (const each of back) line(context, each, palette, view);
  context.globalAlpha = 1;
  for (const each of front) line(context, each, palette, view);
  if (camera.scale >= LABEL_SCALE || focus !== undefined) {
    const taken: { x: number; y: number; width: number }[] = [];
    context.font = `500 11px ${FONT_FAMILY}`;
    context.textBaseline = 'middle';
    const cards = drawn.nodes.filter(
      ({ x, y }) => x + NODE_WIDTH >= left && x <= right && y + NODE_HEIGHT >= top && y <= bottom,
    );
    const isFree = (x: number, y: number, width: number): boolean =>
      !taken.some((each) => Math.abs(each.y - y) < 20 && Math.abs(each.x - x) < (each.width + width) / 2) &&
      !cards.some(
        (card) =>
          Math.abs(card.x + NODE_WIDTH / 2 - x) < (NODE_WIDTH + width) / 2 &&
          Math.abs(card.y + NODE_HEIGHT / 2 - y) < NODE_HEIGHT / 2 + 10,
      );
    for (const each of front.slice(0, MAX_LABELS)) {
      const place = label(context, each, palette, isFree);
      if (place !== undefined) taken.push(place);
    }
  }
  if (!scene.withNodes) return;
  const near =
    focus === undefined
      ? undefined
      : new Set(drawn.edges.filter((edge) => isInFocus(focus, edge)).flatMap(({ from, to }) => [from, to]));
  if (near !== undefined && focus !== undefined && 'node' in focus) near.add(focus.node);
  const nodes = drawn.nodes.filter(
    ({ x, y }) => x + 190 >= left && x <= right && y + 70 >= top && y <= bottom,
  );
  paintNodes(context, nodes, palette, { scale: camera.scale, near });
}

function line(context: Context, edge: DrawnEdge, palette: Palette, { camera, time }: View): void {
  const { health, curve } = edge;
  const [a, b, c, d] = curve;
  const color = palette.line[health];
  const scale = Math.max(0.35, Math.min(1, camera.scale));
  const width =
    (health === 'idle' ? 1 : Math.min(5, 1.3 + Math.log2(1 + edge.rate) * 0.55)) / Math.sqrt(scale);
  context.strokeStyle = color;
  context.lineWidth = width;
  context.setLineDash(health === 'denied' ? [5, 5] : !edge.secure && health !== 'idle' ? [2, 4] : []);
  context.lineDashOffset = 0;
  context.beginPath();
  context.moveTo(a.x, a.y);
  context.bezierCurveTo(b.x, b.y, c.x, c.y, d.x, d.y);
  context.stroke();
  context.setLineDash([]);
  // Far out, a head is less than a pixel.
  if (camera.scale > 0.16) head(context, c, d, color, 5 + width);
  if (time !== undefined && edge.rate > 0 && health !== 'denied')
    pulses(context, edge, curve, color, width, time);
}

function head(
  context: Context,
  from: { x: number; y: number },
  tip: { x: number; y: number },
  color: string,
  size: number,
): void {
  const angle = Math.atan2(tip.y - from.y, tip.x - from.x);
  context.fillStyle = color;
  context.beginPath();
  context.moveTo(tip.x, tip.y);
  context.lineTo(tip.x - size * Math.cos(angle - 0.45), tip.y - size * Math.sin(angle - 0.45));
  context.lineTo(tip.x - size * Math.cos(angle + 0.45), tip.y - size * Math.sin(angle + 0.45));
  context.fill();
}

/** Dots that go the way of the calls; more of them where there are more. */
function pulses(
  context: Context,
  edge: DrawnEdge,
  curve: Curve,
  color: string,
  width: number,
  time: number,
): void {
  const count = Math.min(4, 1 + Math.floor(Math.log2(1 + edge.rate)));
  const seconds = 2.4;
  context.fillStyle = color;
  for (let n = 0; n < count; n += 1) {
    const t = (time / 1000 / seconds + n / count) % 1;
    const { x, y } = pointAt(curve, t);
    context.beginPath();
    context.arc(x, y, width * 0.9 + 1.4, 0, Math.PI * 2);
    context.fill();
  }
}

/** A lock, open or closed, a waypoint's sign, and the numbers. */
function label(
  context: Context,
  { label: text, curve, health, secure, waypoint }: DrawnEdge,
  palette: Palette,
  isFree: (x: number, y: number, width: number) => boolean,
): { x: number; y: number; width: number } | undefined {
  if (text === '') return undefined;
  const signs = waypoint && health !== 'denied' ? 34 : 22;
  const width = context.measureText(text).width + signs + 8;
  // Where a card or another label is in the way, along the line a little; or nowhere.
  const place = [0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8]
    .map((t) => pointAt(curve, t))
    .find(({ x, y }) => isFree(x, y, width));
  if (place === undefined) return undefined;
  const { x, y } = place;
  const left = x - width / 2;
  context.fillStyle = palette.label;
  context.strokeStyle = health === 'good' ? palette.border : palette.line[health];
  context.lineWidth = 1;
  context.beginPath();
  context.roundRect(left, y - 10, width, 20, 10);
  context.fill();
  context.stroke();
  if (health === 'denied') stop(context, left + 13, y, palette.line.denied);
  else lock(context, left + 13, y, secure, secure ? palette.lock : palette.plain);
  if (signs > 22) diamond(context, left + 26, y, palette.accent);
  context.fillStyle = health === 'good' ? palette.text : palette.line[health];
  context.fillText(text, left + signs, y + 0.5);
  return { x, y, width };
}

function lock(context: Context, x: number, y: number, closed: boolean, color: string): void {
  context.strokeStyle = color;
  context.fillStyle = color;
  context.lineWidth = 1.4;
  context.beginPath();
  context.roundRect(x - 4, y - 0.5, 8, 6, 1.5);
  context.fill();
  context.beginPath();
  if (closed) {
    context.moveTo(x - 2.6, y);
    context.arc(x, y - 1.5, 2.6, Math.PI, 0);
    context.lineTo(x + 2.6, y);
  } else context.arc(x + 3, y - 2.5, 2.6, Math.PI, 0.2);
  context.stroke();
}

function stop(context: Context, x: number, y: number, color: string): void {
  context.strokeStyle = color;
  context.lineWidth = 1.5;
  context.beginPath();
  context.arc(x, y, 4.4, 0, Math.PI * 2);
  context.moveTo(x - 3, y + 3);
  context.lineTo(x + 3, y - 3);
  context.stroke();
}
