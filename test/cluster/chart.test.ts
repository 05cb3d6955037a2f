import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { parseAllDocuments } from 'yaml';
import { objectPath } from '../../cli/install/cluster/kinds.ts';
import { definitions } from '../../cli/install/crds.ts';
import type { Manifest } from '../../cli/install/render/manifest.ts';
import { objectsOf } from '../../cli/install/render/objects.ts';
import { chartFolder, valuesOf, type Values } from '../../cli/install/values.ts';
import { buildGoProgram } from '../support/go-program.ts';

type Tree = Readonly<Record<string, unknown>>;

/** Without a cluster Helm would take an old one for granted. */
const KUBERNETES = '1.34.4';
const RESOURCES = { requests: { cpu: 2, memory: '1Gi' } };
const CASES: readonly (readonly [what: string, namespace: string, values: Tree])[] = [
  ['the default values', 'loam-system', {}],
  [
    'other values throughout',
    'mesh',
    {
      image: 'images.example/loam:1.2.3@sha256:0123',
      imagePullPolicy: 'Always',
      imagePullSecrets: ['one', 'two'],
      clusterId: 'East-1',
      trustDomain: 'corp.example',
      clusterDomain: 'cluster.example',
      logLevel: 'debug',
      replicas: 5,
      controller: {
        nodeSelector: { 'example.com/pool': 'infra', zone: '1' },
        tolerations: [{ key: 'infra', operator: 'Exists', effect: 'NoSchedule' }],
        resources: RESOURCES,
      },
      cni: { mode: 'always', confFolder: '/etc/other', binFolder: '/var/lib/other/bin' },
      agent: { maxUnavailable: '10%', resources: RESOURCES },
      ztunnel: { maxSurge: '25%', terminationGracePeriodSeconds: 30, onDemand: true, resources: RESOURCES },
    },
  ],
  [
    'texts that YAML takes for something else',
    'loam-system',
    { clusterId: '1e3', trustDomain: 'on', image: 'true' },
  ],
  [
    'no resources, and limits taken away',
    'loam-system',
    { agent: { resources: { requests: null, limits: null } }, ztunnel: { resources: { limits: null } } },
  ],
];

/** Objects by their place in the API. */
function byPath(objects: readonly Manifest[]): Record<string, unknown> {
  // As JSON has them: what is undefined is not there.
  return Object.fromEntries(
    objects.map((object) => [objectPath(object), JSON.parse(JSON.stringify(object)) as unknown]),
  );
}

describe('the Helm chart', function () {
  const folder = mkdtempSync(join(tmpdir(), 'loam-chart-'));
  after(() => rmSync(folder, { recursive: true }));
  let helm: string;

  before(function () {
    // Helm is built once, and kept in the user's cache.
    this.timeout(1_800_000);
    helm = buildGoProgram('helm', 'helm.sh/helm/v3/cmd/helm');
  });

  function run(...args: readonly string[]): string {
    const env = { ...process.env, HELM_CACHE_HOME: folder, HELM_CONFIG_HOME: folder, HELM_DATA_HOME: folder };
    return execFileSync(helm, args, {
      env,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      maxBuffer: 32 << 20,
    });
  }

  /** Without its hook: `loam uninstall` needs no Job to do what it does. */
  function rendered(namespace: string, values: Tree): Manifest[] {
    const file = join(folder, 'values.json');
    // JSON: Kubernetes and Helm read YAML 1.1, in which `on` is no text.
    writeFileSync(file, JSON.stringify(values));
    const args = ['--namespace', namespace, '--values', file, '--kube-version', KUBERNETES, '--include-crds'];
    const text = run('template', 'loam', chartFolder(), ...args);
    return parseAllDocuments(text, { version: '1.1' })
      .map((document) => document.toJS() as Manifest | null)
      .filter((object) => object !== null)
      .filter(({ metadata }) => metadata.annotations?.['helm.sh/hook'] === undefined);
  }

  it('has nothing that helm lint would mend', () => {
    assert.doesNotMatch(run('lint', '--strict', chartFolder()), /\[(ERROR|WARNING)\]/);
  });

  for (const [what, namespace, given] of CASES)
    it(`renders the objects of loam install: ${what}`, () => {
      const values: Values = valuesOf([given]);
      const helms = byPath(rendered(namespace, given));
      const ours = byPath([...definitions(), ...objectsOf({ namespace, values })]);
      assert.deepEqual(Object.keys(helms).sort(), Object.keys(ours).sort());
      for (const [path, object] of Object.entries(ours))
        assert.deepEqual(withReadValues(helms[path]), withReadValues(object), path);
    });

  for (const [set, said] of [
    ['logLevel=loud', /logLevel/],
    ['replicas=0', /replicas/],
    ['imagePullPolcy=Always', /imagePullPolcy/],
  ] as const)
    it(`refuses ${set}`, () => {
      assert.throws(
        () => run('template', 'loam', chartFolder(), '--set', set),
        (error: Error & { stderr: string }) => {
          assert.match(error.stderr, said);
          return true;
        },
      );
    });
});

/** The values are kept as a text, in which the order of keys means nothing. */
function withReadValues(object: unknown): unknown {
  const { data } = object as { data?: { values?: string } };
  if (data?.values === undefined) return object;
  return { ...(object as object), data: { ...data, values: JSON.parse(data.values) as unknown } };
}
