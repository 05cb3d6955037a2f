/**
 * Drawing in layers (after Sugiyama): who calls stands left of whom it calls. A group of 25 nodes takes about a millisecond, so that a
 * mesh of 500 Services needs no seconds before its first picture (decision 0173).
 */

export interface Boxed {
  readonly id: string;
  readonly width: number;
  readonly height: number;
}

export interface LayersGap {
  /** Between layers, and between those of one layer. */
  readonly layer: number;
  readonly node: number;
}

/** Rounds of ordering; the best of all is kept. */
const ORDER_ROUNDS = 10;
const PLACE_ROUNDS = 12;
/** Height of the room that is left for an edge that passes a layer. */
const PASSING = 14;

interface Cell {
  readonly id: string | undefined;
  readonly width: number;
  readonly height: number;
  readonly layer: number;
  readonly before: Cell[];
  readonly after: Cell[];
  /** Its place in its layer, and its middle from above. */
  order: number;
  y: number;
}

/**
 * Lays out nodes of any size.
 *
 * @param edges from and to, which must be among the nodes; loops and repetitions are passed over
 * @returns upper left corners by id; the least x and y are 0
 */
export function layers(
  nodes: readonly Boxed[],
  edges: readonly (readonly [from: string, to: string])[],
  gap: LayersGap,
): Map<string, { x: number; y: number }> {
  const layerOf = ranks(
    nodes.map(({ id }) => id),
    edges,
  );
  const rows = cells(nodes, edges, layerOf);
  order(rows);
  place(rows, gap.node);
  const top = Math.min(...rows.flat().map(({ y, height }) => y - height / 2));
  const corners = new Map<string, { x: number; y: number }>();
  let x = 0;
  for (const row of rows) {
    const width = Math.max(0, ...row.map((cell) => cell.width));
    for (const { id, y, height, width: own } of row)
      if (id !== undefined) corners.set(id, { x: x + (width - own) / 2, y: y - height / 2 - top });
    x += width + gap.layer;
  }
  return corners;
}

/** The layer of each: one more than the last of its callers; edges that close a circle do not count. */
function ranks(
  ids: readonly string[],
  edges: readonly (readonly [string, string])[],
): ReadonlyMap<string, number> {
  const after = new Map(ids.map((id) => [id, new Set<string>()]));
  const callers = new Map(ids.map((id) => [id, 0]));
  for (const [from, to] of edges) {
    if (from === to || after.get(from)?.has(to) !== false) continue;
    after.get(from)?.add(to);
    callers.set(to, (callers.get(to) ?? 0) + 1);
  }
  // Deep first, from those that nobody calls: what leads back to one that is under way closes a circle.
  const state = new Map<string, 'open' | 'done'>();
  const sorted: string[] = [];
  const begin = [...ids].sort((a, b) => (callers.get(a) ?? 0) - (callers.get(b) ?? 0));
  for (const root of begin) {
    if (state.has(root)) continue;
    state.set(root, 'open');
    const path = [{ id: root, rest: [...(after.get(root) ?? [])] }];
    for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
      const next = top.rest.pop();
      if (next === undefined) {
        state.set(top.id, 'done');
        sorted.push(top.id);
        path.pop();
      } else if (state.get(next) === 'open') after.get(top.id)?.delete(next);
      else if (!state.has(next)) {
        state.set(next, 'open');
        path.push({ id: next, rest: [...(after.get(next) ?? [])] });
      }
    }
  }
  const layer = new Map(ids.map((id) => [id, 0]));
  for (const id of sorted.toReversed())
    for (const to of after.get(id) ?? [])
      layer.set(to, Math.max(layer.get(to) ?? 0, (layer.get(id) ?? 0) + 1));
  // Whom nobody calls stands next to the first that it calls.
  const called = new Set([...after.values()].flatMap((each) => [...each]));
  for (const id of ids) {
    const nearest = Math.min(...[...(after.get(id) ?? [])].map((to) => layer.get(to) ?? 0));
    if (!called.has(id) && Number.isFinite(nearest)) layer.set(id, nearest - 1);
  }
  return layer;
}

/** All cells by layer, with one in each layer that an edge passes. */
function cells(
  nodes: readonly Boxed[],
  edges: readonly (readonly [string, string])[],
  layerOf: ReadonlyMap<string, number>,
): Cell[][] {
  const rows: Cell[][] = [];
  const put = (cell: Omit<Cell, 'order' | 'y' | 'before' | 'after'>): Cell => {
    const row = (rows[cell.layer] ??= []);
    const made: Cell = { ...cell, before: [], after: [], order: row.length, y: 0 };
    row.push(made);
    return made;
  };
  const byId = new Map(
    nodes.map(({ id, width, height }) => [id, put({ id, width, height, layer: layerOf.get(id) ?? 0 })]),
  );
  const done = new Set<string>();
  for (const [from, to] of edges) {
    let [a, b] = [byId.get(from), byId.get(to)];
    const key = from < to ? `${from}\n${to}` : `${to}\n${from}`;
    if (a === undefined || b === undefined || a.layer === b.layer || done.has(key)) continue;
    done.add(key);
    if (a.layer > b.layer) [a, b] = [b, a];
    for (let layer = a.layer + 1; layer < b.layer; layer += 1) {
      const passing = put({ id: undefined, width: 0, height: PASSING, layer });
      join(a, passing);
      a = passing;
    }
    join(a, b);
  }
  return Array.from(rows, (row) => row ?? []);
}

function join(a: Cell, b: Cell): void {
  a.after.push(b);
  b.before.push(a);
}

const mean = (all: readonly number[]): number => all.reduce((sum, each) => sum + each, 0) / all.length;

/** Orders each layer by the middle of its neighbours, to and fro, and keeps the order with the fewest crossings. */
function order(rows: Cell[][]): void {
  let best = rows.map((row) => [...row]);
  let fewest = crossings(rows);
  for (let round = 0; round < ORDER_ROUNDS && fewest > 0; round += 1) {
    const side = round % 2 === 0 ? 'before' : 'after';
    for (const row of side === 'before' ? rows : rows.toReversed()) {
      const wish = new Map(
        row.map((cell) => [
          cell,
          cell[side].length === 0 ? cell.order : mean(cell[side].map((each) => each.order)),
        ]),
      );
      row.sort((a, b) => (wish.get(a) ?? 0) - (wish.get(b) ?? 0) || a.order - b.order);
      number(row);
    }
    const count = crossings(rows);
    if (count < fewest) {
      fewest = count;
      best = rows.map((row) => [...row]);
    }
  }
  best.forEach((row, n) => (rows[n] = row));
  rows.forEach(number);
}

function number(row: readonly Cell[]): void {
  row.forEach((cell, n) => (cell.order = n));
}

function crossings(rows: readonly (readonly Cell[])[]): number {
  let count = 0;
  for (const row of rows) {
    const ends = row.flatMap((cell) => cell.after.map((to) => to.order).sort((a, b) => a - b));
    for (let n = 1; n < ends.length; n += 1)
      for (let before = 0; before < n; before += 1) if ((ends[before] ?? 0) > (ends[n] ?? 0)) count += 1;
  }
  return count;
}

/** Draws each cell to the middle of its neighbours, as far as those of its layer leave room. */
function place(rows: readonly (readonly Cell[])[], gap: number): void {
  for (const row of rows)
    settle(
      row,
      row.map(() => 0),
      gap,
    );
  for (let round = 0; round < PLACE_ROUNDS; round += 1) {
    const forward = round % 2 === 0;
    for (const row of forward ? rows : rows.toReversed())
      settle(
        row,
        row.map(({ before, after, y }) => {
          const [main, other] = forward ? [before, after] : [after, before];
          // The last rounds weigh both sides.
          const near = round >= PLACE_ROUNDS - 4 ? [...before, ...after] : main.length > 0 ? main : other;
          return near.length === 0 ? y : mean(near.map((each) => each.y));
        }),
        gap,
      );
  }
}

/**
 * The places nearest to the wishes (least squares) that keep the order and the gaps: isotonic regression by pooling neighbours that
 * are in each other's way.
 */
function settle(row: readonly Cell[], wishes: readonly number[], gap: number): void {
  const offsets: number[] = [];
  row.forEach((cell, n) => {
    const before = row[n - 1];
    offsets.push(before === undefined ? 0 : (offsets[n - 1] ?? 0) + (before.height + cell.height) / 2 + gap);
  });
  const pools: { sum: number; size: number }[] = [];
  wishes.forEach((wish, n) => {
    let pool = { sum: wish - (offsets[n] ?? 0), size: 1 };
    for (let last = pools.at(-1); last !== undefined; last = pools.at(-1)) {
      if (last.sum / last.size <= pool.sum / pool.size) break;
      pool = { sum: last.sum + pool.sum, size: last.size + pool.size };
      pools.pop();
    }
    pools.push(pool);
  });
  let n = 0;
  for (const { sum, size } of pools)
    for (const end = n + size; n < end; n += 1) {
      const cell = row[n];
      if (cell !== undefined) cell.y = sum / size + (offsets[n] ?? 0);
    }
}
