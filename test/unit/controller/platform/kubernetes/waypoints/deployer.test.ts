import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { pino } from 'pino';
import { WaypointDeployer } from '../../../../../../controller/platform/kubernetes/waypoints/deployer.ts';
import { ControllerMetrics } from '../../../../../../controller/telemetry/metrics.ts';
import { KubeClient } from '../../../../../../lib/kubernetes/client.ts';
import { FakeKubeApi } from '../../../../../support/fake-kube-api.ts';

const ACCOUNTS = '/api/v1/serviceaccounts';
const MADE = [
  ACCOUNTS,
  '/api/v1/services',
  '/apis/policy/v1/poddisruptionbudgets',
  '/apis/apps/v1/deployments',
];
const SETTINGS = {
  ...{ image: 'localhost/loam:dev', controller: 'https://loam-controller.loam-system.svc:15012' },
  ...{ tokenAudience: 'loam', trustDomain: 'cluster.local', clusterId: 'Kubernetes' },
};

describe('the deployer of waypoints', () => {
  let api: FakeKubeApi;
  let client: KubeClient;
  let stop: AbortController;
  let deployer: WaypointDeployer;

  beforeEach(async () => {
    api = await FakeKubeApi.start();
    api.serve(...MADE, '/api/v1/configmaps');
    client = new KubeClient(api.access, {});
    stop = new AbortController();
  });
  afterEach(async () => {
    stop.abort();
    client.close();
    await api[Symbol.asyncDispose]();
  });

  /** With one Gateway, whose name is this. */
  function deploy(name: string): void {
    const metadata = { namespace: 'shop', name };
    const gateway = { kind: 'Gateway', metadata, spec: { gatewayClassName: 'loam-waypoint', listeners: [] } };
    const source = {
      current: { objects: new Map([[`Gateway/shop/${name}`, { object: gateway }]]) },
      resource: () => ({ metadata: { ...metadata, uid: 'uid-of-gateway' } }),
      onChange: () => undefined,
    };
    deployer = new WaypointDeployer({
      ...{ client, settings: SETTINGS, namespace: 'loam-system', rootsPem: () => 'PEM' },
      // As much of a source as a deployer reads.
      source: source as unknown as ConstructorParameters<typeof WaypointDeployer>[0]['source'],
      metrics: new ControllerMetrics('test'),
      log: pino({ level: 'silent' }),
    });
    deployer.run(stop.signal, () => undefined);
  }

  async function until(what: string, holds: () => boolean): Promise<void> {
    for (let i = 0; i < 1_000; i += 1) {
      if (holds()) return;
      await sleep(20);
    }
    throw new Error(`not so: ${what}`);
  }
  const patched = (): string[] =>
    api.requests.flatMap((line) => /^PATCH \S+\/namespaces\/shop\/(\w+)\//.exec(line)?.[1] ?? []);

  it('makes all that a waypoint needs, and tells its namespace the roots', async () => {
    deploy('waypoint');
    await until('all is made', () => new Set(patched()).size === 5);
    assert.deepEqual([...new Set(patched())].sort(), [
      'configmaps',
      'deployments',
      'poddisruptionbudgets',
      'serviceaccounts',
      'services',
    ]);
    assert.equal(deployer.problems.size, 0);
  });

  it('makes nothing where something else has the name, says what, and goes on once that is gone', async () => {
    const metadata = { namespace: 'shop', name: 'default' };
    api.put(ACCOUNTS, { metadata });
    deploy('default');
    await until('it is said', () => deployer.problems.has('shop/default'));
    assert.match(
      deployer.problems.get('shop/default') ?? '',
      /^ServiceAccount shop\/default is there and is not the Gateway's; rename the Gateway, or delete/,
    );
    assert.deepEqual(
      patched().filter((kind) => kind !== 'configmaps'),
      [],
    );
    api.remove(ACCOUNTS, 'shop/default');
    await until('all is made', () => new Set(patched()).size === 5);
    await until('nothing is said any more', () => deployer.problems.size === 0);
  });

  it('says what the API server refuses for good', async () => {
    api.refuse('/apis/apps/v1/namespaces/shop/deployments/waypoint', 403);
    deploy('waypoint');
    await until('it is said', () =>
      /deployments\/waypoint.*not for you/.test(deployer.problems.get('shop/waypoint') ?? ''),
    );
  });
});
