import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { FAKE_CA, harness, inPod, podsOf, prepareZtunnel } from './harness.ts';
import { type ServedPod, until, writeMesh } from './loam-side.ts';
import { RustNode } from './rust-node.ts';
import { addWaypoint, SERVICE_PORT, TARGET_PORT, WAYPOINT, WaypointSide } from './waypoint-side.ts';

const PAIR = 'lway';
/** A port of the server that no Service has: iperf3's. */
const OTHER_PORT = 5201;
const CLIENT = 'spiffe://cluster.local/ns/default/sa/client';
/** What the Rust ztunnel logs of a connection that the guard denies: the name of its Authorization is the controller's. */
const DENIED =
  'error="connection closed due to policy rejection: explicitly denied by: default/loam_waypoint_8080_default_way"';

describe("Istio's Rust ztunnel and Loam's waypoint", () => {
  const folder = mkdtempSync(join(tmpdir(), 'loam-rustway-'));
  const nodes: RustNode[] = [];
  const waypoint = new WaypointSide(PAIR, folder);
  let client: ServedPod;
  let server: ServedPod;

  /** The headers of the answer; the empty string when there is none. */
  const get = (url: string): string => {
    try {
      return inPod(client, ['curl', '-sS', '--max-time', '5', '-D', '-', '-o', '/dev/null', url]);
    } catch {
      return '';
    }
  };
  const throughService = () => get(`http://${WAYPOINT.serviceVip}:${SERVICE_PORT}/`);
  const lines = (side: 'client' | 'server') =>
    (nodes[side === 'client' ? 0 : 1]?.read('ztunnel.log') ?? '').split('\n');
  /** Waits for a line of a ztunnel's log that has all of these texts. */
  const logged = (side: 'client' | 'server', what: string, ...texts: readonly string[]) =>
    until(
      `the ${side}'s log to say ${what}`,
      () => lines(side).some((line) => texts.every((text) => line.includes(text))),
      50,
    );

  before(async function () {
    this.timeout(180_000);
    prepareZtunnel();
    harness('setup.sh', [PAIR]);
    [client, server] = podsOf(PAIR);
    writeMesh(folder, [client, server]);
    addWaypoint(folder);
    waypoint.link(client, server);
    for (const pod of [client, server]) {
      const node = new RustNode(PAIR, pod, folder);
      nodes.push(node);
      await node.start(folder, FAKE_CA);
    }
    await waypoint.start(folder, FAKE_CA);
  });

  after(async function () {
    this.timeout(60_000);
    try {
      // First, so that the nodes find no pooled connections to drain.
      await waypoint.stop();
      for (const node of nodes) await node.stop();
    } finally {
      harness('teardown.sh', [PAIR]);
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it('as the client’s, goes to the waypoint for its Service, and the waypoint’s route is applied', async () => {
    await until('an answer through the waypoint', () => /^HTTP\/1\.1 200/.test(throughService()), 50);
    assert.match(throughService(), /^x-through: way/im);
    await logged(
      'client',
      'where it went',
      `dst.hbone_addr=${WAYPOINT.serviceVip}:${SERVICE_PORT}`,
      `dst.addr=${WAYPOINT.ip}:15008`,
      `dst.identity="${WAYPOINT.identity}"`,
    );
  });

  it('as the server’s, takes a tunnel of the waypoint by its identity', async () => {
    await logged(
      'server',
      'who came',
      `src.identity="${WAYPOINT.identity}"`,
      `dst.hbone_addr=${server.ip}:${TARGET_PORT}`,
      'connection opened',
    );
  });

  it('as the server’s, refuses the Service’s port to a client that comes round the waypoint', async () => {
    assert.equal(get(`http://${server.ip}:${TARGET_PORT}/`), '');
    await logged(
      'server',
      'what denied it',
      `src.identity="${CLIENT}"`,
      `dst.hbone_addr=${server.ip}:${TARGET_PORT}`,
      DENIED,
    );
  });

  it('as the server’s, refuses the Service’s port to whoever comes without an identity', async () => {
    assert.throws(() =>
      waypoint.run('curl', '-sS', '--max-time', '5', `http://${server.ip}:${TARGET_PORT}/`),
    );
    await until(
      "the server's log to say what denied it",
      () => lines('server').some((line) => line.includes(DENIED) && !line.includes('src.identity=')),
      50,
    );
  });

  it('as the server’s, lets everyone to other ports, and the waypoint to the Service’s as before', () => {
    inPod(client, ['iperf3', '-c', server.ip, '-p', String(OTHER_PORT), '-n', '1K']);
    assert.match(throughService(), /^HTTP\/1\.1 200/);
  });
});
