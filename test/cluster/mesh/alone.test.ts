import assert from 'node:assert/strict';
import { idle, namespace } from '../support/apps.ts';
import { TestCluster, type TestPod } from '../support/cluster.ts';
import { AMBIENT, installed, SYSTEM } from '../support/installation.ts';
import { echo, ECHO_PORT, Load } from '../support/load.ts';
import { isHbone, onTheWire } from '../support/wire.ts';

const SOME = { streams: 1, workers: 2, pauseMs: 10 };
const MOMENT_MS = 2_000;
const GREETING = 'hello';
const CONTROLLER = `/apis/apps/v1/namespaces/${SYSTEM}/deployments/loam-controller`;

/** A pod whose identity its node has, but of which nobody could tell the nodes. */
describe('a new pod while there is no controller', function () {
  this.timeout(600_000);
  const cluster = TestCluster.open();
  const [ns, outside] = ['alone', 'alone-plain'];
  const late = echo(ns, 'late', 'node1').slice(0, 1);
  const objects = [
    namespace(ns, AMBIENT),
    namespace(outside),
    ...echo(ns, 'echo', 'node2'),
    idle(ns, 'client', { node: 'node1' }),
    idle(outside, 'stranger', { node: 'node1' }),
  ];

  before(async () => {
    await installed(cluster);
    await cluster.apply(...objects);
    await cluster.readyPods(ns, 'app=echo');
    // What the node was not told while there was a controller it cannot know after.
    await Load.reaches(cluster, await pod(ns, 'client'), `echo.${ns}`);
    await scale(0);
    await cluster.until('no controller is left', async () => (await controllers()).length === 0);
    await cluster.apply(...late);
  });
  after(async () => {
    await scale(2);
    await cluster.until('the controllers are ready', async () => {
      const { status } = await cluster.client.get<{ status: { readyReplicas?: number } }>(CONTROLLER);
      return status.readyReplicas === 2;
    });
    await cluster.remove(...objects, ...late);
  });

  const scale = (replicas: number): Promise<unknown> =>
    cluster.client.patch(CONTROLLER, { spec: { replicas } }, 'application/merge-patch+json');
  const controllers = (): Promise<TestPod[]> =>
    cluster.pods(SYSTEM, 'app.kubernetes.io/name=loam-controller');

  async function pod(space: string, app: string): Promise<TestPod> {
    const [found] = await cluster.readyPods(space, `app=${app}`);
    assert.ok(found);
    return found;
  }

  /** @returns what comes back, or what went wrong */
  async function greet(from: TestPod, ip: string): Promise<string> {
    const code = `require('net').connect(${ECHO_PORT}, '${ip}', function () { this.write('${GREETING}'); })
      .on('data', (data) => { console.log(String(data)); process.exit(); })
      .on('error', ({ code }) => { console.log(code); process.exit(); })
      .setTimeout(20000, () => { console.log('nothing'); process.exit(); })`;
    return (await cluster.inPod(from, ['/usr/local/bin/node', '-e', code])).trim();
  }

  it('reaches others by HBONE', async () => {
    const [from, server] = [await pod(ns, 'late'), await pod(ns, 'echo')];
    const { segments } = await onTheWire(cluster, [from, server], async () => {
      await (await Load.start(cluster, from, `echo.${ns}`, SOME)).stopWhole(MOMENT_MS);
    });
    assert.ok(segments.length > 0 && segments.every(isHbone));
  });

  it('is reached from its own node by who proves who it is, and by nobody else', async () => {
    const ip = (await pod(ns, 'late')).status.podIP ?? '';
    await (await Load.start(cluster, await pod(ns, 'client'), ip, SOME)).stopWhole(MOMENT_MS);
    assert.equal(await greet(await pod(outside, 'stranger'), ip), 'ECONNRESET');
  });

  it('is as any other when a controller is back', async () => {
    await scale(1);
    const stranger = await pod(outside, 'stranger');
    const ip = (await pod(ns, 'late')).status.podIP ?? '';
    await cluster.until('plaintext is admitted again', async () => (await greet(stranger, ip)) === GREETING);
    await (await Load.start(cluster, await pod(ns, 'client'), ip, SOME)).stopWhole(MOMENT_MS);
  });
});
