import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { after, before, describe, it } from 'mocha';
import type { ProgramReport, WaypointReport } from '../../cli/local/report.ts';
import { eventually, finished, loam, Mesh } from './harness.ts';
import { BASE, gatewayManifest, namespaceManifest } from './manifests.ts';

interface Assigned {
  readonly clusterIPs: readonly string[];
  readonly instances: readonly {
    readonly name: string;
    readonly ips: readonly string[];
    readonly node: string;
    readonly ready: boolean;
  }[];
}

describe('mesh: the life of a waypoint', function () {
  this.timeout(120_000);
  let mesh: Mesh;

  before(async () => {
    mesh = Mesh.prepare({
      ...BASE,
      'namespace.yaml': namespaceManifest('ambient', { 'loam.dev/use-waypoint': 'way' }),
      'gateway.yaml': gatewayManifest('way'),
    });
    await mesh.start();
  });
  after(() => mesh.down());

  const assigned = (): Readonly<Record<string, Assigned>> | undefined =>
    (JSON.parse(readFileSync(mesh.paths.assignments, 'utf8')) as { gateways?: Record<string, Assigned> })
      .gateways;
  const waypoint = async (): Promise<WaypointReport> => {
    const [found] = (await mesh.status()).report.waypoints;
    assert.ok(found);
    return found;
  };
  const running = (index = 0): Promise<ProgramReport & { state: 'running' }> =>
    mesh.program('waypoint', undefined, `m/way-${index}`);
  const isReady = async (index = 0): Promise<boolean> =>
    (await mesh.status()).readiness.waypoints[`m/way-${index}`]?.ready === true &&
    assigned()?.['m/way']?.instances[index]?.ready === true;
  const spaces = (): string[] =>
    readdirSync('/run/netns').filter((name) => name.startsWith(`loam-${mesh.name}-waypoint-`));
  const tokensOf = (): unknown[] =>
    (JSON.parse(readFileSync(mesh.paths.tokens, 'utf8')) as { tokens: { gateway?: string }[] }).tokens
      .map(({ gateway }) => gateway)
      .filter((gateway) => gateway !== undefined);

  it('is up when the mesh is: on the first node, with addresses of its own, outside of the redirection', async () => {
    const { instances, vip, problems } = await waypoint();
    assert.deepEqual(problems, []);
    const [first] = instances;
    assert.ok(first);
    assert.equal(first.node, 'node-a');
    const { clusterIPs, instances: told } = assigned()?.['m/way'] ?? {};
    assert.deepEqual(clusterIPs?.[0], vip);
    assert.equal(clusterIPs?.length, 2);
    assert.deepEqual(told, [{ name: 'way-0', ips: first.ips, node: 'node-a', ready: true }]);
    const { enrolled, report } = await mesh.status();
    assert.deepEqual(
      Object.keys(enrolled).sort(),
      report.pods
        .filter((pod) => pod.wantsEnrolment)
        .map((pod) => pod.uid)
        .sort(),
      'no agent knows of it',
    );
    const { stdout, code } = await finished(loam('local', 'status', '--name', mesh.name));
    assert.equal(code, 0, stdout);
    assert.match(stdout, /waypoint m\/way-0 +node-a +pid \d+ +0 restarts +ready/);
    assert.match(stdout, /m\/way +198\.\S+ +node-a 198\.\S+ +1 ready/);
    const json = JSON.parse(
      (await finished(loam('local', 'status', '--json', '--name', mesh.name))).stdout,
    ) as { report: { waypoints: unknown[] }; readiness: { waypoints: unknown } };
    assert.equal(json.report.waypoints.length, 1);
    assert.deepEqual(json.readiness.waypoints, { 'm/way-0': { ready: true } });
  });

  it('is started again when it is killed, at the same address', async () => {
    const before = await running();
    const place = await waypoint();
    process.kill(before.pid, 'SIGKILL');
    await eventually('another process', async () => (await running()).pid !== before.pid);
    await eventually('it to be ready', () => isReady());
    assert.deepEqual(await waypoint(), place);
  });

  it('goes on through an edit of its Gateway, and says what of it cannot be followed', async () => {
    const before = await running();
    mesh.write('gateway.yaml', gatewayManifest('way', { 'local.loam.dev/replicas': '9' }));
    await eventually('the problem', async () => (await waypoint()).problems.length === 1);
    assert.match(
      (await waypoint()).problems[0] ?? '',
      /local\.loam\.dev\/replicas"\] is "9"; allowed: 1 to 4/,
    );
    assert.equal((await running()).pid, before.pid);
    const { stdout, code } = await finished(loam('local', 'status', '--name', mesh.name));
    assert.equal(code, 3);
    assert.match(stdout, /waypoint m\/way: metadata\.annotations/);
  });

  it('has as many instances as its Gateway says, on the nodes in turn', async () => {
    const before = await running();
    mesh.write('gateway.yaml', gatewayManifest('way', { 'local.loam.dev/replicas': '2' }));
    await eventually('the second to be ready', () => isReady(1));
    const { instances } = await waypoint();
    assert.deepEqual(
      instances.map(({ name, node }) => [name, node]),
      [
        ['way-0', 'node-a'],
        ['way-1', 'node-b'],
      ],
    );
    assert.equal((await running()).pid, before.pid, 'the first is let alone');
    mesh.write('gateway.yaml', gatewayManifest('way'));
    await eventually('the second to go', () => spaces().length === 1);
    assert.equal((await running()).pid, before.pid);
  });

  it('moves when its Gateway names another node', async () => {
    mesh.write('gateway.yaml', gatewayManifest('way', { 'local.loam.dev/node': 'node-b' }));
    await eventually('it to be ready there', async () => {
      const [first] = (await waypoint()).instances;
      return first?.node === 'node-b' && (await isReady());
    });
    assert.equal(spaces().length, 1);
  });

  it('goes with its Gateway and leaves nothing, and comes back with it', async () => {
    const { pid } = await running();
    assert.deepEqual(tokensOf(), ['m/way']);
    mesh.remove('gateway.yaml');
    await eventually('its namespace to go', () => spaces().length === 0);
    await eventually('its token to go', () => tokensOf().length === 0);
    assert.ok(!existsSync(`/proc/${pid}`));
    assert.equal(assigned(), undefined);
    assert.ok(!existsSync(mesh.paths.gatewayToken('m', 'way')));
    assert.deepEqual((await mesh.status()).report.waypoints, []);
    mesh.write('gateway.yaml', gatewayManifest('way'));
    await eventually('it to be ready', () => isReady());
  });

  it('comes back while its predecessor is on its way out', async () => {
    mesh.remove('gateway.yaml');
    await eventually('it to be on its way out', () => assigned() === undefined);
    mesh.write('gateway.yaml', gatewayManifest('way'));
    await eventually('it to be ready', () => isReady());
    assert.deepEqual(tokensOf(), ['m/way']);
    assert.equal(spaces().length, 1);
  });

  it('leaves nothing behind when the supervisor is killed', async () => {
    const { pid } = await running();
    process.kill((await mesh.status()).report.supervisorPid, 'SIGKILL');
    await eventually('its process to end', () => !existsSync(`/proc/${pid}`));
    assert.equal(spaces().length, 1, 'its namespace is left for whoever cleans up');
    const { code, stderr } = await finished(loam('local', 'down', '--name', mesh.name));
    assert.equal(code, 0, stderr);
    assert.deepEqual(spaces(), []);
    assert.ok(!existsSync(mesh.paths.dir));
  });
});
