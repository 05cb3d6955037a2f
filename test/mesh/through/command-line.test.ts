import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import type { FlowEvent } from '../../../lib/flow/event.ts';
import { Driver } from '../driver.ts';
import { finished, jsonLines, loam, type CommandResult } from '../harness.ts';
import { throughMesh } from './mesh.ts';

describe('mesh: the command line', function () {
  this.timeout(240_000);
  const mesh = throughMesh.use();
  let client: Driver;
  before(async () => {
    client = await Driver.in(mesh(), 'client');
    await client.request({ host: 'web', port: 81, path: '/status' });
  });
  after(() => client?.stop());

  const run = (...args: string[]): Promise<CommandResult> => finished(loam(...args, '--name', mesh().name));

  it('describes pods and Services, lists certificates, and finds all programs of one mind', async () => {
    const [pod, service, certs, diff, dump] = await Promise.all([
      run('describe', 'pod', 'm/v1'),
      run('describe', 'service', 'web', '-o', 'json'),
      run('certs', '-o', 'json'),
      run('config', 'diff'),
      run('config', 'dump', 'waypoint/m/way', '--section', 'resources'),
    ]);
    assert.equal(pod.code, 0, pod.stdout + pod.stderr);
    assert.match(pod.stdout, /^identity +cluster\.local\/ns\/m\/sa\/server$/m);
    assert.match(pod.stdout, /^kernel +enrolled; entry of generation \d+ for 198\.18\./m);
    assert.match(pod.stdout, /^certificate +valid for /m);
    assert.equal(service.code, 0, service.stdout + service.stderr);
    const view = JSON.parse(service.stdout) as {
      waypoint: { gateway: string };
      known: { endpoints: object[] };
    };
    assert.deepEqual([view.waypoint.gateway, view.known.endpoints.length], ['m/way', 1]);
    assert.equal(certs.code, 0, certs.stdout);
    const { certificates } = JSON.parse(certs.stdout) as {
      certificates: { holder: string; identity: string }[];
    };
    assert.ok(
      certificates.some(
        ({ holder, identity }) =>
          holder === 'waypoint m/way-0' && identity === 'spiffe://cluster.local/ns/m/sa/way',
      ),
    );
    assert.equal(diff.code, 0, diff.stdout + diff.stderr);
    assert.match(diff.stdout, /^same {2}ztunnel of node-a and ztunnel of node-b$/m);
    assert.match(dump.stdout, /"service\/m\/web\.m\.svc\.cluster\.local"/);
  });

  it('taps, tops and draws what happens, and lists what is open', async () => {
    const args = ['--to', 'm/web', '--path', '/status', '--count', '2', '--for', '120', '-o', 'json'];
    const looking = Promise.all([
      run('tap', ...args),
      run('top', '--once', '--window', '5', '-o', 'json'),
      run('graph', '--for', '5', '-o', 'mermaid'),
      run('connections', '-o', 'json'),
    ]);
    let over = false;
    const calling = (async () => {
      while (!over) {
        await client.request({ host: 'web', port: 81, path: '/status' });
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    })();
    const [tap, top, graph, connections] = await looking;
    over = true;
    await calling;
    assert.equal(tap.code, 0, tap.stderr);
    const events = jsonLines(tap.stdout) as FlowEvent[];
    assert.equal(events.length, 2);
    for (const { kind, source, service } of events)
      assert.deepEqual([kind, source.workload, service], ['request', 'client', 'm/web']);
    const { edges } = JSON.parse(top.stdout) as {
      edges: { from: string; to: string; of: string; mtls: number }[];
    };
    const edge = edges.find(({ from, of }) => from === 'm/client' && of === 'requests');
    assert.deepEqual([edge?.to, edge?.mtls], ['m/v1', 1], top.stdout);
    assert.match(graph.stdout, /^graph LR\n[^]*\["m\/client"\]/);
    assert.equal(connections.code, 0, connections.stderr);
    assert.ok(Array.isArray((JSON.parse(connections.stdout) as { connections: unknown }).connections));
  });
});
