import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { followTrial } from '../../../../cli/policy/trial-clients.ts';
import { startTrial, trialPaths } from '../../../../cli/policy/trial-controller.ts';
import { askJson } from '../../../../cli/local/http.ts';
import type { ControllerStatus } from '../../../../cli/local/status.ts';
import { PATIENCE } from '../../../support/patience.ts';

const MESH = { trustDomain: 'mesh.example', clusterId: 'east' };
const TOKEN = 'x'.repeat(32);
/** More than one response holds. */
const PODS = 3_000;

const namespace = {
  ...{ apiVersion: 'v1', kind: 'Namespace' },
  metadata: { name: 'shop', labels: { 'loam.dev/dataplane-mode': 'ambient' } },
};
const pods = Array.from({ length: PODS }, (_, i) => ({
  ...{ apiVersion: 'v1', kind: 'Pod' },
  metadata: { name: `web-${i}`, namespace: 'shop', uid: `u-${i}`, labels: { app: 'web' } },
  spec: { nodeName: 'node-a', serviceAccountName: 'web' },
  status: {
    ...{ phase: 'Running', podIPs: [{ ip: `10.1.${Math.floor(i / 250)}.${(i % 250) + 1}` }] },
    conditions: [{ type: 'Ready', status: 'True' }],
  },
}));
const policy = {
  ...{ apiVersion: 'security.istio.io/v1', kind: 'AuthorizationPolicy' },
  metadata: { name: 'none', namespace: 'shop' },
  spec: { selector: { matchLabels: { app: 'web' } }, action: 'DENY', rules: [{}] },
};
const rules = {
  ...{ apiVersion: 'loam.dev/v1', kind: 'EgressPolicy' },
  metadata: { name: 'nothing', namespace: 'shop' },
  spec: { selector: { matchLabels: { app: 'web' } }, allow: [] },
};

describe('a controller on a copy of a cluster', function () {
  this.timeout(60_000 * PATIENCE);
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'loam-trial-test-'));
    const tokens = [{ node: 'node-a', token: TOKEN }];
    writeFileSync(trialPaths(folder).tokens, JSON.stringify({ tokens }));
    writeFileSync(join(folder, 'token'), TOKEN);
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const trialOf = (items: readonly object[]): Parameters<typeof startTrial>[1] => {
    const objects = join(folder, 'objects.json');
    writeFileSync(objects, JSON.stringify({ kind: 'List', items }));
    return {
      flags: { objects, 'root-namespace': 'loam-system' },
      ...{ mesh: MESH, isProposed: () => false, passedOver: [] },
    };
  };

  it('tells a node all, in the place of the API server', async () => {
    await using controller = await startTrial(folder, trialOf([namespace, ...pods, policy, rules]));
    const status = async (): Promise<ControllerStatus> =>
      (await askJson({ socketPath: trialPaths(folder).status }, '/v1/status')) as ControllerStatus;
    const trial = followTrial(() => ({
      address: `https://127.0.0.1:${controller.port}`,
      ...{ rootFile: join(folder, 'state', 'root-cert.pem'), tokenFile: join(folder, 'token'), mesh: MESH },
      complete: async () => {
        const acked = async (): Promise<boolean> => {
          const { generation, nodes } = await status();
          return nodes.some(({ ackedGeneration }) => ackedGeneration === generation);
        };
        while (!(await acked())) await new Promise((resolve) => setTimeout(resolve, 20));
      },
    }));
    const { workloads, policies } = await trial.all('node-a');
    assert.equal([...workloads.workloads()].length, PODS, 'a first state in parts is told to its end');
    const [workload] = workloads.workloads();
    assert.deepEqual(workload?.identity, {
      trustDomain: 'mesh.example',
      namespace: 'shop',
      serviceAccount: 'web',
    });
    assert.equal(workload.clusterId, 'east');
    assert.equal(policies.size, 1);
    const egress = await trial.egress('node-a');
    assert.equal([...egress.policies()].length, 1, 'and its rules at the source');
    const { objects } = await status();
    assert.deepEqual(
      objects.filter(({ state }) => state === 'rejected'),
      [],
    );
  });

  it('says why it cannot start, and leaves nothing running', async () => {
    await assert.rejects(
      startTrial(folder, trialOf([{ apiVersion: 'v1', kind: 'Secret', metadata: { name: 's' } }])),
      {
        code: 'MESH_ANSWER',
        message: /a controller for the proposal ended: .*items\[0\] is of v1\/Secret; allowed: v1\/Namespace/,
      },
    );
    assert.ok(!existsSync(trialPaths(folder).status));
  });
});
