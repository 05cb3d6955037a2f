import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { count, type Driver } from '../../mesh/driver.ts';
import { namespace } from '../support/apps.ts';
import { TestCluster } from '../support/cluster.ts';
import { AMBIENT, installed, loam } from '../support/installation.ts';
import { gateway, programmed, USE, wayClient, wayDriver, wayServer, wayService } from '../support/way.ts';

const OF_WAYPOINT = 'gateway.networking.k8s.io/gateway-name=waypoint';

describe('a waypoint with several instances', function () {
  this.timeout(900_000);
  const cluster = TestCluster.open();
  const ns = 'rolls';
  const objects = [
    namespace(ns, { ...AMBIENT, [USE]: 'waypoint' }),
    gateway(ns, 'waypoint', 2),
    wayServer(ns, 'v1', 'web'),
    wayService(ns, 'web', { run: 'web' }),
    wayClient(ns, 'client'),
  ];
  const deployment = `/apis/apps/v1/namespaces/${ns}/deployments/waypoint`;
  let client: Driver;

  before(async () => {
    await installed(cluster);
    await cluster.apply(...objects);
    await cluster.readyPods(ns, 'app=v1');
    await cluster.readyPods(ns, OF_WAYPOINT, 2);
    await programmed(cluster, ns, 'waypoint');
    client = await wayDriver(cluster, ns, 'client');
    await cluster.until('it stands before the Service', async () =>
      JSON.stringify(await client.burst({ host: `web.${ns}`, port: 80, path: '/via', n: 4 })).includes(
        '"200 v1 via waypoint":4',
      ),
    );
  });
  after(async () => {
    client?.stop();
    await cluster.remove(...objects);
  });

  const kubectl = (...args: readonly string[]): Promise<unknown> =>
    promisify(execFile)(cluster.program('kubectl'), ['--kubeconfig', cluster.kubeconfig, ...args]);

  /** Calls by HTTP/1.1, HTTP/2 and gRPC all the while, on connections that are kept, and asserts that all succeed. */
  async function losesNothing(work: () => Promise<unknown>): Promise<void> {
    const target = { host: `web.${ns}`, path: '/status', timeoutMs: 60_000 };
    const ports = { h1: 80, h2: 81, grpc: 90 } as const;
    for (const proto of ['h1', 'h2', 'grpc'] as const)
      await client.loadStart({ id: proto, ...target, proto, port: ports[proto], sockets: 2 });
    try {
      await work();
    } finally {
      for (const id of Object.keys(ports)) {
        const counts = await client.loadStop(id);
        assert.equal(count(counts, '200 v1'), count(counts), `${id}: ${JSON.stringify(counts)}`);
        assert.ok(count(counts) > 10, `${id}: ${JSON.stringify(counts)}`);
      }
    }
  }

  const uids = async (): Promise<string[]> =>
    (await cluster.pods(ns, OF_WAYPOINT)).map(({ metadata }) => metadata.uid);

  it('is spread over the nodes', async () => {
    const pods = await cluster.readyPods(ns, OF_WAYPOINT, 2);
    assert.deepEqual(pods.map(({ spec }) => spec.nodeName).sort(), ['node1', 'node2']);
  });

  it('is replaced one by one and loses no request', async () => {
    const before = await uids();
    await losesNothing(async () => {
      await kubectl('rollout', 'restart', 'deployment/waypoint', '-n', ns);
      await cluster.until('others are there, and the former gone', async () => {
        const now = await uids();
        return now.length === 2 && now.every((uid) => !before.includes(uid));
      });
      await cluster.readyPods(ns, OF_WAYPOINT, 2);
    });
  });

  it('leaves a node that is drained and loses no request', async () => {
    const [drained] = await cluster.readyPods(ns, OF_WAYPOINT, 2);
    const node = drained?.spec.nodeName ?? '';
    try {
      await losesNothing(async () => {
        await kubectl('drain', node, `--pod-selector=${OF_WAYPOINT}`, '--timeout=300s');
        const pods = await cluster.readyPods(ns, OF_WAYPOINT, 2);
        assert.ok(
          pods.every(
            ({ spec, metadata }) => spec.nodeName !== node && metadata.uid !== drained?.metadata.uid,
          ),
        );
      });
    } finally {
      await kubectl('uncordon', node);
    }
  });

  it('loses no request when its Gateway wants another number of instances', async () => {
    await losesNothing(async () => {
      await cluster.apply(gateway(ns, 'waypoint', 1));
      await cluster.until('one is gone', async () => (await uids()).length === 1);
    });
  });

  it('fails closed at none, says why, and serves again when there is one', async () => {
    await cluster.apply(gateway(ns, 'waypoint'));
    const scale = (replicas: number): Promise<unknown> =>
      cluster.client.patch(`${deployment}/scale`, { spec: { replicas } }, 'application/merge-patch+json');
    const one = async (): Promise<string> =>
      JSON.stringify(await client.burst({ host: `web.${ns}`, port: 80, path: '/via', n: 1, sockets: 3 }));
    await cluster.until('none is left', async () => {
      await scale(0);
      return (await uids()).length === 0;
    });
    assert.match(await one(), /^\{"error /, 'nothing reaches the Service in another way');
    await cluster.until('it says why', () =>
      loam(cluster, 'waypoint', 'status', 'waypoint', '-n', ns).then(
        () => false,
        (error: { stdout?: string }) =>
          /✗ Programmed is False \(NoResources\): no instance is ready\n.*✗ it is scaled to 0/.test(
            error.stdout ?? '',
          ),
      ),
    );
    await scale(1);
    await cluster.until('it serves again', async () => (await one()) === '{"200 v1 via waypoint":1}');
    const [first] = JSON.parse(await loam(cluster, 'waypoint', 'list', '-n', ns, '-o', 'json')) as {
      programmed: boolean;
      users: { kind: string; name: string }[];
    }[];
    assert.equal(first?.programmed, true);
    assert.deepEqual(
      first.users.map(({ kind, name }) => `${kind} ${name}`),
      [`Namespace ${ns}`],
    );
  });
});
