import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, describe, it } from 'mocha';
import { eventually, Mesh } from '../mesh/harness.ts';
import { podManifest, serverManifest } from '../mesh/manifests.ts';
import { WAY_BASE, wayService } from '../mesh/waypoint-manifests.ts';

const LIFE_S = 60;
/** Beyond half of a life a renewal is due; so much later it was tried, and failed. */
const AFTER_HALF_S = 6;

describe('faults: the certificate authority is away', function () {
  this.timeout(300_000);
  let mesh: Mesh;

  before(async () => {
    mesh = await Mesh.up(
      {
        ...WAY_BASE,
        'server.yaml': serverManifest('server', 'node-b'),
        'behind.yaml': serverManifest('behind', 'node-b'),
        'fresh.yaml': podManifest('fresh'),
        'services.yaml': [
          wayService('server', { selector: { app: 'server' }, ports: { 80: 8080 } }),
          wayService('behind', {
            selector: { app: 'behind' },
            ports: { 80: [8080, 'http'] },
            waypoint: 'way',
          }),
        ].join('---\n'),
      },
      { LOAM_CERT_TTL_S: String(LIFE_S) },
    );
  });
  after(() => mesh.down());

  const answers = async (from: string, host: string): Promise<boolean> =>
    (await mesh.exec(from, 'curl', '-s', '--max-time', '15', '--data', 'hi', `http://${host}/`)).stdout ===
    'hi';
  const allAnswer = async (from: string): Promise<boolean> =>
    (await answers(from, 'server')) && (await answers(from, 'behind'));

  /** When the certificates of the two nodes expire, in seconds since the epoch. */
  async function expiries(): Promise<number[]> {
    const found: number[] = [];
    for (const node of ['node-a', 'node-b']) {
      const lines = (await mesh.metrics(node)).matchAll(
        /^loam_certificate_expiry_timestamp_seconds\{[^}]*\} (\S+)$/gm,
      );
      found.push(...[...lines].map(([, value]) => Number(value)));
    }
    assert.ok(found.length >= 4, found.join(' '));
    return found;
  }

  it('past half of all lives: new connections and tunnels go on; past their ends: refused, with the reason; back again: all is well', async () => {
    await eventually('all to answer', () => allAnswer('client'));
    const controller = (await mesh.program('controller')).pid;
    // A renewal that is just under way would be half done.
    await eventually(
      'all certificates to have half of their life before them, and some seconds more',
      async () => {
        const left = Math.min(...(await expiries())) - Date.now() / 1_000;
        return left > LIFE_S / 2 + 3;
      },
    );
    process.kill(controller, 'SIGSTOP');
    try {
      const ends = await expiries();
      const [first, last] = [Math.min(...ends), Math.max(...ends)];
      await sleep(Math.max(0, (last - LIFE_S / 2 + AFTER_HALF_S) * 1_000 - Date.now()));
      // The pod has no tunnel yet, so one is made with what certificates there are.
      assert.ok(await allAnswer('fresh'), 'past half life');
      assert.ok(await allAnswer('client'), 'past half life');
      assert.ok(Date.now() / 1_000 < first, 'the machine was too slow to look before the end');
      assert.deepEqual(await expiries(), ends, 'nothing was renewed');

      await sleep(Math.max(0, (last + 2) * 1_000 - Date.now()));
      await eventually(
        'all to be refused',
        async () => !(await answers('client', 'server')) && !(await answers('fresh', 'behind')),
      );
      const told = await eventually('a line of it', () =>
        mesh.accessLog('node-a').findLast(({ flags }) => flags === 'IDENTITY_ERROR'),
      );
      assert.match(told.error ?? '', /certificate/);
    } finally {
      process.kill(controller, 'SIGCONT');
    }
    await eventually('all to answer again', () => allAnswer('client'));
    await eventually('others too', () => allAnswer('fresh'));
  });
});
