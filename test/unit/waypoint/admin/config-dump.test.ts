import assert from 'node:assert/strict';
import { create } from '@bufbuild/protobuf';
import { describe, it } from 'mocha';
import { waypointState } from '../../../../cli/mesh/stores.ts';
import { PolicyStore } from '../../../../lib/mesh/state/policy-store.ts';
import { WorkloadStore } from '../../../../lib/mesh/state/workload-store.ts';
import { ConfigStore } from '../../../../lib/mesh/waypoint/config-store.ts';
import { ResourceSchema } from '../../../../proto/gen/loam/waypoint/v1/waypoint_pb.js';
import { configDump } from '../../../../waypoint/admin/config-dump.ts';
import type { WaypointConfig } from '../../../../waypoint/config.ts';

describe("a waypoint's config dump", () => {
  it('holds all that it decides by, and not what signs sessions', () => {
    const resources = new ConfigStore();
    const key = 's/web.s.svc.cluster.local';
    const sessionKey = Buffer.from('a secret that nobody may read ..');
    resources.apply({
      upserts: [
        {
          name: 'settings',
          resource: create(ResourceSchema, {
            kind: { case: 'settings', value: { trustedHops: 2, sessionKey } },
          }),
        },
        {
          name: `service/${key}`,
          resource: create(ResourceSchema, {
            kind: {
              case: 'service',
              value: { key, name: 'web', namespace: 's', served: true, authorization: ['s/p'] },
            },
          }),
        },
      ],
      removed: [],
    });
    const dump = configDump({
      config: { gateway: { namespace: 's', name: 'way' }, network: '' } as WaypointConfig,
      version: 'test',
      identity: { trustDomain: 'cluster.local', namespace: 's', serviceAccount: 'way' },
      resources,
      workloads: new WorkloadStore(),
      policies: new PolicyStore(),
      xds: {},
      certificates: [],
    });
    const text = JSON.stringify(dump);
    assert.ok(!text.includes(sessionKey.toString('base64')) && !text.includes('sessionKey'), text);
    const { config, gateway, ownService } = waypointState('s/way-0', JSON.parse(text));
    assert.deepEqual(config.service(key)?.authorization, ['s/p']);
    assert.equal(config.settings?.trustedHops, 2);
    assert.deepEqual([gateway, ownService], ['s/way', 's/way.s.svc.cluster.local']);
    assert.equal(resources.settings?.sessionKey.length, sessionKey.length, 'it keeps its own');
  });
});
