import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { ObjectsCopy } from '../../../../controller/sources/kubernetes/objects-copy.ts';

const slice = (name: string, by?: string): object => ({
  ...{ apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice' },
  metadata: { name, ...(by !== undefined && { labels: { 'endpointslice.kubernetes.io/managed-by': by } }) },
});
const PATH = '/apis/discovery.k8s.io/v1/endpointslices';

describe("a copy of a cluster's objects", () => {
  it('answers as the API server does: by collection, and selected', async () => {
    const copy = new ObjectsCopy([slice('own'), slice('kept', 'me'), slice('gone', 'them')]);
    const names = async (labelSelector?: string): Promise<string[]> => {
      const { items } = await copy.get<{ items: { metadata: { name: string } }[] }>(PATH, { labelSelector });
      return items.map(({ metadata }) => metadata.name);
    };
    assert.deepEqual(await names(), ['own', 'kept', 'gone']);
    assert.deepEqual(await names('endpointslice.kubernetes.io/managed-by!=them'), ['own', 'kept']);
    await assert.rejects(async () => names('a in (b)'), /a copy cannot select by a in \(b\)/);
    assert.deepEqual(await copy.get('/api/v1/pods'), { metadata: { resourceVersion: '1' }, items: [] });
  });

  it('tells of no change, until it is asked no more', async () => {
    const copy = new ObjectsCopy([]);
    const over = new AbortController();
    const told: string[] = [];
    const watch = copy.lines(PATH, {}, (line) => told.push(line), { signal: over.signal });
    over.abort();
    await watch;
    assert.deepEqual(told, []);
  });

  it('names what cannot be used', () => {
    assert.throws(() => new ObjectsCopy([{}]), /items\[0\] is no object with a name/);
    assert.throws(
      () => new ObjectsCopy([{ apiVersion: 'v1', kind: 'Secret', metadata: { name: 'x' } }]),
      /items\[0\] is of v1\/Secret; allowed: v1\/Namespace/,
    );
    const folder = mkdtempSync(join(tmpdir(), 'loam-copy-'));
    try {
      const file = join(folder, 'objects.json');
      for (const [text, why] of [
        ['{', /--objects .* cannot be used: /],
        ['{"items": 1}', /it is no List/],
      ] as const) {
        writeFileSync(file, text);
        assert.throws(() => ObjectsCopy.read(file), { code: 'CONFIG', message: why });
      }
      assert.throws(() => ObjectsCopy.read(join(folder, 'none')), { code: 'CONFIG', message: /ENOENT/ });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
