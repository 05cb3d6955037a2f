import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { packageRoot } from '../../../lib/package-root.ts';
import { namespace } from '../support/apps.ts';
import { TestCluster } from '../support/cluster.ts';
import { installed } from '../support/installation.ts';
import type { KubeObject } from '../support/resources.ts';

const LABEL = 'loam.dev/verify';
const NS = 'verified';

interface Told {
  readonly good: boolean;
  readonly interrupted: boolean;
  readonly findings: readonly { readonly state: string; readonly what: string; readonly text: string }[];
}

describe('loam verify', function () {
  this.timeout(900_000);
  const cluster = TestCluster.open();
  /** So that both are in use in the cluster. */
  const inUse: readonly KubeObject[] = [
    namespace(NS),
    {
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'Gateway',
      metadata: { name: 'waypoint', namespace: NS },
      spec: {
        gatewayClassName: 'loam-waypoint',
        listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE' }],
      },
    },
    {
      apiVersion: 'loam.dev/v1',
      kind: 'EgressPolicy',
      metadata: { name: 'none', namespace: NS },
      spec: { selector: { matchLabels: { app: 'nobody' } }, allow: [] },
    },
  ];
  before(() => installed(cluster));
  after(() => cluster.remove(...inUse));

  const main = join(packageRoot(), 'dist', 'cli', 'main.js');
  const env = { ...process.env, KUBECONFIG: cluster.kubeconfig };

  async function verify(
    during?: (child: ReturnType<typeof spawn>) => Promise<void>,
  ): Promise<{ code: number | null; told: Told }> {
    const child = spawn(process.execPath, [main, 'verify', '-o', 'json', '--timeout', '120'], { env });
    let out = '';
    child.stdout.on('data', (part: Buffer) => (out += part.toString()));
    child.stderr.pipe(process.stderr);
    const closed = once(child, 'close') as Promise<[number | null]>;
    await during?.(child);
    const [code] = await closed;
    return { code, told: JSON.parse(out) as Told };
  }

  /** Namespaces of runs. */
  async function left(): Promise<string[]> {
    const { items } = await cluster.client.get<{ items: KubeObject[] }>('/api/v1/namespaces', {
      labelSelector: LABEL,
    });
    return items.map(({ metadata }) => metadata.name);
  }

  it('sees every feature work that is in use, says what it saw, and leaves nothing', async () => {
    await cluster.apply(...inUse);
    const { code, told } = await verify();
    const text = JSON.stringify(told.findings, null, 1);
    assert.equal(code, 0, text);
    const passed = told.findings.filter(({ state }) => state === 'pass').map(({ what }) => what);
    const wanted = [
      'pods',
      'mutual TLS',
      'address',
      'DNS',
      'Service',
      'itself',
      'PERMISSIVE',
      'STRICT',
      'probes',
    ];
    assert.deepEqual(passed, [...wanted, 'deny policy', 'waypoint', 'egress policy'], text);
    const said = (what: string): string => told.findings.find((each) => each.what === what)?.text ?? '';
    assert.match(
      said('mutual TLS'),
      /from node\d to node\d, by HBONE: spiffe:\/\/.*\/sa\/client ⇄ spiffe:\/\/.*\/sa\/server/,
    );
    assert.match(said('deny policy'), /by \S*deny-client/);
    assert.match(said('egress policy'), /by \S*client-calls-server/);
    assert.deepEqual(await left(), []);
  });

  it('removes what it made when it is interrupted, and what a killed run left', async () => {
    const { code, told } = await verify(async (child) => {
      await cluster.until('it has begun', async () => (await left()).length === 1);
      child.kill('SIGINT');
    });
    assert.equal(code, 130);
    assert.equal(told.interrupted, true);
    assert.deepEqual(await left(), []);

    const rest = { name: 'loam-verify-rest', labels: { [LABEL]: 'true' } };
    const until = (at: number): KubeObject => ({
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { ...rest, annotations: { 'loam.dev/verify-until': new Date(at).toISOString() } },
    });
    await cluster.apply(until(Date.now() + 3_600_000));
    const stop = async (child: ReturnType<typeof spawn>): Promise<void> => {
      await cluster.until('it has begun', async () => (await left()).some((name) => name !== rest.name));
      child.kill('SIGINT');
    };
    await verify(stop);
    assert.deepEqual(await left(), [rest.name], 'another run is left alone');
    await cluster.apply(until(Date.now() - 1000));
    await verify(stop);
    await cluster.until('the rest is gone', async () => (await left()).length === 0);
  });
});
