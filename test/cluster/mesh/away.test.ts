import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { idle, namespace } from '../support/apps.ts';
import { TestCluster } from '../support/cluster.ts';
import { AMBIENT, installed } from '../support/installation.ts';
import { echo, Load } from '../support/load.ts';

const AWAY_MS = 60_000;

describe('the API server is away', function () {
  this.timeout(600_000);
  const cluster = TestCluster.open();
  const ns = 'away';
  const objects = [
    namespace(ns, AMBIENT),
    ...echo(ns, 'echo', 'node2'),
    idle(ns, 'client', { node: 'node1' }),
  ];
  before(async () => {
    await installed(cluster);
    await cluster.apply(...objects);
  });
  after(() => cluster.remove(...objects));

  it('for a minute, as one that answers nobody, and no connection of the mesh fails', async () => {
    await cluster.readyPods(ns, 'app=echo');
    const [client] = await cluster.readyPods(ns, 'app=client');
    assert.ok(client);
    const load = await Load.start(cluster, client, `echo.${ns}`);
    const pid = cluster.processId('kube-apiserver');
    process.kill(pid, 'SIGSTOP');
    try {
      await sleep(AWAY_MS);
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    await load.stopWhole();
  });

  it('for as long as it takes to be started again after a kill, and no connection fails', async () => {
    const [client] = await cluster.readyPods(ns, 'app=client');
    assert.ok(client);
    const load = await Load.start(cluster, client, `echo.${ns}`);
    const before = cluster.processId('kube-apiserver');
    process.kill(before, 'SIGKILL');
    await cluster.until('the API server answers again', async () => {
      return (
        cluster.processId('kube-apiserver') !== before && (await cluster.client.text('/readyz')) === 'ok'
      );
    });
    await load.stopWhole();
  });
});
