import assert from 'node:assert/strict';
import { stat, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, it } from 'mocha';
import { ask } from '../../../../cli/local/http.ts';
import { getJson, layOutShop, MANIFESTS, runController, temporaryDir, until } from '../harness.ts';

describe('status/server', () => {
  it('is open to its owner alone and answers what it does not know', async () => {
    await using dir = await temporaryDir();
    await layOutShop(dir.path);
    await using controller = await runController(dir.path);
    const path = join(dir.path, 'status.sock');
    assert.equal((await stat(path)).mode & 0o777, 0o600);
    assert.equal((await controller.status('/nothing')).code, 404);
    assert.equal((await getJson(path, '/v1/status', 'POST')).code, 405);
    assert.equal((await controller.status('/healthz/ready')).code, 200);
  });

  it('changes its log level while it runs', async () => {
    await using dir = await temporaryDir();
    await layOutShop(dir.path);
    await using _controller = await runController(dir.path);
    const socketPath = join(dir.path, 'status.sock');
    const post = (path: string) => ask({ socketPath }, path, 'POST');
    assert.equal((await post('/logging?level=debug')).body, 'level: debug\n');
    assert.equal((await post('/logging?level=loud')).status, 400);
    assert.match((await ask({ socketPath }, '/logging')).body, /^level: debug; /);
  });

  it('streams a snapshot a line when the accepted set changes', async () => {
    await using dir = await temporaryDir();
    await layOutShop(dir.path);
    await using controller = await runController(dir.path);
    const lines: { generation: number; pods: { metadata: { name: string } }[] }[] = [];
    const req = request(
      { socketPath: join(dir.path, 'status.sock'), path: '/v1/objects?watch=1' },
      (response) => {
        response.on('error', () => undefined);
        const reader = createInterface(response);
        // Ends with an error when the test has seen enough.
        reader.on('error', () => undefined);
        reader.on('line', (line) => lines.push(JSON.parse(line) as (typeof lines)[number]));
      },
    );
    req.on('error', () => undefined);
    req.end();
    await until(() => lines.length === 1);
    assert.deepEqual(
      lines[0]?.pods.map(({ metadata }) => metadata.name),
      ['frontend-0', 'payments-0'],
    );
    await controller.manifest('shop.yaml', MANIFESTS.replace('name: frontend-0', 'name: frontend-1'));
    // What is added counts at once, what is missing only when it stays so.
    const names = await until(() =>
      lines.length === 3 ? lines.map(({ pods }) => pods.map(({ metadata }) => metadata.name)) : undefined,
    );
    assert.deepEqual(names.slice(1), [
      ['frontend-0', 'frontend-1', 'payments-0'],
      ['frontend-1', 'payments-0'],
    ]);
    await controller.manifest('note.yaml', '# changes nothing\n');
    await until(async () =>
      JSON.stringify((await controller.status('/v1/status')).body).includes('note.yaml'),
    );
    assert.equal(lines.length, 3);
    req.destroy();
  });

  it('tells of what is passed over, with file, line and kind', async () => {
    await using dir = await temporaryDir();
    await layOutShop(dir.path);
    await using controller = await runController(dir.path);
    assert.deepEqual((await controller.report()).warnings, []);
    await controller.manifest(
      'deploy.yaml',
      'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\n',
    );
    const [warning] = await until(async () => {
      const { warnings } = await controller.report();
      return warnings.length > 0 && warnings;
    });
    assert.match(warning?.text ?? '', /^deploy\.yaml:1: Deployment shop\/web: kind: Loam does not read/);
  });

  it('refuses a path that a living controller or an ordinary file has', async () => {
    await using dir = await temporaryDir();
    await layOutShop(dir.path);
    {
      await using _ = await runController(dir.path);
      await assert.rejects(runController(dir.path), /another process listens/);
    }
    await writeFile(join(dir.path, 'status.sock'), '');
    await assert.rejects(runController(dir.path), /is not a socket/);
  });
});
