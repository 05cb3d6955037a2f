import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'mocha';
import { eventually, finished, loam, Mesh, type CommandResult } from './harness.ts';
import { BASE } from './manifests.ts';
import { PATIENCE } from '../support/patience.ts';

describe('mesh: loam off', function () {
  this.timeout(120_000);
  let mesh: Mesh;
  before(async () => (mesh = await Mesh.up(BASE)));
  after(() => mesh.down());

  const run = (...args: string[]): Promise<CommandResult> => finished(loam(...args, '--name', mesh.name));
  const status = (): Promise<CommandResult> => run('local', 'status');

  /** Asks the echo of a pod by its address. */
  async function reaches(from: string, to: string): Promise<boolean> {
    const { ip } = await mesh.pod(to);
    const said = await mesh.exec(
      from,
      'curl',
      '-sS',
      '--max-time',
      String(10 * PATIENCE),
      '--data',
      'x',
      `http://${ip}:8080/`,
    );
    return said.stdout === 'x';
  }

  /** Connections of the outbound side that the ztunnel of a node has told of, from one pod. */
  const outbound = (node: string, source: string): number =>
    mesh.accessLog(node).filter((line) => line.direction === 'outbound' && line.source === source).length;

  it('gives one pod plain networking, while others reach it by the mesh as before', async () => {
    const off = await run('off', 'pod', 'm/server');
    assert.equal(off.code, 0, off.stderr);
    assert.match(off.stdout, /pod m\/server: off/);
    assert.match(off.stderr, /NOT IN THE MESH/);
    assert.ok(off.stderr.includes(`undo it: loam on --name ${mesh.name} pod m/server\n`), off.stderr);

    const before = outbound('node-b', 'm/server');
    assert.ok(await reaches('server', 'near'), 'from it, plain');
    assert.ok(await reaches('outsider', 'server'), 'to it, plain');
    assert.ok(await reaches('client', 'server'), 'to it, by the mesh');
    const inbound = await eventually('the connection by the mesh', () =>
      mesh.accessLog('node-b').find((line) => line.direction === 'inbound' && line.source === 'm/client'),
    );
    assert.equal(inbound.sourceIdentity, 'spiffe://cluster.local/ns/m/sa/client');
    assert.equal(outbound('node-b', 'm/server'), before, 'what it dialled did not pass through ztunnel');
  });

  it('is shown, logged and kept across a restart of the agent, until it is undone', async () => {
    const shown = await status();
    assert.equal(shown.code, 3);
    assert.match(shown.stdout, /m\/server .*SWITCHED OFF/);
    assert.match(shown.stdout, /loam on (--name \S+ )?pod m\/server/);
    await eventually('the agent to say so', () =>
      /"pod":"m\/server","off":true/.test(readFileSync(mesh.paths.logOf('agent', 'node-b'), 'utf8')),
    );
    const agent = await mesh.program('agent', 'node-b');
    process.kill(agent.pid, 'SIGKILL');
    await eventually('another agent', async () => (await mesh.program('agent', 'node-b')).pid !== agent.pid);
    await eventually('the pods to be verified again', async () =>
      /m\/server .*enrolled, verified, SWITCHED OFF/.test((await status()).stdout),
    );
    assert.equal((await run('on', 'pod', 'm/server')).code, 0);
    await eventually('all to be well', async () => (await status()).code === 0);
    const before = outbound('node-b', 'm/server');
    assert.ok(await reaches('server', 'near'));
    await eventually('it to be in the mesh', () => outbound('node-b', 'm/server') > before);
  });

  it('works while agent, ztunnel and controller hang, for a whole node', async () => {
    const programs = [
      await mesh.program('agent', 'node-a'),
      await mesh.program('ztunnel', 'node-a'),
      await mesh.program('controller'),
    ];
    for (const { pid } of programs) process.kill(pid, 'SIGSTOP');
    try {
      assert.equal((await run('off', 'node', 'node-a')).code, 0);
      assert.ok(await reaches('client', 'near'));
    } finally {
      for (const { pid } of programs) process.kill(pid, 'SIGCONT');
    }
    assert.match((await status()).stdout, /node node-a: SWITCHED OFF/);
    assert.equal((await run('on')).code, 0);
    await eventually('all to be well', async () => (await status()).code === 0);
  });

  it('switches the pods of a namespace, and says so when there are none', async () => {
    const off = await run('off', 'namespace', 'm');
    for (const pod of ['client', 'near', 'server']) assert.match(off.stdout, new RegExp(`pod m/${pod}: off`));
    assert.doesNotMatch(off.stdout, /outsider/);
    const part = await run('on', 'pod', 'm/near');
    assert.match(part.stderr, /still off: pod m\/client; undo it: loam on --name \S+ pod m\/client/);
    const again = await run('on', 'namespace', 'm');
    assert.equal(again.code, 0);
    assert.doesNotMatch(again.stderr, /still off/);
    assert.match((await run('on', 'namespace', 'm')).stdout, /pod m\/client: was on already/);
    assert.equal((await run('off', 'namespace', 'nothere')).code, 1);
    assert.equal((await run('off', 'everything')).code, 2);
  });

  it('takes all of it back by a bare on: nodes, namespaces and pods', async () => {
    for (const words of [
      ['node', 'node-b'],
      ['namespace', 'm'],
    ])
      assert.equal((await run('off', ...words)).code, 0);
    const on = await run('on');
    assert.equal(on.code, 0, on.stderr);
    for (const what of ['node node-b', 'pod m/client', 'pod m/near', 'pod m/server'])
      assert.ok(on.stdout.includes(`${what}: on\n`), on.stdout);
    assert.doesNotMatch(on.stderr, /still off/);
    assert.match((await run('on')).stdout, /^nothing of the mesh \S+ was off\n$/);
    await eventually('all to be well', async () => (await status()).code === 0);
  });
});
