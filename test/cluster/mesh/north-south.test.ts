import assert from 'node:assert/strict';
import { idle, namespace, script, deployment, service } from '../support/apps.ts';
import { TestCluster, type TestPod } from '../support/cluster.ts';
import { AMBIENT, installed, SYSTEM } from '../support/installation.ts';
import type { KubeObject } from '../support/resources.ts';
import { isHbone, onTheWire } from '../support/wire.ts';

/** What comes from outside of the mesh: clients and ingresses that are not enrolled, nodes, and the other way the API server. */
describe('north and south', function () {
  this.timeout(600_000);
  const cluster = TestCluster.open();
  const mesh = 'south';
  const outside = 'north';
  const strict: KubeObject = {
    apiVersion: 'security.istio.io/v1',
    kind: 'PeerAuthentication',
    metadata: { name: 'strict', namespace: mesh },
    spec: { mtls: { mode: 'STRICT' } },
  };
  const nodePort = (name: string, externalTrafficPolicy: string): KubeObject =>
    service(mesh, name, {
      type: 'NodePort',
      externalTrafficPolicy,
      selector: { app: 'server' },
      ports: [{ name: 'greeting', port: 7000 }],
    });
  const objects: readonly KubeObject[] = [
    namespace(mesh, AMBIENT),
    namespace(outside),
    deployment(mesh, 'server', { node: 'node2' }),
    service(mesh, 'server'),
    nodePort('local', 'Local'),
    nodePort('any', 'Cluster'),
    idle(mesh, 'ingress', { node: 'node1' }),
    idle(outside, 'client', { node: 'node1' }),
  ];
  let server: TestPod;
  let ingress: TestPod;
  let client: TestPod;

  before(async () => {
    await installed(cluster);
    await cluster.apply(...objects);
    const one = async (ns: string, app: string): Promise<TestPod> => {
      const [pod] = await cluster.readyPods(ns, `app=${app}`);
      assert.ok(pod);
      return pod;
    };
    server = await one(mesh, 'server');
    ingress = await one(mesh, 'ingress');
    client = await one(outside, 'client');
  });
  after(() => cluster.remove(...objects, strict));

  const hello = (pod: TestPod, host: string): Promise<string> =>
    cluster.inPod(pod, script('mesh/app/client.mjs', 'listen', host, '7000', '5000'));

  /** From a node itself, as a load balancer's packets come. */
  const fromNode = (node: string, host: string, port: number): Promise<string> =>
    cluster.onNode(node, ['sh', '-c', `exec ${process.execPath} -e "${dial(host, port)}"`]);

  async function portOf(name: string): Promise<number> {
    const { spec } = await cluster.client.get<{ spec: { ports: { nodePort: number }[] } }>(
      `/api/v1/namespaces/${mesh}/services/${name}`,
    );
    return spec.ports[0]?.nodePort ?? 0;
  }

  async function addressOf(node: string): Promise<string> {
    const { status } = await cluster.client.get<{
      status: { addresses: { type: string; address: string }[] };
    }>(`/api/v1/nodes/${node}`);
    return status.addresses.find(({ type }) => type === 'InternalIP')?.address ?? '';
  }

  it('lets in who is not enrolled while plaintext is admitted, with the client’s own address', async () => {
    await cluster.until('the server answers', async () =>
      (await hello(client, `server.${mesh}`)).includes('HELLO'),
    );
    const { segments } = await onTheWire(cluster, [client, server], async () => {
      assert.ok((await hello(client, `server.${mesh}`)).includes(`${client.status.podIP}:`));
    });
    assert.ok(segments.length > 0 && !segments.some(isHbone));
    assert.ok(
      (await fromNode('node1', server.status.podIP ?? '', 7000)).includes(`${await addressOf('node1')}:`),
    );
  });

  it('keeps the client’s address through a NodePort where its policy is Local', async () => {
    const [first, second] = [await addressOf('node1'), await addressOf('node2')];
    const local = await portOf('local');
    await cluster.until('kube-proxy leads there', async () =>
      (await fromNode('node1', second, local)).includes(`${first}:`),
    );
    // Through the other node, which masquerades: its address is what arrives, as without a mesh.
    await cluster.until('kube-proxy leads to the other node', async () =>
      (await fromNode('node2', first, await portOf('any'))).includes('HELLO'),
    );
  });

  it('takes an enrolled ingress by mutual TLS alone, and refuses all others with the reason in log and metric', async () => {
    await cluster.apply(strict);
    await cluster.until(
      'plaintext is refused',
      async () => (await hello(client, `server.${mesh}`)).includes('HELLO') === false,
    );
    const { segments } = await onTheWire(cluster, [ingress, server], async () => {
      assert.ok((await hello(ingress, `server.${mesh}`)).includes(`${ingress.status.podIP}:`));
    });
    assert.ok(segments.length > 0 && segments.every(isHbone));
    const refused = await fromNode('node1', await addressOf('node2'), await portOf('local'));
    assert.ok(!refused.includes('HELLO'), refused);
    const ztunnels = await cluster.readyPods(
      SYSTEM,
      'app.kubernetes.io/name=loam-ztunnel',
      cluster.nodes.length,
    );
    const own = ztunnels.find(({ spec }) => spec.nodeName === 'node2');
    assert.ok(own);
    const lines = (await cluster.log(own, 'ztunnel'))
      .split('\n')
      .filter((line) => line.includes(`"src.addr":"${client.status.podIP}:`) && line.includes('"DENY"'));
    assert.ok(lines.length > 0, 'the refusal is in the log');
    assert.match(lines.at(-1) ?? '', /istio_converted_static_strict/);
    const metrics = await cluster.inPod(own, [
      '/usr/local/bin/node',
      '-e',
      "fetch('http://127.0.0.1:15020/metrics').then((r) => r.text()).then((text) => process.stdout.write(text))",
    ]);
    const denied = metrics
      .split('\n')
      .filter(
        (line) =>
          line.includes('response_flags="DENY"') && line.includes(`destination_workload_namespace="${mesh}"`),
      );
    assert.ok(denied.length > 0, 'the refusal is counted');
  });

  it('reaches the API server from an enrolled pod by its Service, which has no selector', async () => {
    const answer = await cluster.inPod(ingress, [
      '/usr/local/bin/node',
      '-e',
      `require('https').get({ host: process.env.KUBERNETES_SERVICE_HOST ?? '10.96.0.1', port: 443, path: '/readyz', rejectUnauthorized: false },
        (response) => { console.log('status', response.statusCode); process.exit(0); }).on('error', (error) => console.log(error.code))`,
    ]);
    assert.match(answer, /^status \d+/);
  });
});

/** A program that dials, and prints what is said first, or why nothing is. */
function dial(host: string, port: number): string {
  return `require('net').connect(${port}, '${host}').setTimeout(5000).on('data', (d) => { console.log(String(d)); process.exit(0); }).on('error', (e) => { console.log(e.code); process.exit(0); }).on('timeout', () => { console.log('timeout'); process.exit(0); }).on('close', () => { console.log('closed'); process.exit(0); })`;
}
