import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import {
  createReadStream,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { extract, type Header } from 'tar-stream';
import { complete, file, folder, text } from '../../../../cli/image/entries.ts';
import { writeArchive, writeLayout, type ImageSpec } from '../../../../cli/image/oci.ts';

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

async function headers(archive: string): Promise<Header[]> {
  const found: Header[] = [];
  for await (const entry of createReadStream(archive).pipe(extract() as never) as AsyncIterable<
    AsyncIterable<Buffer> & { header: Header }
  >) {
    for await (const _chunk of entry);
    found.push(entry.header);
  }
  return found;
}

describe('an OCI image layout', () => {
  let dir: string;
  beforeEach(() => (dir = mkdtempSync(join(tmpdir(), 'loam-oci-'))));
  afterEach(() => rmSync(dir, { recursive: true }));

  function spec(): ImageSpec {
    const program = join(dir, 'program');
    writeFileSync(program, 'the program', { mode: 0o751 });
    return {
      architecture: 'arm64',
      layers: [
        { title: 'base', entries: [text('/etc/passwd', 'root'), folder('/tmp', 0o1777)] },
        {
          title: 'app',
          entries: [
            file('/app/program', program),
            { kind: 'link', path: '/app/link', mode: 0o777, target: 'program' },
          ],
        },
      ],
      entrypoint: ['/app/program'],
      env: { PATH: '/app' },
      workingDir: '/app',
      labels: { 'org.opencontainers.image.title': 'test' },
      created: new Date(0),
    };
  }
  const json = <T>(path: string): T => JSON.parse(readFileSync(path, 'utf8')) as T;

  it('names every blob by its own digest and size, from index to layer', async () => {
    const layout = join(dir, 'layout');
    const [built] = await writeLayout(layout, 'localhost/test:1', [spec()]);
    const blob = (digest: string): string => join(layout, 'blobs', ...digest.split(':'));
    const check = ({ digest, size }: Descriptor): void => {
      const bytes = readFileSync(blob(digest));
      assert.equal(bytes.length, size);
      assert.equal(`sha256:${createHash('sha256').update(bytes).digest('hex')}`, digest);
    };

    assert.deepEqual(json(join(layout, 'oci-layout')), { imageLayoutVersion: '1.0.0' });
    const index = json<{
      manifests: (Descriptor & { platform: object; annotations: Record<string, string> })[];
    }>(join(layout, 'index.json'));
    assert.equal(index.manifests.length, 1);
    const [entry] = index.manifests;
    assert.ok(entry);
    assert.deepEqual(entry.platform, { architecture: 'arm64', os: 'linux' });
    assert.equal(entry.annotations['io.containerd.image.name'], 'localhost/test:1');
    assert.equal(entry.annotations['org.opencontainers.image.ref.name'], '1');
    assert.equal(entry.digest, built?.digest);
    check(entry);

    const manifest = json<{ config: Descriptor; layers: Descriptor[] }>(blob(entry.digest));
    check(manifest.config);
    manifest.layers.forEach(check);
    const config = json<{ rootfs: { diff_ids: string[] }; config: { Entrypoint: string[] } }>(
      blob(manifest.config.digest),
    );
    assert.deepEqual(
      config.rootfs.diff_ids,
      manifest.layers.map(({ digest }) => digest),
      'layers are not compressed',
    );
    assert.deepEqual(config.config.Entrypoint, ['/app/program']);
    assert.equal(readdirSync(join(layout, 'blobs', 'sha256')).length, 4, 'nothing else is in it');

    const [base, app] = manifest.layers;
    assert.deepEqual(
      (await headers(blob(base?.digest ?? ''))).map(({ name, type, mode }) => [name, type, mode]),
      [
        ['etc/', 'directory', 0o755],
        ['etc/passwd', 'file', 0o644],
        ['tmp/', 'directory', 0o1777],
      ],
    );
    const entries = await headers(blob(app?.digest ?? ''));
    assert.deepEqual(
      entries.map(({ name, type, mode, linkname }) => [name, type, mode, linkname]),
      [
        ['app/', 'directory', 0o755, null],
        ['app/link', 'symlink', 0o777, 'program'],
        ['app/program', 'file', 0o755, null],
      ],
    );
    for (const { uid, gid, mtime, uname } of entries)
      assert.deepEqual([uid, gid, mtime.getTime(), uname], [0, 0, 0, '']);
  });

  it('is the same twice, whatever the times and the order of its files, and so is the archive', async () => {
    const digests: (string | undefined)[] = [];
    for (const round of [1, 2]) {
      const { layers, ...rest } = spec();
      utimesSync(join(dir, 'program'), round * 1000, round * 1000);
      const turned = layers.map(({ title, entries }) => ({
        title,
        entries: round === 1 ? entries : entries.toReversed(),
      }));
      const layout = join(dir, `layout-${round}`);
      const [built] = await writeLayout(layout, 'localhost/test:1', [{ ...rest, layers: turned }]);
      digests.push(built?.digest, (await writeArchive(layout, join(dir, `${round}.tar`))).digest);
    }
    assert.deepEqual(digests.slice(0, 2), digests.slice(2));
    const other = await writeLayout(join(dir, 'other'), 'localhost/test:1', [{ ...spec(), workingDir: '/' }]);
    assert.notEqual(other[0]?.digest, digests[0]);
  });

  it('is not there when a file is missing, and the former one stays', async () => {
    const layout = join(dir, 'layout');
    await writeLayout(layout, 'localhost/test:1', [spec()]);
    const before = readFileSync(join(layout, 'index.json'), 'utf8');
    const good = spec();
    rmSync(join(dir, 'program'));
    await assert.rejects(writeLayout(layout, 'localhost/test:1', [good]), /program/);
    assert.equal(readFileSync(join(layout, 'index.json'), 'utf8'), before);
    assert.deepEqual(readdirSync(dir), ['layout'], 'no half of one is left');
  });

  it('refuses what cannot be one file system', () => {
    const refused = (entries: Parameters<typeof complete>[0], message: RegExp): void =>
      assert.throws(() => complete(entries), { code: 'IMAGE_FILE', message });
    refused([text('/a', '1'), text('/a', '2')], /two different things are to be \/a/);
    refused([text('/a', '1'), text('/a/b', '2')], /lies in \/a, which is no folder/);
    refused([text('/a/../b', '1')], /no normal absolute path/);
    refused([text('a', '1')], /no normal absolute path/);
    assert.equal(complete([text('/a', '1'), text('/a', '1')]).length, 1);
  });
});
