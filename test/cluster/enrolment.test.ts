import assert from 'node:assert/strict';
import { container, deployment, namespace, podSpec, script } from './support/apps.ts';
import { TestCluster, type TestPod } from './support/cluster.ts';
import { AMBIENT, installed, MODE } from './support/installation.ts';
import { lookAt } from './support/look.ts';
import { agentStatus, inMesh } from './support/node-agent.ts';
import type { KubeObject } from './support/resources.ts';

const NS = 'enrolment';
/** Nobody answers there, and no pod has it. */
const NOWHERE = ['198.19.255.254', '9'];
const firstDial = (...more: string[]): string[] => script('cluster/app/first-dial.mjs', ...NOWHERE, ...more);

function pod(
  name: string,
  spec: Readonly<Record<string, unknown>>,
  labels: Record<string, string> = {},
): KubeObject {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: NS, labels: { app: name, ...labels } },
    spec,
  };
}

describe('enrolment on a cluster', function () {
  this.timeout(600_000);
  const cluster = TestCluster.open();
  const made: KubeObject[] = [];
  const space = namespace(NS, AMBIENT);

  before(async () => {
    await installed(cluster);
    await cluster.apply(space);
  });
  after(() => cluster.remove(...made, space));

  async function apply(...objects: KubeObject[]): Promise<void> {
    made.push(...objects);
    await cluster.apply(...objects);
  }

  async function only(app: string): Promise<TestPod> {
    const [found] = await cluster.readyPods(NS, `app=${app}`);
    assert.ok(found);
    return found;
  }

  it('of new pods stands before their first container dials, in init containers too', async () => {
    const job: KubeObject = {
      apiVersion: 'batch/v1',
      kind: 'Job',
      metadata: { name: 'once', namespace: NS },
      spec: {
        template: {
          metadata: { labels: { app: 'once' } },
          spec: podSpec([container(firstDial())], {
            restartPolicy: 'Never',
            initContainers: [container(firstDial(), { name: 'init' })],
          }),
        },
      },
    };
    await apply(job, ...['a', 'b', 'c'].map((name) => pod(name, podSpec([container(firstDial('stay'))]))));
    for (const name of ['a', 'b', 'c']) {
      const running = await only(name);
      assert.equal(await cluster.log(running), 'redirected\n', name);
      assert.equal((await inMesh(cluster, running))?.state, 'verified');
    }
    await cluster.until('the job has ended', async () => {
      const pods = await cluster.pods(NS, 'app=once');
      return pods.some(({ status }) => status.phase === 'Succeeded');
    });
    const [ended] = await cluster.pods(NS, 'app=once');
    assert.ok(ended);
    assert.equal(await cluster.log(ended, 'init'), 'redirected\n');
    assert.equal(await cluster.log(ended), 'redirected\n');
    await cluster.until('it has left the mesh', async () => (await inMesh(cluster, ended)) === undefined);
  });

  it('follows labels of namespace and pod without a restart', async () => {
    const running = await only('a');
    const isIn = async (wanted: boolean): Promise<void> =>
      cluster.until(`it is ${wanted ? 'in' : 'outside of'} the mesh`, async () => {
        const state = (await inMesh(cluster, running))?.state;
        return wanted ? state === 'verified' : state === undefined;
      });
    const object = pod('a', {});
    await cluster.label(space, { [MODE]: null });
    await isIn(false);
    await cluster.label(object, { [MODE]: 'ambient' });
    await isIn(true);
    await cluster.label(object, { [MODE]: 'none' });
    await cluster.label(space, AMBIENT);
    await isIn(false);
    await cluster.label(object, { [MODE]: null });
    await isIn(true);
    const now = await only('a');
    assert.equal(now.metadata.uid, running.metadata.uid);
    assert.deepEqual(now.status.containerStatuses, running.status.containerStatuses);
  });

  it('leaves pods outside that say so, and those on the network of the node, which an Event tells', async () => {
    await apply(
      pod('out', podSpec([container(firstDial('stay'))]), { [MODE]: 'none' }),
      pod('host', podSpec([container(firstDial('stay'))], { hostNetwork: true })),
    );
    assert.match(await cluster.log(await only('out')), /^past the mesh/);
    const host = await only('host');
    assert.equal(await inMesh(cluster, host), undefined);
    const { source } = await agentStatus(cluster, host.spec.nodeName);
    assert.match(source.leftAlone.find(({ uid }) => uid === host.metadata.uid)?.why ?? '', /hostNetwork/);
    await cluster.until('an Event says so', async () => {
      const { items } = await cluster.client.get<{ items: { message: string }[] }>(
        `/api/v1/namespaces/${NS}/events`,
        {
          fieldSelector: `involvedObject.uid=${host.metadata.uid},reason=NotInMesh`,
        },
      );
      return items.some(({ message }) => message.includes('hostNetwork'));
    });
  });

  it('cuts no connection that was there before, shows it, and ends it when its grace is over', async () => {
    const serve = script('cluster/app/ticker.mjs', 'serve', '7200');
    await apply(deployment(NS, 'ticker', { command: serve, container: {}, labels: { [MODE]: 'none' } }));
    const { status } = await only('ticker');
    const listen = script('cluster/app/ticker.mjs', 'listen', status.podIP ?? '', '7200');
    const client = pod('client', podSpec([container(listen)]), { [MODE]: 'none' });
    await apply(client);
    const listening = await only('client');
    const ticks = async (): Promise<number> =>
      Number(
        /ticks (\d+)\s*$/.exec(await cluster.log(listening))?.[1] ??
          (await Promise.reject(new Error('no ticks'))),
      );
    await cluster.until('it is connected', async () => (await ticks()) > 0);

    await cluster.label(client, { [MODE]: 'ambient' });
    await cluster.until(
      'it is in the mesh',
      async () => (await inMesh(cluster, listening))?.state === 'verified',
    );
    const before = await ticks();
    await cluster.until('the stream goes on', async () => (await ticks()) > before + 20);
    const shown = (await inMesh(cluster, listening))?.earlier;
    assert.equal(shown?.count, 1);
    assert.match(shown.connections[0] ?? '', /:7200$/);
    assert.ok(shown.cutAt !== undefined, 'nothing that was said is for ever');
    const look = lookAt(cluster);
    for (const command of [
      ['status', '-n', NS],
      ['describe', 'pod', `${NS}/client`],
      ['connections', '-n', NS],
    ])
      assert.match(
        (await look(command)).out,
        /1 connection from before it came into the mesh goes on in plaintext/,
      );

    const path = `/api/v1/namespaces/${NS}/pods/client`;
    const grace = { metadata: { annotations: { 'loam.dev/enrol-grace': '1s' } } };
    await cluster.client.patch(path, grace, 'application/merge-patch+json');
    await cluster.until('it was cut', async () => /ended ECONN/.test(await cluster.log(listening)));
    assert.equal((await inMesh(cluster, listening))?.earlier, undefined);
  });
});
