import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { cleanNodes, type NodesApi } from '../../../../cli/install/clean-nodes.ts';
import { cleanup, STEP_LABEL, type CleanupStep } from '../../../../cli/install/render/cleanup.ts';
import { FakeCluster, NAMESPACE } from './fake-cluster.ts';

const IMAGE = {
  image: 'localhost/loam:dev',
  imagePullPolicy: 'Never',
  imagePullSecrets: [],
  cni: { confFolder: '/etc/cni/net.d', binFolder: '/opt/cni/bin' },
};
const NODES = ['node1', 'node2'];

describe('nodes on their way out of the mesh', () => {
  /** Does as a DaemonSet's controller and the kubelets do. @param answers whether a node takes a step, asked until it does */
  function cluster(answers: (node: string, step: CleanupStep) => boolean): {
    api: NodesApi;
    fake: FakeCluster;
    ready: () => string[];
    begun: { step: CleanupStep; ready: string[] }[];
  } {
    const fake = new FakeCluster();
    const begun: { step: CleanupStep; ready: string[] }[] = [];
    let now: CleanupStep | undefined;
    const ready = (): string[] => NODES.filter((node) => isReady(fake, node)).map((node) => `${node} ${now}`);
    const { list, apply, delete: remove } = fake.writable;
    const api: NodesApi = {
      delete: remove,
      list: (path, query) => {
        if (now !== undefined) for (const node of NODES) if (answers(node, now)) put(fake, node, now, true);
        return list(path, query);
      },
      apply: (path, body, manager) => {
        const step = (body as ReturnType<typeof cleanup>).spec?.template.metadata?.labels?.[
          STEP_LABEL
        ] as CleanupStep;
        begun.push({ step, ready: ready() });
        now = step;
        for (const node of NODES) put(fake, node, step, false);
        return apply(path, body, manager);
      },
    };
    return { api, fake, ready, begun };
  }

  function options(said: string[], timeoutMs: number): Parameters<typeof cleanNodes>[2] {
    return {
      ...{ namespace: NAMESPACE, timeoutMs, graceSeconds: 1, image: undefined, abandonNodes: false },
      say: (line) => said.push(line),
    };
  }

  it('take a step when all have taken the one before, however late one is', async () => {
    let looks = 0;
    const { api, fake, begun } = cluster((node) => node === 'node1' || (looks += 1) % 3 === 0);
    const said: string[] = [];
    await cleanNodes(api, IMAGE, options(said, 60_000));
    assert.deepEqual(begun, [
      { step: 'takes-plaintext', ready: [] },
      { step: 'plain', ready: NODES.map((node) => `${node} takes-plaintext`) },
      { step: 'remove', ready: NODES.map((node) => `${node} plain`) },
    ]);
    assert.deepEqual(said, ['2 of 2 nodes are clean: nothing of Loam is in their kernels']);
    assert.equal(
      [...fake.objects.keys()].some((path) => path.includes('agent-node')),
      false,
      'the agents ended first',
    );
  });

  it('go on without one that does not answer, after a while, and say so', async () => {
    const { api, begun, ready } = cluster((node) => node === 'node1');
    const said: string[] = [];
    await assert.rejects(cleanNodes(api, IMAGE, options(said, 10)), {
      code: 'INSTALL_NOT_READY',
      message:
        /^1 of 2 nodes are clean; node node2: is being started\. Everything but the agents is still there/,
    });
    assert.deepEqual(
      begun.map(({ step }) => step),
      ['takes-plaintext', 'plain', 'remove'],
    );
    assert.deepEqual(ready(), ['node1 remove']);
    assert.match(said.join('\n'), /1 of 2 nodes take plaintext; not waiting any longer for node node2/);
  });
});

function isReady(fake: FakeCluster, node: string): boolean {
  const pod = fake.objects.get(`/api/v1/namespaces/${NAMESPACE}/pods/cleanup-${node}`);
  return (pod?.status['conditions'] as { status: string }[] | undefined)?.[0]?.status === 'True';
}

function put(fake: FakeCluster, node: string, step: CleanupStep, isReadyNow: boolean): void {
  const { metadata } = cleanup(NAMESPACE, IMAGE, step).spec?.template ?? {};
  fake.put({
    ...{ apiVersion: 'v1', kind: 'Pod' },
    metadata: { ...metadata, name: `cleanup-${node}`, namespace: NAMESPACE, uid: `${node} ${step}` },
    spec: { nodeName: node, containers: [] },
    status: { conditions: [{ type: 'Ready', status: isReadyNow ? 'True' : 'False' }] },
  });
}
