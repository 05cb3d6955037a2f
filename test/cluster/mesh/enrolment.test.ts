import assert from 'node:assert/strict';
import { deployment, idle, namespace, script, service } from '../support/apps.ts';
import { TestCluster, type TestPod } from '../support/cluster.ts';
import { AMBIENT, installed, MODE } from '../support/installation.ts';
import { isHbone, onTheWire } from '../support/wire.ts';

const SECRET = 'application-byte-in-the-clear';

describe('a labelled namespace', function () {
  this.timeout(600_000);
  const cluster = TestCluster.open();
  const ns = 'enrolled';
  const objects = [
    namespace(ns),
    deployment(ns, 'server', { node: 'node2' }),
    service(ns, 'server'),
    idle(ns, 'client', { node: 'node1' }),
  ];
  let client: TestPod;
  let server: TestPod;

  before(async () => {
    await installed(cluster);
    await cluster.apply(...objects);
    client = await one('client');
    server = await one('server');
  });
  after(() => cluster.remove(...objects));

  async function one(app: string): Promise<TestPod> {
    const [pod] = await cluster.readyPods(ns, `app=${app}`);
    assert.ok(pod);
    return pod;
  }
  const post = async (): Promise<void> => {
    const said = await cluster.inPod(client, fetchScript(`http://server.${ns}/`, SECRET));
    assert.equal(said.trim(), SECRET);
  };
  const hello = (host: string): Promise<string> =>
    cluster.inPod(client, script('mesh/app/client.mjs', 'listen', host, '7000', '5000'));

  it('is before its label as any other: in the clear on the link between the nodes', async () => {
    await cluster.until('the Service answers', () => post().then(() => true));
    const { raw, segments } = await onTheWire(cluster, [client, server], post);
    assert.notEqual(raw.indexOf(SECRET), -1, 'this capture finds what is in the clear');
    assert.ok(segments.length > 0 && !segments.some(isHbone));
  });

  it('has mutual TLS between its running pods, which nobody restarts', async () => {
    await cluster.label(namespace(ns), AMBIENT);
    await cluster.until('what the pods say goes through HBONE', async () => {
      const { raw, segments } = await onTheWire(cluster, [client, server], post);
      return raw.indexOf(SECRET) === -1 && segments.length > 0;
    });

    const { raw, segments } = await onTheWire(cluster, [client, server], async () => {
      for (let i = 0; i < 3; i += 1) await post();
    });
    assert.equal(raw.indexOf(SECRET), -1);
    assert.ok(segments.length > 10, `${segments.length} segments`);
    assert.ok(segments.every(isHbone), 'nothing between the pods but HBONE');
    for (const before of [client, server]) {
      const now = await one(before.metadata.labels?.['app'] ?? '');
      assert.equal(now.metadata.uid, before.metadata.uid);
      assert.equal(
        now.status.containerStatuses?.[0]?.containerID,
        before.status.containerStatuses?.[0]?.containerID,
      );
      assert.equal(now.status.containerStatuses?.[0]?.restartCount, 0);
    }
  });

  it('shows servers the addresses of their clients, by a Service and by the pod itself', async () => {
    for (const host of [`server.${ns}`, server.status.podIP ?? ''])
      assert.ok((await hello(host)).includes(`${client.status.podIP}:`), host);
  });

  it('reaches a pod by its own Service', async () => {
    const self = await cluster.inPod(
      server,
      script('mesh/app/client.mjs', 'listen', `server.${ns}`, '7000', '5000'),
    );
    assert.match(self, /HELLO/);
  });

  it('is plain again without its label', async () => {
    await cluster.label(namespace(ns), { [MODE]: null });
    await cluster.until('it is in the clear', async () => {
      const { raw } = await onTheWire(cluster, [client, server], post);
      return raw.indexOf(SECRET) !== -1;
    });
  });
});

/** Posts a text, and prints what comes back. */
function fetchScript(url: string, body: string): string[] {
  const code = `fetch(${JSON.stringify(url)}, { method: 'POST', body: ${JSON.stringify(body)} }).then((r) => r.text()).then(console.log)`;
  return ['/usr/local/bin/node', '-e', code];
}
