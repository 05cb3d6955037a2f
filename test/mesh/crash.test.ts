import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { after, before, describe, it } from 'mocha';
import { Capture } from './capture.ts';
import { appFile, eventually, finished, jsonLines, Mesh } from './harness.ts';
import { allowOnly, BASE } from './manifests.ts';
import { PATIENCE } from '../support/patience.ts';

const SECRET = 'never-in-the-clear-whatever-dies';

/**
 * A connection to a ztunnel that is down waits in a backlog, for the 25 seconds that a tunnel may take to be made. An emulated
 * machine may need longer than that to start another ztunnel: there the call is made again until it is answered.
 */
const WAIT =
  PATIENCE > 1
    ? ['--max-time', String(30 * PATIENCE), '--retry', '100', '--retry-all-errors', '--retry-delay', '2']
    : ['--max-time', '30'];

interface LoadResult {
  readonly good: number;
  readonly failed: number;
}

const VICTIMS = [
  ['ztunnel', 'node-a'],
  ['ztunnel', 'node-b'],
  ['agent', 'node-a'],
  ['agent', 'node-b'],
  ['controller', undefined],
] as const;

describe('mesh: kill -9 under load', function () {
  this.timeout(180_000);
  let mesh: Mesh;
  let captures: Capture[];
  let loads: ChildProcess[];
  let denied: ChildProcess;

  before(async () => {
    mesh = await Mesh.up({
      ...BASE,
      'server-policy.yaml': allowOnly('server', 'client'),
      'near-policy.yaml': allowOnly('near', 'client'),
    });
    captures = [
      await Capture.start(mesh.netns({ kind: 'fabric' }), 'fabric'),
      await Capture.start(mesh.netns({ kind: 'node', node: 'node-a' }), 'pods'),
      await Capture.start(mesh.netns({ kind: 'node', node: 'node-b' }), 'pods'),
    ];
    const load = (pod: string, host: string): Promise<ChildProcess> =>
      mesh.spawn(pod, 'node', appFile('client.mjs'), 'load', host, '7000', SECRET);
    loads = [await load('client', 'server'), await load('client', 'near')];
    denied = await load('other', 'server');
  });
  after(() => mesh.down());

  for (const [program, node] of VICTIMS)
    it(`${program}${node === undefined ? '' : ` of ${node}`}: the mesh recovers by itself`, async () => {
      const before = await mesh.program(program, node);
      const began = Date.now();
      process.kill(before.pid, 'SIGKILL');
      // Dialled while it is down: they wait, and then succeed.
      const dialled = await Promise.all(
        ['server', 'near'].map((host) =>
          mesh.exec('client', 'curl', '-sS', ...WAIT, '--data', SECRET, `http://${host}/`),
        ),
      );
      // Until the killed one is dead and seen to be, it counts as running.
      await eventually(
        'another one to run',
        async () => (await mesh.program(program, node)).pid !== before.pid,
      );
      for (const { stdout, stderr } of dialled)
        assert.equal(stdout, SECRET, `${stderr}\n${mesh.failures(began)}`);
      await eventually('all of the mesh to be well', async () => {
        const { readiness, report, enrolled } = await mesh.status();
        return (
          readiness.controller.ready &&
          readiness.nodes.every((each) => each.agent.ready && each.ztunnel.ready) &&
          report.pods.every((pod) => !pod.wantsEnrolment || enrolled[pod.uid]?.verified === true)
        );
      });
      // And what comes afterwards works at once, by new connections.
      const { stdout, stderr } = await mesh.exec('client', 'curl', '-sS', '--data', SECRET, 'http://server/');
      assert.equal(stdout, SECRET, stderr);
    });

  it('an agent dies while its ztunnel is asked to end: nothing is refused between the two that follow', async () => {
    const [agent, ztunnel] = [await mesh.program('agent', 'node-b'), await mesh.program('ztunnel', 'node-b')];
    const began = Date.now();
    process.kill(agent.pid, 'SIGKILL');
    process.kill(ztunnel.pid, 'SIGTERM');
    let isAnother = false;
    while (!isAnother) {
      const { stdout, stderr } = await mesh.exec(
        'client',
        'curl',
        '-sS',
        ...WAIT,
        '--data',
        SECRET,
        'http://server/',
      );
      assert.equal(stdout, SECRET, `${stderr}\n${mesh.failures(began)}`);
      isAnother = (await mesh.program('ztunnel', 'node-b')).pid !== ztunnel.pid;
    }
  });

  it('an edit takes effect after all of that', async () => {
    mesh.write('near-policy.yaml', allowOnly('near', 'client', 'other'));
    await eventually('other to be let in', async () => {
      const [answer] = (await mesh.client('other', 'listen', 'near', '7000', '500')) as {
        received: string;
      }[];
      return answer?.received.startsWith('HELLO');
    });
  });

  it('no byte went in the clear, and nothing that policy denies came through', async () => {
    const results = await Promise.all([...loads, denied].map((load) => ended(load)));
    const [server, near, other] = results;
    assert.ok((server?.good ?? 0) > 20 && (near?.good ?? 0) > 20, JSON.stringify(results));
    assert.equal(other?.good, 0, 'the denied client never got an answer');
    assert.ok(other.failed > 20, 'and tried all the time');
    for (const capture of captures) {
      const { raw, segments } = await capture.stop();
      assert.ok(segments.length > 100, 'the capture saw the load');
      assert.equal(raw.indexOf(SECRET), -1, 'the secret crossed a wire in the clear');
      assert.equal(raw.indexOf('HELLO {"remote"'), -1, 'an answer crossed a wire in the clear');
    }
  });
});

/** Ends a load and reads what it counted. */
async function ended(load: ChildProcess): Promise<LoadResult> {
  const result = finished(load);
  // nsenter's end is the load's SIGTERM (see inSandbox).
  load.kill('SIGTERM');
  const { stdout } = await result;
  const counts = jsonLines(stdout).find((line): line is LoadResult => typeof line === 'object');
  if (counts === undefined) throw new Error(`the load said nothing: ${stdout}`);
  return counts;
}
