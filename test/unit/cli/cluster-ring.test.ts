import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { X509Certificate, createPrivateKey } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeCertificates } from '../../../cli/test-rings/cluster/certificates.ts';
import { forward } from '../../../cli/test-rings/cluster/forward.ts';
import { writeKubeconfig } from '../../../cli/test-rings/cluster/kubeconfig.ts';
import { nodeScript } from '../../../cli/test-rings/cluster/node-script.ts';
import { clusterPlan, type ClusterPlan } from '../../../cli/test-rings/cluster/plan.ts';
import { netnsPrefix } from '../../../cli/local/names.ts';

describe('loam test cluster: what is made for a cluster', () => {
  let dir: string;
  let plan: ClusterPlan;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'loam-cluster-'));
    plan = { ...clusterPlan('unit'), dir, pki: join(dir, 'pki') };
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  it('has names that no local mesh takes for its own', () => {
    for (const mesh of ['unit', 'kube', 'cluster'])
      for (const { netns } of plan.nodes) assert.ok(!netns.startsWith(netnsPrefix(mesh)));
  });

  it('has certificates of one authority, with the subjects that Kubernetes reads users and groups from', async () => {
    await makeCertificates(plan);
    const read = (file: string): X509Certificate =>
      new X509Certificate(readFileSync(join(plan.pki, `${file}.crt`)));
    const authority = read('ca');
    assert.ok(authority.ca);
    for (const [file, subject] of [
      ['admin', 'O=system:masters\nCN=admin'],
      ['node1', 'O=system:nodes\nCN=system:node:node1'],
      ['apiserver', 'CN=kube-apiserver'],
    ] as const) {
      const certificate = read(file);
      assert.equal(certificate.subject, subject);
      assert.ok(certificate.verify(authority.publicKey) && certificate.checkIssued(authority));
      assert.ok(certificate.checkPrivateKey(createPrivateKey(readFileSync(join(plan.pki, `${file}.key`)))));
    }
    assert.equal(read('apiserver').checkIP('198.18.0.10'), '198.18.0.10');
    assert.equal(read('node2').checkIP('198.18.0.12'), '198.18.0.12');
    assert.ok(!read('front-proxy').verify(authority.publicKey), 'its authority is one of its own');

    const file = join(dir, 'config');
    writeKubeconfig(plan, 'admin', 'https://127.0.0.1:1', file);
    const { users } = JSON.parse(readFileSync(file, 'utf8')) as { users: { user: Record<string, string> }[] };
    const data = Buffer.from(users[0]?.user['client-certificate-data'] ?? '', 'base64');
    assert.equal(new X509Certificate(data).subject, 'O=system:masters\nCN=admin');
  });

  it('has a script for a node that a shell can read', () => {
    const [node] = plan.nodes;
    assert.ok(node);
    const images = { first: ['/a/pause.tar'], then: ['/a/loam.tar'] };
    const script = nodeScript({ plan, node, programs: '/programs', cni: '/usr/lib/cni', images });
    execFileSync('bash', ['-n'], { input: script });
    assert.ok(!/undefined|\[object/.test(script));
  });

  it('reaches the API server through a socket, both ways and to the end of each', async () => {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      let said = '';
      socket.on('data', (chunk: Buffer) => (said += chunk.toString()));
      socket.on('end', () => socket.end(`you said ${said}`));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const path = join(dir, 'socket');
    const inner = await forward(
      { path },
      { host: '127.0.0.1', port: (server.address() as AddressInfo).port },
    );
    const outer = await forward({ host: '127.0.0.1', port: 0 }, { path });
    try {
      const client = connect({
        port: (outer.address() as AddressInfo).port,
        host: '127.0.0.1',
        allowHalfOpen: true,
      });
      client.end('hello');
      let answer = '';
      for await (const chunk of client) answer += String(chunk);
      assert.equal(answer, 'you said hello');

      await new Promise((resolve) => server.close(resolve));
      const late = connect({ port: (outer.address() as AddressInfo).port, host: '127.0.0.1' });
      late.on('error', () => undefined);
      await once(late, 'close');
    } finally {
      inner.close();
      outer.close();
    }
  });
});
