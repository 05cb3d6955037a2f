import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { layers } from '../../../../dashboard/src/graph/layers.ts';
import { layOut, NODE_HEIGHT, NODE_WIDTH } from '../../../../dashboard/src/graph/layout.ts';

const GAP = { layer: 100, node: 20 };
const boxes = (ids: string): { id: string; width: number; height: number }[] =>
  [...ids].map((id) => ({ id, width: 50, height: 30 }));
const pairs = (...texts: string[]): [string, string][] => texts.map((text) => [text[0] ?? '', text[1] ?? '']);

describe('drawing in layers', () => {
  it('puts callers left of whom they call, and the same layer above each other', () => {
    const at = layers(boxes('abcd'), pairs('ab', 'ac', 'bd', 'cd'), GAP);
    assert.deepEqual(
      [...'abcd'].map((id) => at.get(id)?.x),
      [0, 150, 150, 300],
    );
    assert.equal(Math.abs((at.get('b')?.y ?? 0) - (at.get('c')?.y ?? 0)), 50, 'height and gap');
    assert.equal(at.get('a')?.y, at.get('d')?.y, 'both in the middle of b and c');
  });

  it('orders a layer so that edges do not cross where they need not', () => {
    const at = layers(boxes('abcxyz'), pairs('az', 'by', 'cx'), GAP);
    const down = (ids: string): string =>
      [...ids].sort((m, n) => (at.get(m)?.y ?? 0) - (at.get(n)?.y ?? 0)).join('');
    const partners = new Map(pairs('az', 'by', 'cx'));
    assert.equal([...down('abc')].map((id) => partners.get(id)).join(''), down('xyz'));
  });

  it('takes circles, loops and repetitions', () => {
    const at = layers(boxes('abc'), pairs('ab', 'bc', 'ca', 'aa', 'ab'), GAP);
    assert.deepEqual(
      [...'abc'].map((id) => at.get(id)?.x),
      [0, 150, 300],
    );
  });

  it('leaves no node on another, however many there are', () => {
    const ids = Array.from({ length: 200 }, (_, n) => String(n));
    const edges = ids.flatMap((id, n): [string, string][] =>
      [(n * 7 + 1) % 200, (n * 13 + 5) % 200, Math.floor(n / 2)].map((to) => [id, String(to)]),
    );
    for (const aspect of [1.8, 0.55]) {
      const { nodes, down } = layOut({
        nodes: ids.map((id, n) => ({ id, group: `g${n % 4}` })),
        ...{ edges, aspect },
      });
      const corners = Object.values(nodes);
      assert.deepEqual([corners.length, down], [200, aspect < 1]);
      corners.forEach((a, n) => {
        for (const b of corners.slice(n + 1))
          assert.ok(
            Math.abs(a.x - b.x) >= NODE_WIDTH || Math.abs(a.y - b.y) >= NODE_HEIGHT,
            JSON.stringify([a, b]),
          );
      });
    }
  });
});
