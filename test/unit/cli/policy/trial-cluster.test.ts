import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { READ_KINDS } from '../../../../controller/sources/kubernetes/kinds.ts';
import { collectionPath } from '../../../../cli/install/cluster/kinds.ts';
import { documentsOf } from '../../../../cli/policy/proposal.ts';
import { COPIED, withProposal, type CopiedObject } from '../../../../cli/policy/trial-cluster.ts';

const POLICY = 'security.istio.io/v1/AuthorizationPolicy';
const LISTS: Parameters<typeof withProposal>[0] = [
  {
    kind: POLICY,
    items: [
      {
        metadata: { name: 'db', namespace: 'shop', uid: 'u', creationTimestamp: 't' },
        spec: { action: 'DENY' },
      },
    ],
  },
  {
    kind: 'v1/Service',
    items: [
      {
        metadata: {
          ...{ name: 'web', namespace: 'shop', labels: { 'loam.dev/use-waypoint': 'w', kept: 'yes' } },
          annotations: {
            'kubectl.kubernetes.io/last-applied-configuration': JSON.stringify({
              metadata: { labels: { 'loam.dev/use-waypoint': 'w' } },
            }),
          },
          managedFields: [{}],
        },
        spec: {
          clusterIP: '10.0.0.9',
          clusterIPs: ['10.0.0.9'],
          selector: { app: 'old' },
          ports: [{ port: 80 }],
        },
        status: { loadBalancer: {} },
      },
    ],
  },
  {
    kind: 'v1/Namespace',
    items: [{ metadata: { name: 'shop', labels: { 'kubernetes.io/metadata.name': 'shop' } } }],
  },
  {
    kind: 'v1/Pod',
    items: [
      {
        metadata: { name: 'a', namespace: 'shop' },
        spec: {
          nodeName: 'n',
          volumes: [{}],
          containers: [
            {
              name: 'c',
              env: [{ name: 'KEY', value: 's3cret' }],
              ports: [{ name: 'web', containerPort: 80 }],
            },
          ],
        },
        status: { podIPs: [{ ip: '10.0.0.1' }] },
      },
    ],
  },
];
const OPTIONS = { without: [], namespace: 'shop' };

function objectOf(
  { items }: { items: object[] },
  kind: string,
): CopiedObject & { spec?: Record<string, unknown> } {
  const found = (items as CopiedObject[]).find((item) => item.kind === kind);
  assert(found);
  return found as CopiedObject & { spec?: Record<string, unknown> };
}

describe('a proposal among the objects of a cluster', () => {
  it('is copied with all that the controller reads, and with nothing else', () => {
    assert.deepEqual(
      COPIED.map((kind) => collectionPath(kind)).sort(),
      READ_KINDS.map(({ path }) => path).sort(),
    );
    assert.deepEqual(
      [...COPIED].sort(),
      READ_KINDS.map(({ apiVersion, kind }) => `${apiVersion}/${kind}`).sort(),
    );
  });

  it('stands in place of what has its name, with what the API server gave that', () => {
    const found = withProposal(
      LISTS,
      [
        {
          apiVersion: 'security.istio.io/v1',
          kind: 'AuthorizationPolicy',
          metadata: { name: 'db' },
          spec: { action: 'ALLOW' },
        },
      ],
      OPTIONS,
    );
    assert.deepEqual(found.proposed, ['AuthorizationPolicy/shop/db']);
    const { metadata, spec } = objectOf(found, 'AuthorizationPolicy');
    assert.deepEqual([metadata.namespace, metadata['uid'], spec], ['shop', 'u', { action: 'ALLOW' }]);
    assert.equal(found.items.length, 4);
  });

  it('changes a Service as applying it would', () => {
    const found = withProposal(
      LISTS,
      [
        {
          ...{ apiVersion: 'v1', kind: 'Service', metadata: { name: 'web', labels: { new: 'yes' } } },
          spec: { selector: { app: 'new' }, ports: [{ port: 81 }] },
        },
      ],
      OPTIONS,
    );
    const { metadata, spec } = objectOf(found, 'Service');
    assert.deepEqual(metadata['labels'], { kept: 'yes', new: 'yes' });
    assert.deepEqual(spec, {
      ...{ clusterIP: '10.0.0.9', clusterIPs: ['10.0.0.9'] },
      ...{ selector: { app: 'new' }, ports: [{ port: 81 }] },
    });
  });

  it('knows what is in no namespace', () => {
    const found = withProposal(
      LISTS,
      [
        {
          apiVersion: 'v1',
          kind: 'Namespace',
          metadata: { name: 'shop', labels: { 'loam.dev/use-waypoint': 'w' } },
        },
      ],
      OPTIONS,
    );
    assert.deepEqual(found.proposed, ['Namespace//shop']);
    assert.deepEqual(objectOf(found, 'Namespace').metadata['labels'], {
      ...{ 'kubernetes.io/metadata.name': 'shop', 'loam.dev/use-waypoint': 'w' },
    });
  });

  it('keeps nothing of pods that no controller reads', () => {
    const found = withProposal(LISTS, [], {
      ...OPTIONS,
      without: [{ kind: 'AuthorizationPolicy', namespace: 'shop', name: 'db' }],
    });
    assert.ok(!found.items.some((item) => (item as CopiedObject).kind === 'AuthorizationPolicy'));
    const text = JSON.stringify(found.items);
    for (const gone of ['s3cret', 'volumes', 'managedFields', 'last-applied'])
      assert.ok(!text.includes(gone), gone);
    assert.match(text, /"podIPs":\[\{"ip":"10.0.0.1"\}\]/);
    assert.match(text, /"containerPort":80/);
  });

  it('says what cannot be', () => {
    const refused =
      (document: object, without: string[] = []) =>
      () =>
        withProposal(LISTS, [document], {
          namespace: 'shop',
          without: without.map((name) => ({ kind: 'AuthorizationPolicy', namespace: 'shop', name })),
        });
    const policy = {
      apiVersion: 'security.istio.io/v1',
      kind: 'AuthorizationPolicy',
      metadata: { name: 'x' },
    };
    assert.throws(refused({ ...policy, apiVersion: 'security.istio.io/v1beta1' }), {
      code: 'MESH_INPUT',
      message:
        /AuthorizationPolicy x: apiVersion: "security.istio.io\/v1beta1"; allowed: security.istio.io\/v1$/,
    });
    assert.throws(refused({ kind: 'AuthorizationPolicy' }), /without apiVersion/);
    assert.throws(refused(policy, ['none']), /the cluster has no AuthorizationPolicy\/shop\/none/);
    const deployment = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'web' } };
    assert.throws(
      refused(deployment),
      /nothing is proposed: Deployment\/shop\/web: a preview leaves it as it is/,
    );
    const { proposed, passedOver } = withProposal(LISTS, [deployment, policy], OPTIONS);
    assert.deepEqual([proposed, passedOver.length], [['AuthorizationPolicy/shop/x'], 1]);
  });

  it('is read as a controller reads manifests, and refused where nobody could have meant it', () => {
    assert.deepEqual(documentsOf('f', '{a: &a {kind: Pod}, b: {<<: *a}}'), [
      { a: { kind: 'Pod' }, b: { kind: 'Pod' } },
    ]);
    const bomb = `a: &a [1,1]\nb: &b [${'*a,'.repeat(20)}*a]\nc: [${'*b,'.repeat(20)}*b]`;
    for (const text of ['['.repeat(10_000), bomb])
      assert.throws(() => documentsOf('f', text), { code: 'MESH_INPUT', message: /^f is no YAML: / });
  });
});
