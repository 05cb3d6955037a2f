import type { Drawn, DrawnNode } from './drawn.ts';
import { NODE_HEIGHT, NODE_WIDTH } from './layout.ts';
import { diamond, FONT_FAMILY, type Context } from './pen.ts';
import type { Palette } from './palette.ts';

/** Below these scales, cards show less; as in the style sheet. */
const MIDDLE_SCALE = 0.55;
const FAR_SCALE = 0.28;
const TEXT_LEFT = 56;
const TEXT_ROOM = NODE_WIDTH - TEXT_LEFT - 10;
/** Size of a namespace's name on the screen, far out. */
const NAME_PX = 12;

export function paintGroups(
  context: Context,
  groups: Drawn['groups'],
  palette: Palette,
  scale: number,
): void {
  context.textBaseline = 'alphabetic';
  for (const { name, x, y, width, height } of groups) {
    context.fillStyle = palette.group;
    context.strokeStyle = palette.border;
    context.lineWidth = 1 / Math.min(1, scale);
    context.beginPath();
    context.roundRect(x, y, width, height, 16);
    context.fill();
    context.stroke();
    context.fillStyle = palette.muted;
    const isFar = scale < MIDDLE_SCALE;
    context.font = `600 ${isFar ? NAME_PX / scale : 13}px ${FONT_FAMILY}`;
    if (isFar) context.fillText(fitting(context, name, width), x + 2, y - 5 / scale);
    else context.fillText(name, x + 18, y + 25);
  }
}

/** Cards as the elements look, for where there are too many for elements, and while the graph moves. */
export function paintNodes(
  context: Context,
  nodes: readonly DrawnNode[],
  palette: Palette,
  { scale, near }: { readonly scale: number; readonly near: ReadonlySet<string> | undefined },
): void {
  const isFar = scale < FAR_SCALE;
  const isMiddle = !isFar && scale < MIDDLE_SCALE;
  context.textBaseline = 'alphabetic';
  context.lineWidth = Math.max(1, 0.6 / scale);
  for (const node of nodes) {
    const { id, x, y } = node;
    context.globalAlpha = near === undefined || near.has(id) ? 1 : 0.32;
    if (isFar) {
      // Too small for a card: a tile, which says by its colour how it is.
      context.fillStyle = node.health === 'good' ? palette.lock : palette.line[node.health];
      context.beginPath();
      context.roundRect(x, y, NODE_WIDTH, NODE_HEIGHT, 16);
      context.fill();
      continue;
    }
    context.fillStyle = palette.raised;
    context.strokeStyle = palette.border;
    context.setLineDash(node.kind === 'outside' ? [4, 3] : []);
    context.beginPath();
    context.roundRect(x, y, NODE_WIDTH, NODE_HEIGHT, 12);
    context.fill();
    context.stroke();
    context.setLineDash([]);
    ring(context, node, palette, { x: x + 28, y: y + NODE_HEIGHT / 2, radius: 16.5 });
    context.fillStyle = palette.text;
    context.font = `600 ${isMiddle ? 17 : 14}px ${FONT_FAMILY}`;
    context.fillText(fitting(context, node.name, TEXT_ROOM), x + TEXT_LEFT, y + (isMiddle ? 37 : 28));
    if (node.waypoint) diamond(context, x + NODE_WIDTH - 18, y + 1, palette.accent, 7);
    if (isMiddle) continue;
    context.fillStyle =
      node.health === 'warn'
        ? palette.plain
        : ['bad', 'denied'].includes(node.health)
          ? palette.bad
          : palette.muted;
    context.font = `400 12px ${FONT_FAMILY}`;
    context.fillText(fitting(context, node.facts, TEXT_ROOM), x + TEXT_LEFT, y + 46);
  }
  context.globalAlpha = 1;
}

/** Success, all the way round when everything does. */
function ring(
  context: Context,
  { health, share }: DrawnNode,
  palette: Palette,
  { x, y, radius }: { readonly x: number; readonly y: number; readonly radius: number },
): void {
  const begin = -Math.PI / 2;
  const end = begin + share * Math.PI * 2;
  context.lineWidth = 3;
  context.strokeStyle = palette.tone[health];
  context.beginPath();
  context.arc(x, y, radius, begin, end);
  context.stroke();
  if (share < 0.999) {
    context.strokeStyle = palette.bad;
    context.beginPath();
    context.arc(x, y, radius, end, begin + Math.PI * 2);
    context.stroke();
  }
  context.lineWidth = 1;
}

const known = new Map<string, string>();
const MOST_KNOWN = 5_000;

/** The text, cut where there is no more room. */
function fitting(context: Context, text: string, room: number): string {
  const key = `${context.font}\n${Math.round(room)}\n${text}`;
  let fit = known.get(key);
  if (fit === undefined) {
    fit = text;
    while (fit.length > 1 && context.measureText(fit).width > room) fit = `${fit.slice(0, -2)}…`;
    if (known.size >= MOST_KNOWN) known.clear();
    known.set(key, fit);
  }
  return fit;
}
