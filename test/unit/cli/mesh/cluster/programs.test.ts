import assert from 'node:assert/strict';
import type { V1Pod } from '@kubernetes/client-node';
import { describe, it } from 'mocha';
import { ClusterPrograms, type GatewayOfClass } from '../../../../../cli/mesh/cluster/programs.ts';

function pod(namespace: string, name: string, account: string, gateway?: string): V1Pod {
  const labels = gateway === undefined ? {} : { 'gateway.networking.k8s.io/gateway-name': gateway };
  return { metadata: { namespace, name, labels }, spec: { serviceAccountName: account, containers: [] } };
}

function gateway(namespace: string, name: string, gatewayClassName: string): GatewayOfClass {
  const metadata = { namespace, name };
  return { metadata, spec: { gatewayClassName } };
}

describe('programs of a cluster', () => {
  const pods = [
    pod('shop', 'ours', 'way', 'way'),
    pod('shop', 'of-another-class', 'edge', 'edge'),
    pod('shop', 'of-no-gateway', 'made-up', 'made-up'),
    pod('shop', 'of-another-account', 'default', 'way'),
    pod('other', 'of-another-namespace', 'way', 'way'),
    pod('shop', 'app', 'way'),
  ];
  async function waypoints(gateways: readonly GatewayOfClass[] | undefined): Promise<unknown> {
    const programs = new ClusterPrograms(
      { config: undefined as never },
      { system: 'loam-system', cluster: 'test', missing: () => undefined },
      () => Promise.resolve(pods),
      () => Promise.resolve(gateways),
    );
    return (await programs.waypointPods()).map(({ metadata }) => metadata?.name);
  }

  it('are waypoints where their Gateway is of our class, in their namespace', async () => {
    assert.deepEqual(
      await waypoints([gateway('shop', 'way', 'loam-waypoint'), gateway('shop', 'edge', 'other')]),
      ['ours'],
    );
    assert.deepEqual(await waypoints([]), []);
  });

  it('are waypoints by label and account where nobody may see Gateways', async () => {
    assert.deepEqual(await waypoints(undefined), [
      'ours',
      'of-another-class',
      'of-no-gateway',
      'of-another-namespace',
    ]);
  });
});
