import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import type { Status } from '../../agent/status.ts';
import { askJson } from '../../cli/local/http.ts';
import { eventually, Mesh } from './harness.ts';
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
    const server = await observed('node-b', 'server');
    assert.deepEqual([server?.opened, server?.sent, server?.received], [1, client.received, client.sent]);
    assert.deepEqual((await agent('node-a')).pods, [], 'it is in no mesh');
  });
});
