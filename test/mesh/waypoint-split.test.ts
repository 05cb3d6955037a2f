import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import { count, Driver } from './driver.ts';
import { eventually, Mesh } from './harness.ts';
import { backend, httpRoute, WAY_BASE, wayServer, wayService } from './waypoint-manifests.ts';

const N = 20_000;
const SOCKETS = 16;
const split = (v1: number, v2: number): string =>
  httpRoute('split', 'web', [{ backendRefs: [backend('v1', v1), backend('v2', v2)] }]);

describe('mesh: a canary', function () {
  this.timeout(170_000);
  let mesh: Mesh;
  let client: Driver;
  before(async () => {
    const service = (name: string): string =>
      wayService(name, { selector: { app: name }, ports: { 80: [8080, 'http'] } });
    mesh = await Mesh.up({
      ...WAY_BASE,
      'v1.yaml': wayServer('v1', { run: 'web' }),
      'v2.yaml': wayServer('v2', { run: 'web' }),
      'services.yaml': [
        wayService('web', { waypoint: 'way', selector: { run: 'web' }, ports: { 80: [8080, 'http'] } }),
        service('v1'),
        service('v2'),
      ].join('---\n'),
      'route.yaml': split(90, 10),
    });
    client = await Driver.in(mesh, 'client');
  });
  after(async () => {
    client?.stop();
    await mesh?.down();
  });

  const target = { host: 'web', port: 80, path: '/status' } as const;
  const many = (n: number) => client.burst({ ...target, n, sockets: SOCKETS });
  const shareOf = (counts: Readonly<Record<string, number>>, pod: string): number =>
    (100 * count(counts, `200 ${pod}`)) / count(counts);

  it('gets its share of 20,000 requests, a new share at an edit, and no request is lost at the change', async () => {
    const first = await many(N);
    assert.equal(count(first, '200 '), N, JSON.stringify(first));
    assert.ok(Math.abs(shareOf(first, 'v1') - 90) <= 1, JSON.stringify(first));

    await client.loadStart({ id: 'change', ...target, sockets: 8 });
    mesh.write('route.yaml', split(50, 50));
    await eventually('the edit to be in force', async () => shareOf(await many(200), 'v2') > 30);
    const change = await client.loadStop('change');
    assert.equal(count(change), count(change, '200 '), JSON.stringify(change));

    const second = await many(N);
    assert.equal(count(second, '200 '), N, JSON.stringify(second));
    assert.ok(Math.abs(shareOf(second, 'v1') - 50) <= 1.5, JSON.stringify(second));
  });

  it('stays at the last good route when an edit breaks it, and the status names the field', async () => {
    mesh.write('route.yaml', split(0, 100));
    await eventually('all to go to v2', async () => shareOf(await many(50), 'v2') === 100);
    mesh.write('route.yaml', split(-1, 100));
    const object = await eventually('the rejection', async () =>
      (await mesh.status()).controller?.objects.find(
        (each) => each.kind === 'HTTPRoute' && each.state === 'rejected',
      ),
    );
    assert.equal(object.name, 'split');
    assert.match(object.field ?? '', /weight/);
    assert.equal(object.lastGood, true);
    assert.equal(shareOf(await many(50), 'v2'), 100);
  });

  it('lets requests under way end as they began, through an edit', async () => {
    mesh.write('route.yaml', split(100, 0));
    await eventually('all to go to v1', async () => shareOf(await many(50), 'v1') === 100);
    const held = client.request({ host: 'web', port: 80, path: '/hold?id=edit', fresh: true });
    const streamed = client.stalled({ host: 'web', port: 80, bytes: 4_000_000, id: 'edit' });
    await eventually('it to be held', async () => {
      const { text } = await client.request({ host: 'web', port: 80, path: '/count?path=/hold' });
      return (JSON.parse(text) as { count: number }).count === 1;
    });
    assert.equal((await streamed).bytes, 4_000_000);
    mesh.write('route.yaml', split(0, 100));
    await eventually('all to go to v2', async () => shareOf(await many(50), 'v2') === 100);
    mesh.write('route.yaml', split(100, 0));
    await eventually('all to go to v1', async () => shareOf(await many(50), 'v1') === 100);
    const { text } = await client.request({ host: 'web', port: 80, path: '/release?id=edit' });
    assert.deepEqual(JSON.parse(text), { released: true });
    const answer = await held;
    assert.deepEqual([answer.status, answer.text, answer.error], [200, 'v1', undefined]);
  });
});
