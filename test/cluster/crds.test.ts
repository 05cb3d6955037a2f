import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, it } from 'mocha';
import { parseAllDocuments } from 'yaml';
import { ApiError, ClusterApi } from '../../cli/install/cluster/api.ts';
import { collectionPath } from '../../cli/install/cluster/kinds.ts';
import { crdFolder, definitions, type Definition } from '../../cli/install/crds.ts';
import type { Manifest } from '../../cli/install/render/manifest.ts';
import { applyDefinitions } from '../../cli/install/roll-out.ts';
import { packageRoot } from '../../lib/package-root.ts';

/** Nothing is made in it: the API server is only asked. */
const NAMESPACE = 'default';
const DRY_RUN = { dryRun: 'All', fieldValidation: 'Strict' } as const;

/** Where an object of one of our definitions is made. */
function pathOf({ apiVersion, kind, metadata }: Manifest, all: readonly Definition[]): string | undefined {
  const [group = '', version = ''] = apiVersion.split('/');
  const found = all.find(({ spec }) => spec.group === group && spec.names.kind === kind);
  if (found === undefined) return undefined;
  const inside = found.spec.scope === 'Namespaced' ? `/namespaces/${metadata.namespace ?? NAMESPACE}` : '';
  return `/apis/${group}/${version}${inside}/${found.spec.names.plural}`;
}

/** Every object of the examples, as its file has it. */
function examples(): Manifest[] {
  const folder = join(packageRoot(), 'deploy', 'examples');
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.yaml'))
    .flatMap((file) => parseAllDocuments(readFileSync(join(folder, file), 'utf8')))
    .map((document) => document.toJS() as Manifest | null)
    .filter((object) => object !== null);
}

const security = (kind: string, spec: object): Manifest & { spec: object } => ({
  apiVersion: 'security.istio.io/v1',
  kind,
  metadata: { name: 'x', namespace: NAMESPACE },
  spec,
});
const loam = (kind: string, spec: object, name = 'x'): Manifest & { spec: object } => ({
  apiVersion: 'loam.dev/v1',
  kind,
  metadata: { name, ...(kind === 'MeshSettings' ? {} : { namespace: NAMESPACE }) },
  spec,
});

const REFUSED: readonly (readonly [what: string, object: Manifest, said: RegExp])[] = [
  [
    'an action that there is not',
    security('AuthorizationPolicy', { action: 'PERMIT' }),
    /supported values: "ALLOW"/,
  ],
  [
    'a policy with a selector and a target',
    security('AuthorizationPolicy', {
      selector: { matchLabels: { a: 'b' } },
      targetRefs: [{ kind: 'Service', name: 's' }],
    }),
    /only one of selector, targetRef and targetRefs/,
  ],
  [
    'an empty list of callers',
    security('AuthorizationPolicy', { rules: [{ from: [] }] }),
    /should have at least 1 items/,
  ],
  [
    'an empty source',
    security('AuthorizationPolicy', { rules: [{ from: [{ source: {} }] }] }),
    /should have at least 1 properties/,
  ],
  [
    'a condition without values',
    security('AuthorizationPolicy', { rules: [{ when: [{ key: 'source.ip' }] }] }),
    /values or notValues must be set/,
  ],
  [
    'a mode that there is not',
    security('PeerAuthentication', { mtls: { mode: 'ON' } }),
    /supported values: "UNSET"/,
  ],
  [
    'modes of ports without a selector',
    security('PeerAuthentication', { portLevelMtls: { 80: { mode: 'DISABLE' } } }),
    /portLevelMtls needs a selector/,
  ],
  [
    'a port out of range',
    security('PeerAuthentication', {
      selector: { matchLabels: { a: 'b' } },
      portLevelMtls: { 70000: { mode: 'DISABLE' } },
    }),
    /a port is a number from 1 to 65535/,
  ],
  [
    'an issuer without a name',
    security('RequestAuthentication', { jwtRules: [{}] }),
    /issuer: Required value/,
  ],
  [
    'keys given twice',
    security('RequestAuthentication', { jwtRules: [{ issuer: 'i', jwks: '{}', jwksUri: 'https://i/keys' }] }),
    /only one of jwks and jwksUri/,
  ],
  [
    'keys of no URL',
    security('RequestAuthentication', { jwtRules: [{ issuer: 'i', jwksUri: 'file:///keys' }] }),
    /begins with http/,
  ],
  ['second settings of the mesh', loam('MeshSettings', {}, 'other'), /there is one, and its name is mesh/],
  [
    'a word that there is not',
    loam('MeshSettings', { outboundTrafficPolicy: 'DENY' }, 'mesh'),
    /supported values: "ALLOW_ANY"/,
  ],
  [
    'a block that is none',
    loam('EgressPolicy', { allow: [{ cidrs: [{ cidr: '10.0.0.0/33' }] }] }),
    /is an IPv4 or IPv6 address or CIDR block/,
  ],
  [
    'a range that runs backwards',
    loam('EgressPolicy', { allow: [{ namespaces: ['a'], ports: [{ port: 90, endPort: 80 }] }] }),
    /endPort is not below port/,
  ],
  ['a policy for nothing', loam('TrafficPolicy', {}), /targetRefs: Required value/],
  [
    'a misspelt field',
    loam('TrafficPolicy', { targetRefs: [{ group: '', kind: 'Service', name: 's' }], retrys: {} }),
    /unknown field "spec\.retrys"/,
  ],
];

describe('CustomResourceDefinitions in a real API server', function () {
  this.timeout(120_000);
  const all = definitions();
  let api: ClusterApi;

  before(async () => {
    const told = process.env['LOAM_TEST_CLUSTER'];
    assert(told !== undefined, 'LOAM_TEST_CLUSTER is not set: ./loam test cluster makes a cluster');
    api = await ClusterApi.open({ kubeconfig: join(told, 'kubeconfig') });
    await applyDefinitions(api, () => undefined);
  });

  /** Asks the API server without making anything. */
  async function admit({ metadata, ...object }: Manifest): Promise<void> {
    const path = pathOf({ metadata: { ...metadata, namespace: NAMESPACE }, ...object }, all);
    assert(path !== undefined, `${object.apiVersion} ${object.kind} is not defined`);
    const { namespace: _theirs, ...others } = metadata;
    await api.create(path, { ...object, metadata: others }, DRY_RUN);
  }

  it('are all structural: nothing of a schema was refused, and each is established', async () => {
    for (const { metadata } of all) {
      const found = await api.get<{
        status: { conditions: { type: string; status: string; message: string }[] };
      }>(`${collectionPath('apiextensions.k8s.io/v1/CustomResourceDefinition')}/${metadata.name}`);
      const of = (type: string): string | undefined =>
        found.status.conditions.find((each) => each.type === type)?.status;
      assert.equal(of('Established'), 'True', metadata.name);
      assert.notEqual(of('NonStructuralSchema'), 'True', metadata.name);
    }
    assert(all.length >= 11, crdFolder());
  });

  it('admit every example', async () => {
    let asked = 0;
    for (const object of examples()) {
      if (pathOf(object, all) === undefined) continue;
      await admit(object);
      asked += 1;
    }
    assert(asked >= 8, `${asked} objects`);
  });

  for (const [what, object, said] of REFUSED)
    it(`refuse ${what}, with a message`, async () => {
      await assert.rejects(admit(object), (error) => {
        assert(error instanceof ApiError);
        assert([400, 422].includes(error.status), error.message);
        assert.match(error.message, said);
        return true;
      });
    });

  it('keep what they do not know of a policy, so that the controller can refuse it', async () => {
    const policy = security('AuthorizationPolicy', {
      rules: [{ from: [{ source: { namespaces: ['a'], regions: ['eu'] } }] }],
    });
    const path = pathOf(policy, all);
    assert(path !== undefined);
    const made = await api.create<{ spec: object }>(path, policy, { dryRun: 'All' });
    assert.deepEqual(made.spec, policy.spec);
  });
});
