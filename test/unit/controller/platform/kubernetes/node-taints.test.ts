import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { pino } from 'pino';
import {
  AGENT_NOT_READY_TAINT,
  NodeTaints,
} from '../../../../../controller/platform/kubernetes/node-taints.ts';
import { ControllerMetrics } from '../../../../../controller/telemetry/metrics.ts';
import { KubeClient } from '../../../../../lib/kubernetes/client.ts';
import { FakeKubeApi } from '../../../../support/fake-kube-api.ts';
import { until } from '../../../lib/kubernetes/until.ts';

const NODES = '/api/v1/nodes';
const PODS = '/api/v1/namespaces/loam-system/pods';
const OURS = { key: AGENT_NOT_READY_TAINT, effect: 'NoSchedule' };
const OTHER = { key: 'example.com/other', effect: 'NoExecute' };

interface Patch {
  readonly op: string;
  readonly value: object[];
}

describe('controller in Kubernetes: the taint of nodes without an agent', () => {
  let api: FakeKubeApi;
  let client: KubeClient;
  let stop: AbortController;
  const taints = new Map<string, object[]>();

  beforeEach(async () => {
    api = await FakeKubeApi.start();
    api.serve(NODES, PODS);
    api.answer = (method, path, body) => {
      const name = path.slice(NODES.length + 1);
      const has = taints.get(name);
      if (!path.startsWith(`${NODES}/`) || has === undefined) return undefined;
      if (method === 'PATCH') {
        const [test, replace] = body as [Patch, Patch];
        if (!isDeepStrictEqual(test.value, has)) return { status: 422, body: { message: 'the test failed' } };
        node(name, ...replace.value);
      }
      return { status: 200, body: { metadata: { name }, spec: { taints: taints.get(name) } } };
    };
    client = new KubeClient(api.access, { timeoutMs: 5_000 });
    stop = new AbortController();
  });
  afterEach(async () => {
    stop.abort();
    client.close();
    taints.clear();
    await api[Symbol.asyncDispose]();
  });

  function node(name: string, ...has: object[]): void {
    taints.set(name, has);
    api.put(NODES, { metadata: { name }, spec: { taints: has } } as never);
  }

  function agent(on: string, ready: boolean, account = 'loam-agent'): void {
    api.put(PODS, {
      metadata: {
        name: `agent-${on}`,
        namespace: 'loam-system',
        labels: { 'app.kubernetes.io/name': 'loam-agent' },
      },
      spec: { nodeName: on, serviceAccountName: account },
      status: { conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }] },
    } as never);
  }

  function run(): void {
    const metrics = new ControllerMetrics('test');
    new NodeTaints({ client, namespace: 'loam-system', metrics, log: pino({ level: 'silent' }) }).run(
      stop.signal,
    );
  }

  it('is taken off when the agent is ready, whichever comes first, and others are left', async () => {
    node('early', OTHER, OURS);
    agent('early', true);
    agent('late', false);
    run();
    await until(() => taints.get('early')?.length === 1);
    assert.deepEqual(taints.get('early'), [OTHER]);
    node('late', OURS, { ...OURS, effect: 'NoExecute' }, OTHER);
    agent('late', true);
    await until(() => taints.get('late')?.length === 1);
    assert.deepEqual(taints.get('late'), [OTHER]);
  });

  it('stays where there is no agent, one that is not ready, and one that only is labelled so', async () => {
    for (const name of ['none', 'waiting', 'liar', 'good']) node(name, OURS);
    agent('waiting', false);
    agent('liar', true, 'default');
    agent('good', true);
    run();
    await until(() => taints.get('good')?.length === 0);
    for (const name of ['none', 'waiting', 'liar']) assert.deepEqual(taints.get(name), [OURS], name);
  });
});
