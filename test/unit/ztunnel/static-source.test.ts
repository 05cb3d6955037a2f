import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { MeshError } from '../../../lib/mesh/errors.ts';
import type { CertificateBundle } from '../../../lib/mesh/identity/certificate-bundle.ts';
import { readStaticState, StaticCertificates } from '../../../ztunnel/static-source.ts';
import { TestCa } from './support/certificates.ts';

const STATE = `
workloads:
- {uid: Kubernetes//Pod/default/client, name: client, serviceAccount: client, workloadIps: ["198.18.1.1"], protocol: HBONE}
- name: server
  namespace: default
  workloadIps: ["198.18.1.2"]
  services: {"default/server.default.svc.cluster.local": {"80": 8080}}
services:
- {name: server, namespace: default, vips: ["/198.19.0.1"], ports: {"80": 8080}}
policies:
- {name: p, namespace: default, scope: Namespace, action: Deny, rules: [[[{principals: [{Exact: a}], destinationPorts: [1]}]]]}
- {name: q, namespace: default, scope: WorkloadSelector, action: Allow, rules: [[[{sourceIps: [1.2.3.4/32]}]]]}
`;

describe('ztunnel/static-source', () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'loam-static-'));
  });
  after(() => rmSync(folder, { recursive: true }));

  const read = (text: string) => {
    writeFileSync(join(folder, 'state.yaml'), text);
    return readStaticState(join(folder, 'state.yaml'));
  };

  it("reads the Rust ztunnel's local state", () => {
    const { addresses, policies } = read(STATE);
    const [service, client, server] = addresses;
    assert.equal(service?.kind === 'service' && service.key, 'default/server.default.svc.cluster.local');
    assert.ok(client?.kind === 'workload' && client.tunnelProtocol === 'hbone');
    assert.equal(client.identity.serviceAccount, 'client');
    assert.ok(server?.kind === 'workload' && server.tunnelProtocol === 'none');
    assert.equal(server.uid, 'Kubernetes//Pod/default/server');
    assert.deepEqual(server.services[0]?.ports, [
      { servicePort: 80, targetPort: 8080, appProtocol: 'unknown' },
    ]);
    const [deny, allow] = policies;
    assert.equal(deny?.key, 'default/p');
    assert.deepEqual(deny.rules[0]?.clauses[0]?.matches[0]?.principals, [{ how: 'exact', text: 'a' }]);
    // What it cannot read of a policy is marked, so that it is never more permissive than written.
    assert.match(allow?.rules[0]?.clauses[0]?.matches[0]?.unsupported ?? '', /sourceIps/);
  });

  it('refuses a file that is wrong', () => {
    for (const text of [
      'workloads: 1',
      '[]',
      'workloads: [{name: a, workloadIps: [x]}]',
      'policies: [{name: a}]',
    ]) {
      assert.throws(() => read(text), MeshError, text);
    }
    assert.throws(() => readStaticState(join(folder, 'absent')), /cannot read/);
  });

  it('delivers the certificate of a folder', async () => {
    const identity = { trustDomain: 'cluster.local', namespace: 'default', serviceAccount: 'client' };
    const issued = await (await TestCa.create()).issue('spiffe://cluster.local/ns/default/sa/client');
    writeFileSync(join(folder, 'client.crt'), issued.certChainPem);
    writeFileSync(join(folder, 'client.key'), issued.keyPem);
    writeFileSync(join(folder, 'root.pem'), issued.rootsPem);
    const delivered: CertificateBundle[] = [];
    const certificates = new StaticCertificates(folder, (bundle) => delivered.push(bundle));
    certificates.acquire(identity);
    assert.equal(delivered[0]?.certChainPem, issued.certChainPem);
    assert.ok(!JSON.stringify(certificates.snapshot()).includes('PRIVATE'));
    assert.throws(() => certificates.acquire({ ...identity, serviceAccount: 'nobody' }), /nobody/);
  });
});
