import { layers, type Boxed } from './layers.ts';

export const NODE_WIDTH = 184;
export const NODE_HEIGHT = 62;
const GROUP_PADDING = 22;
const GROUP_HEAD = 30;
const GROUP_GAP = 84;
/** Between layers: room for what stands on an edge. */
const LAYER_GAP = { right: 136, down: 84 } as const;
const NODE_GAP = 26;
/** More groups than these are packed in rows, which ranks would draw out into one long line. */
const RANKED_GROUPS = 6;
/** Ranks show what calls what at a glance: they may be this much smaller. */
const FOR_RANKS = 1.25;

export interface LayoutInput {
  readonly nodes: readonly { readonly id: string; readonly group: string }[];
  readonly edges: readonly (readonly [from: string, to: string])[];
  /** Width to height of the place; where it is higher than wide, callers stand above whom they call. */
  readonly aspect: number;
}

export interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

export interface Layout {
  /** Upper left corners, by id. */
  readonly nodes: Readonly<Record<string, { readonly x: number; readonly y: number }>>;
  readonly groups: Readonly<Record<string, Box>>;
  readonly width: number;
  readonly height: number;
  /** Callers stand above, and not left. */
  readonly down: boolean;
}

interface Placed {
  readonly id: string;
  readonly width: number;
  readonly height: number;
  readonly nodes: ReadonlyMap<string, { readonly x: number; readonly y: number }>;
}

/**
 * Lays out each group by itself, callers left of whom they call, and then the groups by what goes between them. A group keeps its form
 * whatever happens in the others.
 */
export function layOut({ nodes, edges, aspect }: LayoutInput): Layout {
  const down = aspect < 1;
  const groupOf = new Map(nodes.map(({ id, group }) => [id, group]));
  const groups = [...Map.groupBy(nodes, ({ group }) => group)]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([group, members]) => {
      const ids = members.map(({ id }) => id).sort();
      const inside = edges.filter(([from, to]) => groupOf.get(from) === group && groupOf.get(to) === group);
      return placeGroup(group, ids, inside, down);
    });
  const between = new Map<string, number>();
  for (const [from, to] of edges) {
    const [a, b] = [groupOf.get(from), groupOf.get(to)];
    if (a === undefined || b === undefined || a === b) continue;
    between.set(`${a}\n${b}`, (between.get(`${a}\n${b}`) ?? 0) + 1);
  }
  const corners = best(groups, between, aspect, down);
  const placed: Record<string, { x: number; y: number }> = {};
  const boxes: Record<string, Box> = {};
  for (const group of groups) {
    const { x, y } = corners.get(group.id) ?? { x: 0, y: 0 };
    boxes[group.id] = { x, y, width: group.width, height: group.height };
    for (const [id, at] of group.nodes) placed[id] = { x: x + at.x, y: y + at.y };
  }
  return { nodes: placed, groups: boxes, ...extentOf(groups, corners), down };
}

function placeGroup(id: string, ids: readonly string[], edges: LayoutInput['edges'], down: boolean): Placed {
  const joined = new Set(edges.flatMap(([from, to]) => (from === to ? [] : [from, to])));
  const nodes = new Map<string, { x: number; y: number }>();
  let [width, height] = [0, 0];
  if (joined.size > 0) {
    const boxes = ids
      .filter((each) => joined.has(each))
      .map((each) => ({ id: each, width: NODE_WIDTH, height: NODE_HEIGHT }));
    for (const [each, at] of inLayers(boxes, edges, NODE_GAP, down)) {
      nodes.set(each, at);
      width = Math.max(width, at.x + NODE_WIDTH);
      height = Math.max(height, at.y + NODE_HEIGHT);
    }
  }
  // Who talks to nobody of its group stands below, in rows.
  const alone = ids.filter((each) => !joined.has(each));
  const columns = Math.max(
    1,
    Math.min(
      alone.length,
      Math.max(Math.round(width / (NODE_WIDTH + 24)), Math.ceil(Math.sqrt(alone.length * 0.6))),
    ),
  );
  const top = height === 0 ? 0 : height + 30;
  alone.forEach((each, n) => {
    const [x, y] = [(n % columns) * (NODE_WIDTH + 24), top + Math.floor(n / columns) * (NODE_HEIGHT + 22)];
    nodes.set(each, { x, y });
    width = Math.max(width, x + NODE_WIDTH);
    height = Math.max(height, y + NODE_HEIGHT);
  });
  for (const [each, { x, y }] of nodes)
    nodes.set(each, { x: x + GROUP_PADDING, y: y + GROUP_PADDING + GROUP_HEAD });
  return { id, nodes, width: width + GROUP_PADDING * 2, height: height + GROUP_PADDING * 2 + GROUP_HEAD };
}

type Corners = ReadonlyMap<string, { readonly x: number; readonly y: number }>;

/** Layers from left to right, or downwards. */
function inLayers(
  boxes: readonly Boxed[],
  edges: LayoutInput['edges'],
  node: number,
  down: boolean,
): Corners {
  if (!down) return layers(boxes, edges, { layer: LAYER_GAP.right, node });
  const turned = boxes.map(({ id, width, height }) => ({ id, width: height, height: width }));
  const corners = layers(turned, edges, { layer: LAYER_GAP.down, node });
  return new Map([...corners].map(([id, { x, y }]) => [id, { x: y, y: x }]));
}

/** Of several ways to place the groups the one that can be shown largest. */
function best(
  groups: readonly Placed[],
  between: ReadonlyMap<string, number>,
  aspect: number,
  down: boolean,
): Corners {
  const area = groups.reduce((sum, { width, height }) => sum + (width + GROUP_GAP) * (height + GROUP_GAP), 0);
  const widest = Math.max(0, ...groups.map(({ width }) => width));
  const ways = [1, 1.3, 1.7].map((more) =>
    packRows(groups, between, Math.max(widest, Math.sqrt(area * aspect * more))),
  );
  const scale = (corners: Corners): number => {
    const { width, height } = extentOf(groups, corners);
    return Math.min(aspect / width, 1 / height);
  };
  let chosen = ways[0] ?? new Map();
  for (const way of ways) if (scale(way) > scale(chosen)) chosen = way;
  if (groups.length > RANKED_GROUPS) return chosen;
  const edges = [...between.keys()].map((key): [string, string] => {
    const [from = '', to = ''] = key.split('\n');
    return [from, to];
  });
  const ranked = inLayers(groups, edges, GROUP_GAP / 2, down);
  return scale(ranked) * FOR_RANKS >= scale(chosen) ? ranked : chosen;
}

function extentOf(groups: readonly Placed[], corners: Corners): { width: number; height: number } {
  let [width, height] = [0, 0];
  for (const group of groups) {
    const { x, y } = corners.get(group.id) ?? { x: 0, y: 0 };
    width = Math.max(width, x + group.width);
    height = Math.max(height, y + group.height);
  }
  return { width, height };
}

/** In rows of a width; those that call stand before those that are called, but for what fits into a row before. */
function packRows(
  groups: readonly Placed[],
  between: ReadonlyMap<string, number>,
  rowWidth: number,
): Corners {
  const score = new Map<string, number>();
  for (const [key, count] of between) {
    const [from = '', to = ''] = key.split('\n');
    score.set(from, (score.get(from) ?? 0) + count);
    score.set(to, (score.get(to) ?? 0) - count);
  }
  const ordered = [...groups].sort((a, b) => (score.get(b.id) ?? 0) - (score.get(a.id) ?? 0));
  const rows: { width: number; height: number; members: { id: string; x: number }[] }[] = [];
  for (const { id, width, height } of ordered) {
    let row = rows.find((each) => each.width + width <= rowWidth);
    if (row === undefined) rows.push((row = { width: 0, height: 0, members: [] }));
    row.members.push({ id, x: row.width });
    row.width += width + GROUP_GAP;
    row.height = Math.max(row.height, height);
  }
  const corners = new Map<string, { x: number; y: number }>();
  let y = 0;
  for (const { height, members } of rows) {
    for (const { id, x } of members) corners.set(id, { x, y });
    y += height + GROUP_GAP;
  }
  return corners;
}
