import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { parseAllDocuments } from 'yaml';
import { hasStatus } from '../../lib/kubernetes/errors.ts';
import { packageRoot } from '../../lib/package-root.ts';
import { until as soon } from '../unit/controller/harness.ts';
import { TestCluster } from './support/cluster.ts';
import { type ClusterController, isReady, runClusterController, TestNamespace } from './support/control.ts';
import { withoutControllers } from './support/installation.ts';

const GATEWAYS = 'gateway.networking.k8s.io/v1';
const APPLY = { fieldManager: 'loam-test', force: true };

/** The machine is a whole cluster, and what is written again and again is written seconds apart. */
const WAIT_MS = 90_000;
const until = <T>(probe: () => Promise<T | undefined | false>): Promise<T> => soon(probe, WAIT_MS);

interface Written {
  readonly metadata: {
    readonly uid: string;
    readonly resourceVersion: string;
    readonly generation: number;
    readonly labels?: Readonly<Record<string, string>>;
    readonly ownerReferences?: readonly { readonly uid: string }[];
  };
  readonly spec: Readonly<Record<string, unknown>>;
  readonly data?: Readonly<Record<string, string>>;
  readonly status?: {
    readonly addresses?: readonly { readonly value: string }[];
    readonly conditions?: readonly WrittenCondition[];
    readonly listeners?: readonly {
      readonly name: string;
      readonly conditions: readonly WrittenCondition[];
    }[];
    readonly parents?: readonly {
      readonly controllerName: string;
      readonly conditions: readonly WrittenCondition[];
    }[];
  };
}

interface WrittenCondition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly observedGeneration?: number;
}

/** Two controllers in this process against the real API server, without kubelets: what the one that leads writes. */
describe('cluster: what the leading controller writes', function () {
  this.timeout(600_000);
  let system: TestNamespace;
  let shop: TestNamespace;
  let controllers: ClusterController[];

  let giveBack: () => Promise<void>;

  before(async () => {
    giveBack = await withoutControllers(TestCluster.open());
    system = await TestNamespace.create('loam-control');
    shop = await TestNamespace.create('loam-shop', {
      'loam.dev/dataplane-mode': 'ambient',
      'loam.dev/use-waypoint': 'waypoint',
    });
    await defineKinds(system);
    controllers = await Promise.all(
      ['a', 'b'].map((replica) =>
        runClusterController(system, replica, { waypointImage: 'localhost/loam:dev' }),
      ),
    );
    await Promise.all(controllers.map(isReady));
  });
  after(async () => {
    for (const controller of controllers ?? []) await controller[Symbol.asyncDispose]();
    await system?.[Symbol.asyncDispose]();
    await shop?.[Symbol.asyncDispose]();
    await giveBack?.();
  });

  async function find(path: string): Promise<Written | undefined> {
    return shop.client.get<Written>(path).catch((error: unknown) => {
      if (hasStatus(error, 404)) return undefined;
      throw error;
    });
  }

  function paths(name: string): string[] {
    return [
      shop.path('serviceaccounts'),
      shop.path('services'),
      shop.path('poddisruptionbudgets', 'policy/v1'),
      shop.path('deployments', 'apps/v1'),
    ].map((path) => `${path}/${name}`);
  }

  async function gateway(name: string, annotations: Record<string, string> = {}): Promise<Written> {
    const path = `${shop.path('gateways', GATEWAYS)}/${name}`;
    const object = {
      ...{ apiVersion: GATEWAYS, kind: 'Gateway', metadata: { name, annotations } },
      spec: {
        gatewayClassName: 'loam-waypoint',
        listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE' }],
      },
    };
    return shop.client.patch<Written>(path, object, 'application/apply-patch+yaml', APPLY);
  }

  function condition(conditions: readonly WrittenCondition[] | undefined, type: string): string {
    const found = conditions?.find((each) => each.type === type);
    return found === undefined ? 'none' : `${found.status} ${found.reason}`;
  }

  async function leader(): Promise<ClusterController> {
    return until(async () => {
      for (const controller of controllers) {
        const { values } = await controller.metrics.leader.get();
        if (values[0]?.value === 1) return controller;
      }
      return undefined;
    });
  }

  it('makes of a Gateway what its waypoint needs, owned by it, and tells its namespace the root', async () => {
    const { metadata } = await gateway('waypoint', { 'loam.dev/replicas': '2' });
    for (const path of paths('waypoint')) {
      const made = await until(() => find(path));
      assert.deepEqual(
        made.metadata.ownerReferences?.map(({ uid }) => uid),
        [metadata.uid],
        path,
      );
    }
    const deployment = await find(paths('waypoint')[3] ?? '');
    assert.equal(deployment?.spec['replicas'], 2);
    for (const namespace of [system, shop]) {
      const config = await until(() => find(`${namespace.path('configmaps')}/loam-ca-root-cert`));
      assert.equal(config.data?.['root-cert.pem']?.trim(), (await controllers[0]?.rootPem())?.trim());
    }
  });

  it('brings back what somebody deletes or edits', async () => {
    await until(() => find(paths('waypoint')[3] ?? ''));
    for (const path of [...paths('waypoint'), `${shop.path('configmaps')}/loam-ca-root-cert`]) {
      const { metadata } = await until(() => find(path));
      await shop.client.delete(path);
      await until(async () => {
        const now = await find(path);
        return now !== undefined && now.metadata.uid !== metadata.uid;
      });
    }
    const [, service = '', , deployment = ''] = paths('waypoint');
    const edit = (path: string, spec: object): Promise<unknown> =>
      shop.client.patch(path, { spec }, 'application/merge-patch+json', { fieldManager: 'somebody' });
    await edit(service, { selector: { 'gateway.networking.k8s.io/gateway-name': 'elsewhere' } });
    await edit(deployment, { replicas: 0 });
    await until(async () => (await find(deployment))?.spec['replicas'] === 2);
    await until(async () => JSON.stringify((await find(service))?.spec['selector'])?.includes('"waypoint"'));
  });

  it('leaves alone what is of the name and not of the Gateway', async () => {
    const [, path = ''] = paths('taken');
    const ports = [{ port: 80 }];
    await shop.client.create(shop.path('services'), { metadata: { name: 'taken' }, spec: { ports } });
    await gateway('taken');
    const own = await gateway('other');
    await until(() => find(paths('other')[3] ?? ''));
    assert.equal((await find(path))?.metadata.ownerReferences, undefined);
    assert.equal(await find(paths('taken')[3] ?? ''), undefined, 'nothing is made of it by halves');
    await until(
      async () =>
        (await find(paths('other')[1] ?? ''))?.metadata.ownerReferences?.[0]?.uid === own.metadata.uid,
    );
  });

  it('says in the status what was compiled, with its generation, and then writes no more', async () => {
    const path = `${shop.path('gateways', GATEWAYS)}/waypoint`;
    await until(
      async () => condition((await find(path))?.status?.conditions, 'Programmed') === 'False NoResources',
    );
    const labels = { 'gateway.networking.k8s.io/gateway-name': 'waypoint' };
    await shop.pod('waypoint-1', { account: 'waypoint', node: 'node-a', labels });
    const ready = await until(async () => {
      const now = await find(path);
      return condition(now?.status?.conditions, 'Programmed') === 'True Programmed' ? now : undefined;
    });
    assert.equal(condition(ready.status?.conditions, 'Accepted'), 'True Accepted');
    assert(
      ready.status?.conditions?.every(
        ({ observedGeneration }) => observedGeneration === ready.metadata.generation,
      ),
    );
    const service = await find(paths('waypoint')[1] ?? '');
    assert.deepEqual(
      ready.status?.addresses?.map(({ value }) => value),
      service?.spec['clusterIPs'],
    );
    assert.deepEqual(
      ready.status?.listeners?.map(({ name }) => name),
      ['mesh'],
    );
    await new Promise((resolve) => setTimeout(resolve, 7_000));
    const later = await find(path);
    assert.equal(later?.metadata.resourceVersion, ready.metadata.resourceVersion);
  });

  it("says of a route what became of it at each Service, and keeps others' words", async () => {
    await shop.client.create(shop.path('services'), {
      metadata: { name: 'web' },
      spec: { ports: [{ port: 80, name: 'http' }], selector: { app: 'web' } },
    });
    const path = `${shop.path('httproutes', GATEWAYS)}/web`;
    const parent = (name: string): object => ({ group: '', kind: 'Service', name, port: 80 });
    await shop.client.create(shop.path('httproutes', GATEWAYS), {
      ...{ apiVersion: GATEWAYS, kind: 'HTTPRoute', metadata: { name: 'web' } },
      spec: {
        parentRefs: [parent('web'), parent('absent')],
        rules: [{ backendRefs: [{ name: 'missing', port: 80 }] }],
      },
    });
    const words = async (): Promise<string[]> =>
      ((await find(path))?.status?.parents ?? []).map(
        ({ controllerName, conditions }) =>
          `${controllerName} ${condition(conditions, 'Accepted')} ${condition(conditions, 'ResolvedRefs')}`,
      );
    const own = [
      'loam.dev/waypoint True Accepted False BackendNotFound',
      'loam.dev/waypoint False NoMatchingParent False BackendNotFound',
    ];
    await until(async () => JSON.stringify(await words()) === JSON.stringify(own));
    const now = await find(path);
    const said = {
      ...{ type: 'Said', status: 'True', reason: 'Said', message: '' },
      lastTransitionTime: '2026-01-01T00:00:00Z',
    };
    const foreign = { parentRef: { name: 'edge' }, controllerName: 'example.com/edge', conditions: [said] };
    await shop.client.patch(
      `${path}/status`,
      { status: { parents: [...(now?.status?.parents ?? []), foreign] } },
      'application/merge-patch+json',
    );
    await shop.client.patch(
      path,
      { spec: { rules: [{ backendRefs: [{ name: 'web', port: 80 }] }] } },
      'application/merge-patch+json',
    );
    await until(async () => {
      const all = await words();
      return (
        all.includes('example.com/edge none none') &&
        all.includes('loam.dev/waypoint True Accepted True ResolvedRefs')
      );
    });
  });

  it('goes on with another replica when the one that leads stops', async () => {
    const first = await leader();
    controllers = controllers.filter((each) => each !== first);
    await first[Symbol.asyncDispose]();
    await gateway('waypoint', { 'loam.dev/replicas': '3' });
    await until(async () => (await find(paths('waypoint')[3] ?? ''))?.spec['replicas'] === 3);
    assert.notEqual(await leader(), first);
  });
});

/** The kinds of Gateway API and of Loam, where the cluster does not know them. */
async function defineKinds({ client }: TestNamespace): Promise<void> {
  const folder = join(packageRoot(), 'deploy', 'crds');
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) =>
    file.endsWith('.yaml'),
  );
  for (const file of files)
    for (const document of parseAllDocuments(readFileSync(join(folder, file), 'utf8'))) {
      const object = document.toJS() as { kind?: string; metadata: { name: string } } | null;
      if (object?.kind !== 'CustomResourceDefinition') continue;
      const path = `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${object.metadata.name}`;
      await client.patch(path, object, 'application/apply-patch+yaml', APPLY);
      await until(async () => {
        const { status } = await client.get<Written>(path);
        return status?.conditions?.some(({ type, status: is }) => type === 'Established' && is === 'True');
      });
    }
}
