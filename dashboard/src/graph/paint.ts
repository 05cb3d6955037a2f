/** Draws the edges. A canvas takes hundreds of them in a few milliseconds, where elements of a page would not. */
import { ms, rate } from '../format.ts';
import type { GraphEdge } from '../types.ts';
import { pointAt, type Curve } from './geometry.ts';
import { healthOf, type Health } from './health.ts';

export interface DrawnEdge {
  readonly edge: GraphEdge;
  readonly curve: Curve;
}

export interface Camera {
  readonly x: number;
  readonly y: number;
  readonly scale: number;
}

export interface Palette {
  readonly line: Readonly<Record<Health, string>>;
  readonly label: string;
  readonly labelText: string;
  readonly labelEdge: string;
  readonly accent: string;
  readonly lock: string;
  readonly plain: string;
}

export interface Scene {
  readonly edges: readonly DrawnEdge[];
  readonly camera: Camera;
  readonly palette: Palette;
  /** Edges of this node or this edge are in front, the others pale. */
  readonly focus: ((edge: GraphEdge) => boolean) | undefined;
  /** ms, for what moves; undefined: nothing moves. */
  readonly time: number | undefined;
}

/** Labels show from this scale on. */
export const LABEL_SCALE = 0.62;
const FONT = '500 11px ui-sans-serif, system-ui, sans-serif';

/** Reads the colours out of the style sheet, so that there is one place for them. */
export function paletteOf(element: HTMLElement): Palette {
  // A canvas knows no light-dark(): an element tells what comes of it.
  const probe = document.createElement('span');
  element.append(probe);
  const of = (name: string): string => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  };
  const palette = {
    line: {
      idle: of('--edge-idle'),
      good: of('--edge'),
      warn: of('--warn'),
      bad: of('--bad'),
      denied: of('--bad'),
    },
    label: of('--surface'),
    labelText: of('--text'),
    labelEdge: of('--border'),
    accent: of('--accent'),
    lock: of('--good'),
    plain: of('--warn'),
  };
  probe.remove();
  return palette;
}

export function paint(context: CanvasRenderingContext2D, scene: Scene, ratio: number): void {
  const { canvas } = context;
  const { camera } = scene;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.setTransform(ratio * camera.scale, 0, 0, ratio * camera.scale, ratio * camera.x, ratio * camera.y);
  const [left, top] = [-camera.x / camera.scale, -camera.y / camera.scale];
  const right = left + canvas.width / ratio / camera.scale;
  const bottom = top + canvas.height / ratio / camera.scale;
  const seen = scene.edges.filter(({ curve }) => {
    const xs = curve.map(({ x }) => x);
    const ys = curve.map(({ y }) => y);
    return (
      Math.max(...xs) >= left &&
      Math.min(...xs) <= right &&
      Math.max(...ys) >= top &&
      Math.min(...ys) <= bottom
    );
  });
  const { focus } = scene;
  const back = focus === undefined ? [] : seen.filter(({ edge }) => !focus(edge));
  const front = focus === undefined ? seen : seen.filter(({ edge }) => focus(edge));
  context.globalAlpha = 0.14;
  for (const each of back) line(context, each, scene);
  context.globalAlpha = 1;
  for (const each of front) line(context, each, scene);
  if (camera.scale < LABEL_SCALE && focus === undefined) return;
  const taken: { x: number; y: number; width: number }[] = [];
  context.font = FONT;
  context.textBaseline = 'middle';
  for (const each of front.slice(0, 250)) label(context, each, scene, taken);
}

function line(context: CanvasRenderingContext2D, { edge, curve }: DrawnEdge, scene: Scene): void {
  const health = healthOf(edge);
  const [a, b, c, d] = curve;
  const color = scene.palette.line[health];
  const scale = Math.max(0.35, Math.min(1, scene.camera.scale));
  const width =
    (health === 'idle' ? 1 : Math.min(5, 1.3 + Math.log2(1 + edge.rate) * 0.55)) / Math.sqrt(scale);
  context.strokeStyle = color;
  context.lineWidth = width;
  context.setLineDash(
    health === 'denied' ? [5, 5] : (edge.mtls ?? 1) < 0.5 && health !== 'idle' ? [2, 4] : [],
  );
  context.lineDashOffset = 0;
  context.beginPath();
  context.moveTo(a.x, a.y);
  context.bezierCurveTo(b.x, b.y, c.x, c.y, d.x, d.y);
  context.stroke();
  context.setLineDash([]);
  head(context, c, d, color, 5 + width);
  if (scene.time !== undefined && edge.rate > 0 && health !== 'denied')
    pulses(context, edge, curve, color, width, scene.time);
}

function head(
  context: CanvasRenderingContext2D,
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
  context: CanvasRenderingContext2D,
  edge: GraphEdge,
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

/** What stands on an edge: lock or open lock, waypoint, rate, p50. */
export function labelText(edge: GraphEdge): string {
  const health = healthOf(edge);
  if (health === 'idle') return '';
  if (health === 'denied') return `denied ${rate(edge.rate)}`;
  const parts = [rate(edge.rate)];
  if (edge.p50 !== undefined) parts.push(ms(edge.p50));
  return parts.join(' · ');
}

function label(
  context: CanvasRenderingContext2D,
  { edge, curve }: DrawnEdge,
  scene: Scene,
  taken: { x: number; y: number; width: number }[],
): void {
  const text = labelText(edge);
  if (text === '') return;
  const health = healthOf(edge);
  const width = context.measureText(text).width + 30;
  // Where another label is in the way, along the line a little.
  const place = [0.5, 0.38, 0.62, 0.28, 0.72]
    .map((t) => pointAt(curve, t))
    .find(
      ({ x, y }) =>
        !taken.some((each) => Math.abs(each.y - y) < 20 && Math.abs(each.x - x) < (each.width + width) / 2),
    );
  if (place === undefined) return;
  taken.push({ ...place, width });
  const { x, y } = place;
  context.fillStyle = scene.palette.label;
  context.strokeStyle = health === 'good' ? scene.palette.labelEdge : scene.palette.line[health];
  context.lineWidth = 1;
  context.beginPath();
  context.roundRect(x - width / 2, y - 10, width, 20, 10);
  context.fill();
  context.stroke();
  if (health === 'denied') stop(context, x - width / 2 + 13, y, scene.palette.line.denied);
  else
    lock(
      context,
      x - width / 2 + 13,
      y,
      (edge.mtls ?? 1) >= 0.5,
      (edge.mtls ?? 1) >= 0.5 ? scene.palette.lock : scene.palette.plain,
    );
  context.fillStyle = health === 'good' ? scene.palette.labelText : scene.palette.line[health];
  context.fillText(text, x - width / 2 + 22, y + 0.5);
}

function lock(context: CanvasRenderingContext2D, x: number, y: number, closed: boolean, color: string): void {
  context.strokeStyle = color;
  context.fillStyle = color;
  context.lineWidth = 1.4;
  context.beginPath();
  context.roundRect(x - 4, y - 0.5, 8, 6, 1.5);
  context.fill();
  context.beginPath();
  if (closed) context.arc(x, y - 1.5, 2.6, Math.PI, 0);
  else context.arc(x + 3, y - 2.5, 2.6, Math.PI, 0.2);
  context.stroke();
}

function stop(context: CanvasRenderingContext2D, x: number, y: number, color: string): void {
  context.strokeStyle = color;
  context.lineWidth = 1.5;
  context.beginPath();
  context.arc(x, y, 4.4, 0, Math.PI * 2);
  context.moveTo(x - 3, y + 3);
  context.lineTo(x + 3, y - 3);
  context.stroke();
}
