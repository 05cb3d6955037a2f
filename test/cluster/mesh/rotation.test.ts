import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { makeAuthorityValues } from '../../../controller/platform/kubernetes/authority-secret.ts';
import { idle, namespace } from '../support/apps.ts';
import { TestCluster, type TestPod } from '../support/cluster.ts';
import { AMBIENT, installed, SYSTEM } from '../support/installation.ts';
import { echo, Load } from '../support/load.ts';

const SECRET = `/api/v1/namespaces/${SYSTEM}/secrets/loam-ca`;
const NODE = '/usr/local/bin/node';
/** A kubelet brings a changed ConfigMap into pods within a minute or two. */
const KUBELET_MS = 300_000;

describe('the root of the mesh is replaced', function () {
  this.timeout(900_000);
  const cluster = TestCluster.open();
  const ns = 'rotation';
  const late = idle(ns, 'late', { node: 'node1' });
  const objects = [
    namespace(ns, AMBIENT),
    ...echo(ns, 'echo', 'node2'),
    idle(ns, 'client', { node: 'node1' }),
  ];
  before(async () => {
    await installed(cluster);
    await cluster.apply(...objects);
  });
  after(() => cluster.remove(...objects, late, accountOf(ns)));

  async function change(values: Readonly<Record<string, string>>): Promise<void> {
    const data = Object.fromEntries(
      Object.entries(values).map(([key, value]) => [key, Buffer.from(value).toString('base64')]),
    );
    await cluster.client.patch(SECRET, { data }, 'application/merge-patch+json');
  }

  /** The certificates that each node's ztunnel has, and the roots in its file. */
  async function ztunnels(): Promise<{ roots: number; certificates: X509Certificate[] }[]> {
    const pods = await cluster.readyPods(SYSTEM, 'app.kubernetes.io/name=loam-ztunnel', cluster.nodes.length);
    return Promise.all(pods.map(ask));
  }

  async function ask(pod: TestPod): Promise<{ roots: number; certificates: X509Certificate[] }> {
    const script = `
      const file = require('fs').readFileSync('/var/run/secrets/loam-root/root-cert.pem', 'utf8');
      fetch('http://127.0.0.1:15000/config_dump').then((r) => r.json()).then(({ certificates }) =>
        console.log(JSON.stringify({
          roots: file.split('BEGIN CERTIFICATE').length - 1,
          chains: certificates.flatMap((each) => each.certChainPem ?? []),
        })));`;
    const { roots, chains } = JSON.parse(await cluster.inPod(pod, [NODE, '-e', script])) as {
      roots: number;
      chains: string[];
    };
    return { roots, certificates: chains.map((pem) => new X509Certificate(pem)) };
  }

  it('by a second one beside it, under traffic: nothing fails, every certificate is replaced, and the first goes', async () => {
    await cluster.readyPods(ns, 'app=echo');
    const [client] = await cluster.readyPods(ns, 'app=client');
    assert.ok(client);
    const load = await Load.start(cluster, client, `echo.${ns}`);
    const { data } = await cluster.client.get<{ data: Record<string, string> }>(SECRET);
    const former = Buffer.from(data['root-cert.pem'] ?? '', 'base64').toString();
    const next = await makeAuthorityValues('cluster.local');
    const root = new X509Certificate(next['root-cert.pem'] ?? '');
    const isNext = (cert: X509Certificate): boolean => cert.verify(root.publicKey);

    await change({ 'root-cert.pem': `${former}${next['root-cert.pem']}` });
    await cluster.until(
      'every node trusts both roots',
      async () => (await ztunnels()).every(({ roots }) => roots === 2),
      KUBELET_MS,
    );
    await change({ 'ca-cert.pem': next['ca-cert.pem'] ?? '', 'ca-key.pem': next['ca-key.pem'] ?? '' });
    // A new account's certificate is of the new authority, beside those of the former.
    await cluster.apply(accountOf(ns), withAccount(late));
    const [pod] = await cluster.readyPods(ns, 'app=late');
    assert.ok(pod);
    await cluster.until('a certificate of the new root is there', async () =>
      (await ztunnels()).some(({ certificates }) => certificates.some(isNext)),
    );
    assert.ok((await ztunnels()).some(({ certificates }) => certificates.some((each) => !isNext(each))));
    const mixed = await Load.start(cluster, pod, `echo.${ns}`, { streams: 5 });
    await change({ 'root-cert.pem': next['root-cert.pem'] ?? '' });
    await cluster.until(
      'every certificate is of the new root',
      async () =>
        (await ztunnels()).every(({ roots, certificates }) => roots === 1 && certificates.every(isNext)),
      KUBELET_MS,
    );
    await mixed.stopWhole();
    await load.stopWhole();
  });
});

function accountOf(ns: string): {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace: string };
} {
  return { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'late', namespace: ns } };
}

function withAccount<T>(object: T): T {
  const copy = structuredClone(object) as { spec: { template: { spec: Record<string, unknown> } } };
  copy.spec.template.spec['serviceAccountName'] = 'late';
  return copy as T;
}
