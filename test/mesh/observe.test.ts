import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import type { Status } from '../../agent/status.ts';
import { askJson } from '../../cli/local/http.ts';
import type { FlowEvent } from '../../lib/flow/event.ts';
import type { GraphEdge } from '../../lib/flow/view.ts';
import { appFile, eventually, finished, jsonLines, loam, Mesh, type CommandResult } from './harness.ts';
import { podManifest, serverManifest } from './manifests.ts';

type Mode = 'ambient' | 'observe' | 'none';

const namespaceOf = (mode: Mode): string =>
  `apiVersion: v1\nkind: Namespace\nmetadata:\n  name: m\n  labels:\n    loam.dev/dataplane-mode: ${mode}\n`;
/** Where nobody listens. */
const SHUT = 9;

describe('mesh: observe mode', function () {
  this.timeout(180_000);
  let mesh: Mesh;
  before(
    async () =>
      (mesh = await Mesh.up({
        'namespace.yaml': namespaceOf('observe'),
        'client.yaml': podManifest('client'),
        'server.yaml': serverManifest('server', 'node-b'),
      })),
  );
  after(() => mesh.down());

  const agent = (node: string): Promise<Status> =>
    askJson({ socketPath: mesh.paths.agentStatusOf(node) }, '/status') as Promise<Status>;
  const observed = async (
    node: string,
    pod: string,
  ): Promise<Status['observe']['pods'][number] | undefined> =>
    (await agent(node)).observe.pods.find((each) => each.pod === `m/${pod}`);

  async function curl(from: string, to: string, port: number): Promise<string> {
    const { ip } = await mesh.pod(to);
    return (await mesh.exec(from, 'curl', '-sS', '--data', 'x', `http://${ip}:${port}/`)).stdout;
  }

  it('shows in the agent a connection and one that failed', async () => {
    await eventually('both pods to be observed', async () => {
      const states = [await observed('node-a', 'client'), await observed('node-b', 'server')];
      return states.every((each) => each?.state === 'observed');
    });
    assert.equal(await curl('client', 'server', 8080), 'x');
    await curl('client', 'server', SHUT);
    const client = await eventually('the agent of the client to tell', async () => {
      const pod = await observed('node-a', 'client');
      return pod?.closed === 1 && pod.failed === 1 && pod;
    });
    assert.deepEqual(client.reasons, { refused: 1 });
    assert.ok(client.sent > 0 && client.received > 0);
    const server = await eventually('the agent of the server to tell', async () => {
      const pod = await observed('node-b', 'server');
      return pod?.closed === 1 && pod;
    });
    assert.deepEqual([server.opened, server.sent, server.received], [1, client.received, client.sent]);
    assert.deepEqual((await agent('node-a')).pods, [], 'it is in no mesh');
  });

  const run = (...args: string[]): Promise<CommandResult> => finished(loam(...args, '--name', mesh.name));
  /** TCP sockets that listen in a pod, by port. */
  const listening = async (pod: string): Promise<string[]> =>
    (await mesh.exec(pod, 'ss', '-Htln')).stdout.split('\n').filter((line) => line.trim() !== '');

  it('draws an observed edge with bytes, round trips, retransmits and what failed, and taps it', async () => {
    let over = false;
    const calling = (async () => {
      while (!over) {
        await curl('client', 'server', 8080);
        await curl('client', 'server', SHUT);
      }
    })();
    const [top, tap] = await Promise.all([
      run('top', '--once', '--window', '5', '-o', 'json'),
      // Each node tells of its side once a second: enough for both.
      run('tap', '--from', 'm/client', '--count', '60', '--for', '60', '-o', 'json'),
    ]);
    over = true;
    await calling;
    const { edges } = JSON.parse(top.stdout) as { edges: GraphEdge[] };
    const edge = edges.find(({ from, to }) => from === 'm/client' && to === 'm/server');
    assert.ok(edge, top.stdout);
    assert.ok(edge.ended > edge.failed && edge.failed > 0 && edge.up > 0 && edge.down > 0, top.stdout);
    assert.deepEqual([edge.mtls, edge.identities, edge.denied], [0, [], 0]);
    assert.ok(edge.observed?.rtt50 !== undefined && edge.observed.retransmits >= 0, top.stdout);
    const ended = (jsonLines(tap.stdout) as FlowEvent[]).filter((event) => event.kind === 'ended');
    assert.ok(ended.every(({ observed }) => observed === true));
    assert.ok(
      ended.some(({ flag, error }) => flag === 'CONNECT' && error === 'refused (ECONNREFUSED)'),
      tap.stdout,
    );
  });

  it('counts with the names of Istio, and its own', async () => {
    const pages = await eventually('the metrics', async () => {
      const page = await mesh.metrics('node-a');
      return page.includes('loam_observe_rtt_seconds_count{') && page;
    });
    const ends = /source_workload="client".*destination_workload="server"/;
    const line = (name: string): string | undefined =>
      pages.split('\n').find((each) => each.startsWith(`${name}{reporter="source"`) && ends.test(each));
    for (const name of [
      'istio_tcp_connections_opened_total',
      'istio_tcp_connections_closed_total',
      'istio_tcp_connections_failed_total',
      'istio_tcp_sent_bytes_total',
      'istio_tcp_received_bytes_total',
      'loam_observe_sent_segments_total',
      'loam_observe_connect_seconds_count',
    ])
      assert.ok(line(name), name);
    assert.match(line('loam_observe_failed_connections_total') ?? '', /reason="refused"/);
  });

  it('puts nothing in the way, and switches to the mesh and back under load without losing anything', async () => {
    assert.deepEqual(await listening('client'), []);
    const { ips } = await mesh.pod('client');
    const { ip } = await mesh.pod('server');
    const who = await mesh.exec('client', 'curl', '-sS', `http://${ip}:8080/`);
    const { remote } = JSON.parse(who.stdout) as { remote: string };
    assert.ok(
      ips.some((own) => remote.includes(`${own}:`)),
      who.stdout,
    );

    const load = await mesh.spawn('client', 'node', appFile('observe-load.mjs'), ip, '8080', '7000');
    const done = new Promise<string>((resolve) => {
      let text = '';
      load.stdout?.on('data', (chunk: Buffer) => (text += chunk.toString()));
      load.once('close', () => resolve(text));
    });
    const enrolled = async (): Promise<boolean> => {
      const pods = [...(await agent('node-a')).pods, ...(await agent('node-b')).pods];
      return pods.length === 2 && pods.every(({ state }) => state === 'verified');
    };
    mesh.write('namespace.yaml', namespaceOf('ambient'));
    await eventually('both to be in the mesh', enrolled);
    assert.equal((await listening('client')).length, 3);
    await eventually('nobody to be observed', async () => (await observed('node-a', 'client')) === undefined);
    await eventually('a call by the mesh', () =>
      mesh.accessLog('node-b').some(({ direction }) => direction === 'inbound'),
    );
    mesh.write('namespace.yaml', namespaceOf('observe'));
    await eventually('both to have left the mesh, and to be observed', async () => {
      const states = [await observed('node-a', 'client'), await observed('node-b', 'server')];
      const listeners = await listening('client');
      return states.every((each) => each?.state === 'observed' && each.opened > 0) && listeners.length === 0;
    });
    mesh.write('namespace.yaml', namespaceOf('none'));
    await eventually('nothing to be left of it in the kernel', async () => {
      const { observe, maps } = await agent('node-a');
      return observe.pods.length === 0 && maps['observed_pods'] === undefined;
    });
    load.stdin?.end();
    const { calls, echoes, errors } = JSON.parse(await done) as {
      calls: number;
      echoes: number;
      errors: string[];
    };
    assert.deepEqual(errors, []);
    assert.ok(calls > 0 && echoes > 0);
  });
});
