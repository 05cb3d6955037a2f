import assert from 'node:assert/strict';
import { container, namespace, podSpec, script } from '../support/apps.ts';
import { TestCluster, type TestPod } from '../support/cluster.ts';
import { AMBIENT, installed, SYSTEM } from '../support/installation.ts';
import { agentStatus, inMesh } from '../support/node-agent.ts';
import type { KubeObject } from '../support/resources.ts';

const NODE = 'node2';
const LIST = '/etc/cni/net.d/10-cluster.conflist';
const AGENTS = `/apis/apps/v1/namespaces/${SYSTEM}/daemonsets/loam-agent`;
/** Nobody answers there, and no pod has it. */
const FIRST = script('cluster/app/first-dial.mjs', '198.19.255.254', '9', 'stay');

/** On one node, whose runtime is told to do without NRI. */
describe('new pods where the container runtime has no NRI', function () {
  this.timeout(900_000);
  const cluster = TestCluster.open();
  const inside = namespace('cni-inside', AMBIENT);
  const outside = namespace('cni-outside');
  const made: KubeObject[] = [];

  before(async () => {
    await installed(cluster);
    await cluster.apply(inside, outside);
    await runtimeWith(false);
  });
  after(async () => {
    await agentsEverywhere(true);
    await runtimeWith(true);
    await cluster.remove(...made, inside, outside);
  });

  /** Restarts the runtime; what runs goes on. */
  async function runtimeWith(nri: boolean): Promise<void> {
    const edit = `/^\\[plugins.'io.containerd.nri.v1.nri'\\]/,/disable/s/disable = .*/disable = ${!nri}/`;
    await cluster.onNode(NODE, ['sed', '-i', edit, '/run/containerd.toml']);
    const [pid] = (await cluster.onNode(NODE, ['pidof', 'containerd'])).trim().split(' ');
    await cluster.onNode(NODE, ['kill', pid ?? '']);
    await cluster.until(`the runtime is ${nri ? 'with' : 'without'} NRI`, async () => {
      const { kubernetes } = await agentStatus(cluster, NODE);
      return (kubernetes?.nri.state === 'connected') === nri;
    });
  }

  /** Types of the plugins in the node's list. */
  async function listOnNode(): Promise<string[]> {
    const text = await cluster.onNode(NODE, ['cat', LIST]);
    return (JSON.parse(text) as { plugins: { type: string }[] }).plugins.map(({ type }) => type);
  }

  async function agentsEverywhere(everywhere: boolean): Promise<void> {
    const selector = { 'kubernetes.io/hostname': everywhere ? null : 'node1' };
    const patch = { spec: { template: { spec: { nodeSelector: selector } } } };
    await cluster.client.patch(AGENTS, patch, 'application/merge-patch+json');
    const name = 'app.kubernetes.io/name=loam-agent';
    if (everywhere) await cluster.readyPods(SYSTEM, name, 2);
    else
      await cluster.until('there is no agent on the node', async () =>
        (await cluster.pods(SYSTEM, name)).every(({ spec }) => spec.nodeName !== NODE),
      );
  }

  async function start(ns: string, name: string): Promise<void> {
    const spec = podSpec([container(FIRST)], { nodeSelector: { 'kubernetes.io/hostname': NODE } });
    const pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, namespace: ns, labels: { app: name } },
      spec,
    };
    made.push(pod);
    await cluster.apply(pod);
  }

  async function ready(ns: string, name: string): Promise<TestPod> {
    const [pod] = await cluster.readyPods(ns, `app=${name}`);
    assert.ok(pod);
    return pod;
  }

  function refused(name: string): Promise<void> {
    return cluster.until('an Event says why', async () => {
      const { items } = await cluster.client.get<{
        items: { message: string; involvedObject: { name: string } }[];
      }>('/api/v1/namespaces/cni-inside/events', { fieldSelector: 'reason=FailedCreatePodSandBox' });
      return items.some(
        ({ message, involvedObject }) =>
          involvedObject.name === name && /Loam's agent does not answer on this node/.test(message),
      );
    });
  }

  it('are in the mesh before their first container dials', async () => {
    await cluster.until('the plugin is in the list', async () => (await listOnNode()).at(-1) === 'loam-cni');
    await start('cni-inside', 'first');
    const pod = await ready('cni-inside', 'first');
    assert.equal(await cluster.log(pod), 'redirected\n');
    assert.equal((await inMesh(cluster, pod))?.state, 'verified');
    await start('cni-outside', 'plain');
    assert.match(await cluster.log(await ready('cni-outside', 'plain')), /^past the mesh/);
  });

  it('are held also when another network plugin has written its list anew', async () => {
    const text = await cluster.onNode(NODE, ['cat', LIST]);
    const list = JSON.parse(text) as { plugins: { type: string }[] };
    const plugins = list.plugins.filter(({ type }) => type !== 'loam-cni');
    const without = JSON.stringify({ ...list, plugins });
    await cluster.onNode(NODE, ['sh', '-c', `printf %s "$1" >${LIST}`, 'sh', without]);
    await cluster.until('the plugin is back', async () => (await listOnNode()).at(-1) === 'loam-cni');
  });

  it('do not start while the node has no agent, which an Event says; others do', async () => {
    await agentsEverywhere(false);
    await start('cni-inside', 'waits');
    await start('cni-outside', 'goes');
    assert.match(await cluster.log(await ready('cni-outside', 'goes')), /^past the mesh/);
    await refused('waits');
    await agentsEverywhere(true);
    assert.equal(await cluster.log(await ready('cni-inside', 'waits')), 'redirected\n');
  });

  it('are held by the runtime itself when it has NRI, and by the plugin still while there is no agent', async () => {
    await runtimeWith(true);
    await start('cni-inside', 'again');
    assert.equal(await cluster.log(await ready('cni-inside', 'again')), 'redirected\n');
    await agentsEverywhere(false);
    await start('cni-inside', 'later');
    await refused('later');
    await agentsEverywhere(true);
    assert.equal(await cluster.log(await ready('cni-inside', 'later')), 'redirected\n');
  });
});
