import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { mkdir, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { DirectorySource } from '../../../../controller/sources/directory.ts';
import { LastGoodStore } from '../../../../controller/sources/last-good.ts';
import { MANIFESTS, policyManifest, replaceFile, SILENT, temporaryDir, until } from '../harness.ts';

const POLICY = 'AuthorizationPolicy/shop/payments-only-frontend';
const GOOD = policyManifest('cluster.local/ns/shop/sa/frontend');

interface Bench extends AsyncDisposable {
  readonly source: DirectorySource;
  readonly manifests: string;
  readonly state: string;
}

async function open(root: string): Promise<Bench> {
  const manifests = join(root, 'manifests');
  const state = join(root, 'state');
  await mkdir(manifests, { recursive: true });
  await mkdir(state, { recursive: true });
  const store = new LastGoodStore(state);
  const source = new DirectorySource({
    dir: manifests,
    rootNamespace: 'loam-system',
    trustDomain: 'cluster.local',
    store,
    log: SILENT,
  });
  return { source, manifests, state, [Symbol.asyncDispose]: () => source.close() };
}

async function withShop(root: string): Promise<Bench> {
  await replaceFile(join(root, 'manifests', 'shop.yaml'), MANIFESTS);
  await replaceFile(join(root, 'manifests', 'sub', 'policy.yaml'), GOOD);
  const bench = await open(root);
  await bench.source.start();
  return bench;
}

describe('sources/directory', () => {
  it('reads recursively and follows every way of writing', async () => {
    await using dir = await temporaryDir();
    await using bench = await withShop(dir.path);
    const { source, manifests } = bench;
    const has = (key: string): boolean => source.current.objects.has(key);
    assert(has(POLICY));
    const account = (name: string): string =>
      `apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: ${name}, namespace: shop}\n`;
    await writeFile(join(manifests, 'in-place.yaml'), account('one'));
    await until(() => has('ServiceAccount/shop/one'));
    await writeFile(join(manifests, 'in-place.yaml'), account('two'));
    await until(() => has('ServiceAccount/shop/two') && !has('ServiceAccount/shop/one'));
    await mkdir(join(manifests, 'new', 'deeper'), { recursive: true });
    await writeFile(join(manifests, 'new', 'deeper', 'a.yml'), account('three'));
    await until(() => has('ServiceAccount/shop/three'));
    await rename(join(manifests, 'new'), join(manifests, '.hidden'));
    await until(() => !has('ServiceAccount/shop/three'));
    await rm(join(manifests, 'sub'), { recursive: true });
    await until(() => !has(POLICY));
  });

  it('does not take a file that is being rewritten for an empty one', async () => {
    await using dir = await temporaryDir();
    await using bench = await withShop(dir.path);
    const gone: boolean[] = [];
    bench.source.onChange((set) => gone.push(!set.objects.has(POLICY)), new AbortController().signal);
    const path = join(bench.manifests, 'sub', 'policy.yaml');
    for (const principal of ['a', 'b', 'c']) {
      await truncate(path);
      await writeFile(path, policyManifest(principal));
      await until(() =>
        JSON.stringify(bench.source.current.objects.get(POLICY)?.object).includes(`["${principal}"]`),
      );
    }
    assert(!gone.includes(true));
  });

  it('follows an edit while something else is written all the time', async () => {
    await using dir = await temporaryDir();
    await using bench = await withShop(dir.path);
    const noise = setInterval(() => writeFileSync(join(bench.manifests, 'sub', 'noise.log'), 'x'), 5);
    try {
      await replaceFile(join(bench.manifests, 'sub', 'policy.yaml'), policyManifest('x'));
      await until(() => JSON.stringify(bench.source.current.objects.get(POLICY)?.object).includes('["x"]'));
    } finally {
      clearInterval(noise);
    }
  });

  it('survives loops, pipes, great files, files without permission and rubbish', async () => {
    await using dir = await temporaryDir();
    const manifests = join(dir.path, 'manifests');
    await mkdir(join(manifests, 'a'), { recursive: true });
    await symlink('..', join(manifests, 'a', 'up'));
    await symlink('self.yaml', join(manifests, 'self.yaml'));
    await symlink('/nowhere', join(manifests, 'dangling.yaml'));
    execFileSync('mkfifo', [join(manifests, 'pipe.yaml')]);
    await writeFile(join(manifests, 'great.yaml'), 'a: b\n'.repeat(2_000_000));
    await writeFile(join(manifests, 'latin.yaml'), Buffer.from([0x61, 0x3a, 0x20, 0xe4]));
    await using bench = await withShop(dir.path);
    assert(bench.source.current.objects.has(POLICY));
    assert.equal(bench.source.gate().ready, true);
    const errors = new Map(bench.source.current.problems.map(({ file, message }) => [file, message]));
    assert.match(errors.get('great.yaml') ?? '', /larger than/);
    assert.match(errors.get('pipe.yaml') ?? '', /not a regular file/);
    assert.match(errors.get('latin.yaml') ?? '', /UTF-8/);
    assert.match(errors.get('self.yaml') ?? '', /ELOOP/);
  });

  it('takes a symlink that leads nowhere for unreadable, not for deleted', async () => {
    await using dir = await temporaryDir();
    const elsewhere = join(dir.path, 'elsewhere');
    await mkdir(join(elsewhere, 'policies'), { recursive: true });
    await writeFile(join(elsewhere, 'policies', 'policy.yaml'), GOOD);
    await replaceFile(join(dir.path, 'manifests', 'shop.yaml'), MANIFESTS);
    await symlink(join(elsewhere, 'policies'), join(dir.path, 'manifests', 'policies'));
    await using bench = await open(dir.path);
    await bench.source.start();
    assert.equal(bench.source.current.objects.get(POLICY)?.lastGood, false);
    await rename(elsewhere, join(dir.path, 'unmounted'));
    await until(() => bench.source.current.problems.length > 0);
    assert.equal(bench.source.current.objects.get(POLICY)?.lastGood, true);
    assert.match(bench.source.current.problems[0]?.message ?? '', /symlink that leads nowhere/);
    await rename(join(dir.path, 'unmounted'), elsewhere);
    await until(() => bench.source.current.objects.get(POLICY)?.lastGood === false);
  });

  it('reads a mounted ConfigMap, whose files are symlinks behind a hidden one', async () => {
    await using dir = await temporaryDir();
    const manifests = join(dir.path, 'manifests');
    await mkdir(join(manifests, '..1'), { recursive: true });
    await writeFile(join(manifests, '..1', 'shop.yaml'), MANIFESTS);
    await symlink('..1', join(manifests, '..data'));
    await symlink('..data/shop.yaml', join(manifests, 'shop.yaml'));
    await using bench = await open(dir.path);
    await bench.source.start();
    assert.equal(bench.source.current.objects.size, 6);
  });

  it('keeps everything when the directory goes away, and follows it when it is back', async () => {
    await using dir = await temporaryDir();
    await using bench = await withShop(dir.path);
    await rename(bench.manifests, `${bench.manifests}-away`);
    await until(() =>
      bench.source.current.problems.some(({ message }) => message.includes('cannot be read')),
    );
    assert(bench.source.current.objects.has(POLICY));
    await rename(`${bench.manifests}-away`, bench.manifests);
    await until(() => bench.source.current.problems.length === 0);
    assert(bench.source.current.objects.has(POLICY));
  });

  it('loses no policy to a broken file and a restart together', async () => {
    await using dir = await temporaryDir();
    {
      await using bench = await withShop(dir.path);
      assert(bench.source.current.objects.has(POLICY));
    }
    await replaceFile(join(dir.path, 'manifests', 'sub', 'policy.yaml'), GOOD.replace('{from', '{{from'));
    await using again = await open(dir.path);
    await again.source.start();
    assert.equal(again.source.current.objects.get(POLICY)?.lastGood, true);
    await rm(join(dir.path, 'manifests', 'sub', 'policy.yaml'));
    await until(() => !again.source.current.objects.has(POLICY));
  });

  const losses: Record<string, Record<string, string>> = {
    'cut off': { 'last-good.json': '{"layout": 1, "objects": [' },
    'of another layout': { 'last-good.json': '{"layout": 2, "objects": []}' },
    'with an object that is not valid (any more)': {
      'last-good.json': JSON.stringify({
        layout: 1,
        objects: [
          {
            file: 'p.yaml',
            object: {
              apiVersion: 'security.istio.io/v1',
              kind: 'AuthorizationPolicy',
              metadata: { name: 'p', namespace: 'shop' },
              spec: { rules: [{ from: 'anyone' }] },
            },
          },
        ],
      }),
    },
    'deleted from a directory that was in use': { 'last-assignments.json': '{}' },
  };
  for (const [what, content] of Object.entries(losses)) {
    it(`vouches for nothing when its last good state is ${what} and a manifest is wrong`, async () => {
      await using dir = await temporaryDir();
      const state = join(dir.path, 'state');
      await mkdir(state);
      for (const [name, text] of Object.entries(content)) await writeFile(join(state, name), text);
      const wrong = GOOD.replace('action: DENY', 'action: DENI');
      await replaceFile(join(dir.path, 'manifests', 'bad.yaml'), wrong);
      await using bench = await withShop(dir.path);
      assert.equal(bench.source.gate().ready, false);
      assert.match(bench.source.gate().reason, /last good state is lost/);
      await rm(join(bench.manifests, 'bad.yaml'));
      await until(() => bench.source.gate().ready);
    });
  }
});
