import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import { count, type Counts, Driver } from './driver.ts';
import { eventually, Mesh } from './harness.ts';
import { gatewayManifest } from './manifests.ts';
import { upgrade } from './upgrade-load.ts';
import { WAY_BASE, wayServer, wayService } from './waypoint-manifests.ts';

describe('mesh: a waypoint that ends', function () {
  this.timeout(240_000);
  let mesh: Mesh;
  let client: Driver;
  before(async () => {
    mesh = await Mesh.up({
      ...WAY_BASE,
      'v1.yaml': wayServer('v1', { run: 'web' }),
      'web.yaml': wayService('web', {
        waypoint: 'way',
        selector: { run: 'web' },
        ports: { 80: [8080, 'http'] },
      }),
    });
    client = await Driver.in(mesh, 'client');
  });
  after(async () => {
    client?.stop();
    await mesh?.down();
  });

  const target = { host: 'web', port: 80, path: '/via' } as const;
  const good = (counts: Counts): number => count(counts, '200 v1 via way');
  const reach = async (): Promise<boolean> =>
    good(await client.burst({ ...target, n: 1, fresh: true })) === 1;
  const running = (index = 0) => mesh.program('waypoint', undefined, `m/way-${index}`);
  const readyBoth = async (): Promise<boolean> => {
    const { waypoints } = (await mesh.status()).readiness;
    return waypoints['m/way-0']?.ready === true && waypoints['m/way-1']?.ready === true;
  };

  it('killed under load: clients get errors until it is back at its address, and nobody passes it by', async () => {
    await eventually('the first request', reach);
    const before = (await mesh.status()).report.waypoints;
    await client.loadStart({ id: 'kill', ...target, sockets: 4 });
    const { pid } = await running();
    process.kill(pid, 'SIGKILL');
    await eventually('another process', async () => (await running()).pid !== pid);
    await eventually('requests to pass again', reach);
    const counts = await client.loadStop('kill');
    assert.ok(good(counts) > 0, JSON.stringify(counts));
    const answered = Object.keys(counts).filter((key) => key.startsWith('200'));
    assert.deepEqual(answered, ['200 v1 via way'], 'nothing came by another way');
    assert.deepEqual((await mesh.status()).report.waypoints, before);
  });

  it('ended in good order beside a second one: no request is lost, on connections old and new', async () => {
    mesh.write('gateway.yaml', gatewayManifest('way', { 'local.loam.dev/replicas': '2' }));
    await eventually('both to be ready', readyBoth);
    // A pod is told to end some seconds before it does (preStop). Here it ends at once, and the other must be known by then.
    await mesh.heardHealthy('node-a', 'way-0', 'way-1');
    await eventually('a request', reach);
    const began = Date.now();
    await client.loadStart({ id: 'kept', ...target, sockets: 4 });
    await client.loadStart({ id: 'fresh', ...target, sockets: 2, fresh: true });
    for (const index of [0, 1]) {
      const { pid } = await running(index);
      const line = await client.burst({ ...target, n: 50 });
      assert.equal(good(line), 50, JSON.stringify(line));
      process.kill(pid, 'SIGTERM');
      await eventually('another process', async () => (await running(index)).pid !== pid);
      await eventually('both to be ready', readyBoth);
      await mesh.heardHealthy('node-a', 'way-0', 'way-1');
    }
    for (const id of ['kept', 'fresh']) {
      const counts = await client.loadStop(id);
      assert.deepEqual(
        Object.keys(counts),
        ['200 v1 via way'],
        `${id}: ${JSON.stringify(counts)} ${mesh.failures(began)}`,
      );
    }
  });

  it('replaced by an upgrade: no request is lost, by HTTP/1.1 or HTTP/2, and nobody passes it by', async () => {
    mesh.write('gateway.yaml', gatewayManifest('way'));
    await eventually('one to be left', async () => {
      const [way] = (await mesh.status()).report.waypoints;
      return way?.instances.length === 1;
    });
    mesh.write(
      'web2.yaml',
      wayService('web2', {
        waypoint: 'way',
        selector: { run: 'web' },
        ports: { 80: [8081, 'kubernetes.io/h2c'] },
      }),
    );
    const two = { host: 'web2', port: 80, path: '/via', proto: 'h2' } as const;
    await eventually('a request', reach);
    await eventually('a request by HTTP/2', async () => good(await client.burst({ ...two, n: 1 })) === 1);
    const loads = {
      kept: { ...target, sockets: 4 },
      fresh: { ...target, sockets: 2, fresh: true },
      http2: { ...two, sockets: 8 },
    };
    for (const [id, options] of Object.entries(loads)) await client.loadStart({ id, ...options });
    let was = 0;
    for (const round of [1, 2]) {
      const said = await upgrade(mesh, '--program', 'waypoint');
      const [, index = ''] =
        /^waypoint m\/way-(\d+) on node-a: \d+ took over; \d+ serves what was open/.exec(said) ?? [];
      assert.notEqual(Number(index), was, `${round}: ${said}`);
      was = Number(index);
      await eventually('the former to end', async () =>
        (await mesh.status()).report.programs.every((each) => each.replaced !== true),
      );
    }
    for (const id of Object.keys(loads)) {
      const counts = await client.loadStop(id);
      assert.deepEqual(Object.keys(counts), ['200 v1 via way'], `${id}: ${JSON.stringify(counts)}`);
      assert.ok(good(counts) > 50, `${id}: ${JSON.stringify(counts)}`);
    }
    const [way] = (await mesh.status()).report.waypoints;
    assert.equal(way?.instances.length, 1);
  });
});
