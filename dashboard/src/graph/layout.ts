import { layers } from './layers.ts';

export const NODE_WIDTH = 184;
export const NODE_HEIGHT = 62;
const GROUP_PADDING = 22;
const GROUP_HEAD = 30;
const GROUP_GAP = 110;
/** More groups than these are packed in rows, which ranks would draw out into one long line. */
const RANKED_GROUPS = 6;
const ASPECT = 1.7;

export interface LayoutInput {
  readonly nodes: readonly { readonly id: string; readonly group: string }[];
  readonly edges: readonly (readonly [from: string, to: string])[];
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
export function layOut({ nodes, edges }: LayoutInput): Layout {
  const groupOf = new Map(nodes.map(({ id, group }) => [id, group]));
  const groups = [...Map.groupBy(nodes, ({ group }) => group)]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([group, members]) => {
      const ids = members.map(({ id }) => id).sort();
      const inside = edges.filter(([from, to]) => groupOf.get(from) === group && groupOf.get(to) === group);
      return placeGroup(group, ids, inside);
    });
  const between = new Map<string, number>();
  for (const [from, to] of edges) {
    const [a, b] = [groupOf.get(from), groupOf.get(to)];
    if (a === undefined || b === undefined || a === b) continue;
    between.set(`${a}\n${b}`, (between.get(`${a}\n${b}`) ?? 0) + 1);
  }
  const corners = groups.length <= RANKED_GROUPS ? rank(groups, between) : packRows(groups, between);
  const placed: Record<string, { x: number; y: number }> = {};
  const boxes: Record<string, Box> = {};
  let [width, height] = [0, 0];
  for (const group of groups) {
    const { x, y } = corners.get(group.id) ?? { x: 0, y: 0 };
    boxes[group.id] = { x, y, width: group.width, height: group.height };
    for (const [id, at] of group.nodes) placed[id] = { x: x + at.x, y: y + at.y };
    width = Math.max(width, x + group.width);
    height = Math.max(height, y + group.height);
  }
  return { nodes: placed, groups: boxes, width, height };
}

function placeGroup(id: string, ids: readonly string[], edges: LayoutInput['edges']): Placed {
  const joined = new Set(edges.flatMap(([from, to]) => (from === to ? [] : [from, to])));
  const nodes = new Map<string, { x: number; y: number }>();
  let [width, height] = [0, 0];
  if (joined.size > 0) {
    const boxes = ids
      .filter((each) => joined.has(each))
      .map((each) => ({ id: each, width: NODE_WIDTH, height: NODE_HEIGHT }));
    for (const [each, at] of layers(boxes, edges, { layer: 150, node: 26 })) {
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

function rank(groups: readonly Placed[], between: ReadonlyMap<string, number>): Corners {
  const edges = [...between.keys()].map((key): [string, string] => {
    const [from = '', to = ''] = key.split('\n');
    return [from, to];
  });
  return layers(groups, edges, { layer: GROUP_GAP, node: GROUP_GAP / 2 });
}

/** In rows of a page's form; those that call stand before those that are called. */
function packRows(groups: readonly Placed[], between: ReadonlyMap<string, number>): Corners {
  const score = new Map<string, number>();
  for (const [key, count] of between) {
    const [from = '', to = ''] = key.split('\n');
    score.set(from, (score.get(from) ?? 0) + count);
    score.set(to, (score.get(to) ?? 0) - count);
  }
  const ordered = [...groups].sort((a, b) => (score.get(b.id) ?? 0) - (score.get(a.id) ?? 0));
  const area = groups.reduce((sum, { width, height }) => sum + (width + GROUP_GAP) * (height + GROUP_GAP), 0);
  const rowWidth = Math.sqrt(area * ASPECT);
  const corners = new Map<string, { x: number; y: number }>();
  let [x, y, rowHeight] = [0, 0, 0];
  for (const { id, width, height } of ordered) {
    if (x > 0 && x + width > rowWidth) {
      x = 0;
      y += rowHeight + GROUP_GAP;
      rowHeight = 0;
    }
    corners.set(id, { x, y });
    x += width + GROUP_GAP;
    rowHeight = Math.max(rowHeight, height);
  }
  return corners;
}
