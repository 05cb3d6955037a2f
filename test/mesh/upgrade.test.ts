import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import { eventually, Mesh } from './harness.ts';
import { allowOnly } from './manifests.ts';
import { ECHO_PORT, loseNothing, upgrade, upgradeManifests } from './upgrade-load.ts';

describe('mesh: upgrade of ztunnel and agent', function () {
  this.timeout(240_000);
  let mesh: Mesh;
  before(async () => {
    mesh = await Mesh.up(upgradeManifests());
  });
  after(() => mesh?.down());

  const pidOf = async (program: 'ztunnel' | 'agent', node: string) => (await mesh.program(program, node)).pid;
  const replaced = async () => (await mesh.status()).report.programs.filter((each) => each.replaced === true);

  const underLoad = (work: () => Promise<void>): Promise<void> => loseNothing(mesh, work);

  async function replaceAgent(node: string, meanwhile: Promise<unknown> = Promise.resolve()): Promise<void> {
    const before = await pidOf('agent', node);
    process.kill(before, 'SIGTERM');
    await meanwhile;
    await eventually('another agent, ready', async () => {
      const { readiness, report } = await mesh.status();
      const agent = report.programs.find((each) => each.program === 'agent' && each.node === node);
      const ready = readiness.nodes.find((each) => each.node === node);
      return agent?.state === 'running' && agent.pid !== before && ready?.agent.ready && ready.ztunnel.ready;
    });
  }

  it('under load no connection fails and no stream is cut, whatever is replaced; and the old ones end', async () => {
    const former = [await pidOf('ztunnel', 'node-a'), await pidOf('ztunnel', 'node-b')];
    const formerAgent = await pidOf('agent', 'node-a');
    await underLoad(async () => {
      const said = await upgrade(mesh);
      assert.match(said, /agent of node-a: \d+ took over; \d+ ended before/);
      assert.match(said, /ztunnel of node-a: \d+ took over; \d+ serves what was open/);
      assert.notEqual(await pidOf('agent', 'node-a'), formerAgent);
      const now = [await pidOf('ztunnel', 'node-a'), await pidOf('ztunnel', 'node-b')];
      assert.ok(now[0] !== former[0] && now[1] !== former[1]);
      // The streams are still there, in the old ones.
      assert.equal((await replaced()).length, 2);
      await replaceAgent('node-a');
      // Agent and ztunnel of a node at once.
      await replaceAgent('node-b', upgrade(mesh, '--node', 'node-b', '--program', 'ztunnel'));
      assert.ok((await replaced()).length >= 2);
    });
    await eventually('the old ones to end', async () => (await replaced()).length === 0);
    const { readiness } = await mesh.status();
    assert.ok(readiness.nodes.every(({ ztunnel }) => ztunnel.ready));
  });

  it('a ztunnel that dies while the controller is away comes back with what its agent held', async () => {
    mesh.write('policy.yaml', allowOnly('far', 'client'));
    const answers = async (from: string): Promise<boolean> =>
      (await mesh.exec(from, 'bash', '-c', `exec 3<>/dev/tcp/far/${ECHO_PORT}; echo hi >&3; head -1 <&3`))
        .stdout === 'hi\n';
    await eventually(
      'the policy to be in force',
      async () => (await answers('client')) && !(await answers('near')),
    );
    for (const node of ['node-a', 'node-b']) await mesh.stateHeld(node);
    const controller = (await mesh.program('controller')).pid;
    process.kill(controller, 'SIGSTOP');
    try {
      for (const node of ['node-a', 'node-b']) process.kill(await pidOf('ztunnel', node), 'SIGKILL');
      await eventually('traffic to flow again', () => answers('client'));
      assert.equal(await answers('near'), false, 'the policy holds');
      const { readiness } = await mesh.status();
      assert.ok(readiness.nodes.every(({ ztunnel }) => ztunnel.ready));
    } finally {
      process.kill(controller, 'SIGCONT');
    }
    mesh.write('policy.yaml', allowOnly('far', 'client', 'near'));
    await eventually('the controller to be heard again', () => answers('near'));
  });

  it('names a node that is not there', async () => {
    await assert.rejects(
      upgrade(mesh, '--node', 'node-z'),
      /there is no node node-z; there is: node-a, node-b/,
    );
    await assert.rejects(
      upgrade(mesh, '--program', 'agent,kubelet'),
      /"kubelet" cannot be replaced; allowed: agent, ztunnel, waypoint/,
    );
  });
});
