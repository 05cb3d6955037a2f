import assert from 'node:assert/strict';
import console from 'node:console';
import { after, before, describe, it } from 'mocha';
import { eventually, Mesh } from '../mesh/harness.ts';
import { gatewayManifest, namespaceManifest, podManifest } from '../mesh/manifests.ts';
import { ECHO_PORT, echoManifest, upgrade, UpgradeLoad } from '../mesh/upgrade-load.ts';
import { wayService } from '../mesh/waypoint-manifests.ts';

/** What the issue asks for; smaller ones show a change quickly. */
const CONNECTIONS = Number(process.env['LOAM_UPGRADE_CONNECTIONS'] ?? 20_000);
const STREAMS = Number(process.env['LOAM_UPGRADE_STREAMS'] ?? 200);
/** A part of the load goes through a waypoint as well, unread. */
const WAYPOINT_PART = 10;

describe('upgrade under load', function () {
  this.timeout(7_200_000);
  let mesh: Mesh;
  before(async () => {
    mesh = await Mesh.up({
      'namespace.yaml': namespaceManifest(),
      'gateway.yaml': gatewayManifest('way'),
      'client.yaml': podManifest('client'),
      'far.yaml': echoManifest('far', 'node-b'),
      // A pod of its own: one behind a waypoint admits nobody else.
      'behind.yaml': echoManifest('behind', 'node-b'),
      'through.yaml': wayService('through', {
        waypoint: 'way',
        selector: { app: 'behind' },
        ports: { [ECHO_PORT]: [ECHO_PORT, 'tcp'] },
      }),
    });
  });
  after(() => mesh?.down());

  it(`0 of ${CONNECTIONS} new connections fail, 0 of ${STREAMS} open streams are cut`, async () => {
    const began = Date.now();
    const loads = [
      await UpgradeLoad.start(mesh, 'client', 'far', {
        ...{ streams: STREAMS, workers: 8, limit: CONNECTIONS },
      }),
      await UpgradeLoad.start(mesh, 'client', 'through', {
        ...{ streams: STREAMS / WAYPOINT_PART, workers: 2, limit: CONNECTIONS / WAYPOINT_PART },
      }),
    ];
    let upgrades = 0;
    while (!loads.every((load) => load.enough)) {
      upgrades += (await upgrade(mesh)).trim().split('\n').length;
      await new Promise((resolve) => setTimeout(resolve, 3_000));
    }
    const results = await Promise.all(loads.map((load) => load.stop()));
    console.log(JSON.stringify({ upgrades, seconds: Math.round((Date.now() - began) / 1000), results }));
    for (const { failed, cut } of results) assert.deepEqual([failed, cut], [0, 0]);
    assert.equal(results[0]?.made, CONNECTIONS);
    assert.equal(results[0].streams, STREAMS);
    assert.ok(upgrades >= 4, 'several upgrades fell into the load');
    const left = async () =>
      (await mesh.status()).report.programs.filter((each) => each.replaced === true).length;
    await eventually('the old ones to end', async () => (await left()) === 0);
  });
});
