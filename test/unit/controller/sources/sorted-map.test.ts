import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { SortedMap } from '../../../../controller/sources/sorted-map.ts';
import { Random } from '../compile/random-mesh.ts';

describe('sources/sorted-map', () => {
  it('is a map whose entries are sorted, whatever is put in and taken out', () => {
    const random = new Random(7);
    const map = new SortedMap<number>([['Pod/z', -1]]);
    const model = new Map<string, number>([['Pod/z', -1]]);
    for (let step = 0; step < 2_000; step += 1) {
      const key = `${random.of(['Pod', 'PodX', 'Gateway', 'Service'])}/${random.below(30)}`;
      if (random.chance(0.6)) {
        map.set(key, step);
        model.set(key, step);
      } else {
        map.delete(key);
        model.delete(key);
      }
      assert.equal(map.size, model.size);
      assert.equal(map.get(key), model.get(key));
      assert.equal(map.has(key), model.has(key));
      if (random.chance(0.3)) continue;
      const sorted = [...model].sort(([a], [b]) => (a < b ? -1 : 1));
      assert.deepEqual([...map], sorted);
      assert.deepEqual(
        [...map.keys()],
        [...map.values()].map((_, i) => sorted[i]?.[0]),
      );
      for (const prefix of ['Pod', 'Gateway', 'Nothing'])
        assert.deepEqual(
          [...map.under(prefix)],
          sorted.filter(([each]) => each.startsWith(`${prefix}/`)),
        );
    }
  });

  it('hands out the same part for as long as nothing of it has changed', () => {
    const map = new SortedMap([
      ['Pod/a', 1],
      ['Gateway/a', 2],
    ]);
    const part = map.under('Gateway');
    map.set('Pod/b', 3);
    assert.equal(map.under('Gateway'), part);
    map.set('Gateway/a', 4);
    assert.notEqual(map.under('Gateway'), part);
  });
});
