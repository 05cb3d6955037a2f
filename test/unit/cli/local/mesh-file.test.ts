import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { readMeshFile, writeMeshFile, type MeshFile } from '../../../../cli/local/mesh-file.ts';
import { meshPaths, type MeshPaths } from '../../../../cli/local/paths.ts';

describe('local mesh: what a supervisor writes down', () => {
  let dir: string;
  let paths: MeshPaths;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'loam-test-'));
    paths = { ...meshPaths('m'), meshFile: join(dir, 'mesh.json') };
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  const file: MeshFile = {
    mesh: 'm',
    slot: 3,
    manifests: '/somewhere',
    temporaryManifests: false,
    supervisorPid: 7,
    nodes: [{ node: 'node-a', instance: 'm-node-a' }],
  };

  it('is read as it was written', () => {
    writeMeshFile(paths, file);
    assert.deepEqual(readMeshFile(paths), file);
  });

  it('is nothing when it is absent, cut, or not of its shape', () => {
    assert.equal(readMeshFile(paths), undefined);
    const whole = JSON.stringify(file);
    for (const text of [
      ...['', 'null', '[]', '7', '{}', whole.slice(0, -1), `${whole}}`],
      ...Object.keys(file).flatMap((field) =>
        [undefined, null, {}, [7], [null], '\0'].map((bad) => JSON.stringify({ ...file, [field]: bad })),
      ),
    ]) {
      writeFileSync(paths.meshFile, text);
      const read = readMeshFile(paths);
      if (read === undefined) continue;
      // A text may be any text.
      assert.ok(typeof read.mesh === 'string' && typeof read.manifests === 'string', text);
      assert.ok(Array.isArray(read.nodes) && Number.isInteger(read.slot), text);
    }
  });
});
