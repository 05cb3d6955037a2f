import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { agentInstance } from '../../cli/local/names.ts';
import { ownInstallation, type Installation } from '../../cli/local/installation.ts';
import { upgradeMesh } from '../../cli/local/upgrade.ts';
import { DEFAULT_BPFFS, SHAPE } from '../../lib/linux/bpf/pins.ts';
import { siblingModule } from '../../lib/package-root.ts';
import { eventually, Mesh } from '../mesh/harness.ts';
import { loseNothing, SOME_LOAD, upgrade, upgradeManifests, UpgradeLoad } from '../mesh/upgrade-load.ts';

/** A version of Loam whose agent lays its maps out otherwise. */
const NEXT: Installation = {
  root: dirname(dirname(fileURLToPath(siblingModule(import.meta.url, '../support/next-layout/agent/main')))),
  node: process.execPath,
};

describe('upgrade: what is killed in the midst of it', function () {
  this.timeout(240_000);
  let mesh: Mesh;
  before(async () => {
    mesh = await Mesh.up(upgradeManifests());
  });
  after(() => mesh?.down());

  const pidOf = async (program: 'ztunnel' | 'agent', node: string) => (await mesh.program(program, node)).pid;
  const replaced = async () => (await mesh.status()).report.programs.filter((each) => each.replaced === true);

  const underLoad = (work: () => Promise<void>): Promise<void> => loseNothing(mesh, work);

  /** The process of a node's ztunnel that is not this one. */
  function youngestZtunnel(node: string, other: number): number | undefined {
    return readdirSync('/proc')
      .map(Number)
      .find((pid) => Number.isInteger(pid) && pid !== other && isZtunnel(pid, node));
  }

  function isZtunnel(pid: number, node: string): boolean {
    try {
      const args = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
      // Not what starts it, in whose place it comes.
      return (
        args[0] === process.execPath &&
        args.some((arg) => /\/ztunnel\/main\.[jt]s$/.test(arg)) &&
        args.includes(mesh.paths.zdsOf(node))
      );
    } catch {
      return false;
    }
  }

  it('a new ztunnel that is killed before it is ready changes nothing', async () => {
    const former = await pidOf('ztunnel', 'node-a');
    const agent = await pidOf('agent', 'node-a');
    await underLoad(async () => {
      // Without an agent's answer it cannot become ready.
      process.kill(agent, 'SIGSTOP');
      try {
        const failed = assert.rejects(
          upgrade(mesh, '--node', 'node-a', '--program', 'ztunnel'),
          /ztunnel of node-a: the new one ended: SIGKILL/,
        );
        process.kill(await eventually('the new one', () => youngestZtunnel('node-a', former)), 'SIGKILL');
        await failed;
      } finally {
        process.kill(agent, 'SIGCONT');
      }
    });
    assert.equal(await pidOf('ztunnel', 'node-a'), former);
  });

  it('a former ztunnel that is killed while it drains cuts what it served, visibly, and nothing else', async () => {
    const load = await UpgradeLoad.start(mesh, 'client', 'far', SOME_LOAD);
    await upgrade(mesh, '--node', 'node-a', '--program', 'ztunnel');
    const [former] = await replaced();
    assert.ok(former?.state === 'running' && former.node === 'node-a');
    process.kill(former.pid, 'SIGKILL');
    await eventually('it to be gone', async () => (await replaced()).length === 0);
    const { failed, made, cut, cuts } = await load.stop();
    assert.deepEqual([failed, cut], [0, SOME_LOAD.streams], JSON.stringify(cuts));
    assert.ok(made > 10);
    for (const how of cuts) assert.match(how, /^(ECONNRESET|EPIPE)/, 'none looked like an end');
  });

  it('an agent that lays its maps out otherwise takes over under load, and the former is refused by name', async () => {
    const mapsOf = (node: string): string[] =>
      readdirSync(`${DEFAULT_BPFFS}/loam/${agentInstance(mesh.name, node)}/${SHAPE}/maps`);
    const programs = ['agent'] as const;
    await underLoad(async () => {
      await upgradeMesh(mesh.name, { programs, installation: NEXT });
      for (const node of ['node-a', 'node-b']) {
        const maps = mapsOf(node);
        assert.ok(maps.includes('pods-2') && !maps.includes('pods-1'), maps.join());
      }
      const next = await pidOf('agent', 'node-a');
      process.kill(next, 'SIGKILL');
      await eventually('another of the same', async () => (await pidOf('agent', 'node-a')) !== next);
      await assert.rejects(
        upgradeMesh(mesh.name, { programs, node: 'node-b', installation: ownInstallation() }),
        /agent of node-b: the new one ended: exit code 1/,
      );
      assert.match(
        readFileSync(mesh.paths.logOf('agent', 'node-b'), 'utf8'),
        /has map [a-z_]+-\d+, which a newer version of Loam made/,
      );
    });
    await eventually('all to be well', async () => {
      const { readiness, report, enrolled } = await mesh.status();
      return (
        readiness.nodes.every(({ agent, ztunnel }) => agent.ready && ztunnel.ready) &&
        report.pods.every((pod) => enrolled[pod.uid]?.verified === true)
      );
    });
  });
});
