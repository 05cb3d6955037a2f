import assert from 'node:assert/strict';
import type { ObservedPodStatus } from '../../agent/observe/observe-status.ts';
import { deployment, idle, namespace } from './support/apps.ts';
import { TestCluster, type TestPod } from './support/cluster.ts';
import { installed, MODE } from './support/installation.ts';
import { agentStatus, inMesh } from './support/node-agent.ts';

const NS = 'observed';
/** Nobody listens there. */
const SHUT = 9;

describe('observe mode on a cluster', function () {
  this.timeout(600_000);
  const cluster = TestCluster.open();
  const space = namespace(NS, { [MODE]: 'observe' });
  let client: TestPod;
  let server: TestPod;

  before(async () => {
    await installed(cluster);
    await cluster.apply(space, deployment(NS, 'server'), idle(NS, 'client'));
    client = await only('client');
    server = await only('server');
  });
  after(() => cluster.remove(space));

  async function only(app: string): Promise<TestPod> {
    const [found] = await cluster.readyPods(NS, `app=${app}`);
    assert.ok(found);
    return found;
  }

  async function seen({ metadata, spec }: TestPod): Promise<ObservedPodStatus | undefined> {
    const { observe } = await agentStatus(cluster, spec.nodeName);
    return observe.pods.find(({ uid }) => uid === metadata.uid);
  }

  it('shows calls and failures of a pod that is in no mesh', async () => {
    await cluster.until('both to be observed', async () =>
      [await seen(client), await seen(server)].every((pod) => pod?.state === 'observed'),
    );
    const before = await seen(client);
    const dial = (port: number): string =>
      `require('net').connect(${port}, '${server.status.podIP}').on('error', () => {}).end('GET / HTTP/1.0\\r\\n\\r\\n').resume()`;
    for (const port of [8080, SHUT]) await cluster.inPod(client, ['/usr/local/bin/node', '-e', dial(port)]);
    await cluster.until('the agent to tell', async () => {
      const now = await seen(client);
      return now?.closed === (before?.closed ?? 0) + 1 && now.reasons.refused === 1 && now.received > 0;
    });
    assert.equal(await inMesh(cluster, client), undefined);
  });

  it('follows the label: into the mesh and out of it', async () => {
    await cluster.apply(namespace(NS, { [MODE]: 'ambient' }));
    await cluster.until('both to be in the mesh', async () =>
      [await inMesh(cluster, client), await inMesh(cluster, server)].every(
        (pod) => pod?.state === 'verified',
      ),
    );
    await cluster.until('nobody to be observed', async () => (await seen(client)) === undefined);
    await cluster.apply(namespace(NS, { [MODE]: 'observe' }));
    await cluster.until('both to be observed', async () =>
      [await seen(client), await seen(server)].every((pod) => pod?.state === 'observed'),
    );
    await cluster.until(
      'nobody to be in the mesh',
      async () => (await inMesh(cluster, client)) === undefined,
    );
  });
});
