import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer, type Server } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { makeAuthorityValues } from '../../../../../controller/platform/kubernetes/authority-secret.ts';
import { ClusterApi } from '../../../../../cli/install/cluster/api.ts';

interface Received {
  readonly method: string | undefined;
  readonly body: unknown;
}

describe("the command line's requests to the Kubernetes API", function () {
  this.timeout(30_000);
  const received: Received[] = [];
  let folder: string;
  let server: Server;
  let api: ClusterApi;
  before(async () => {
    const authority = await makeAuthorityValues('cluster.local');
    server = createServer(
      { key: authority['ca-key.pem'], cert: authority['ca-cert.pem'] },
      (request, response) => {
        let text = '';
        request.on('data', (chunk: Buffer) => (text += chunk.toString()));
        request.on('end', () => {
          received.push({ method: request.method, body: text === '' ? undefined : JSON.parse(text) });
          response.setHeader('content-type', 'application/json').end('{}');
        });
      },
    );
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    folder = mkdtempSync(join(tmpdir(), 'loam-api-'));
    const kubeconfig = join(folder, 'kubeconfig');
    const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
    writeFileSync(
      kubeconfig,
      JSON.stringify({
        ...{ apiVersion: 'v1', kind: 'Config', 'current-context': 'c' },
        clusters: [{ name: 'c', cluster: { server: url, 'insecure-skip-tls-verify': true } }],
        users: [{ name: 'u', user: {} }],
        contexts: [{ name: 'c', context: { cluster: 'c', user: 'u' } }],
      }),
    );
    api = await ClusterApi.open({ kubeconfig });
  });
  after(() => {
    server.closeAllConnections();
    server.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it('say how something is to be deleted', async () => {
    await api.delete('/api/v1/namespaces/n/pods/p', {
      gracePeriodSeconds: 30,
      preconditions: { uid: 'one' },
    });
    assert.deepEqual(received.pop(), {
      method: 'DELETE',
      body: { propagationPolicy: 'Background', gracePeriodSeconds: 30, preconditions: { uid: 'one' } },
    });
  });

  it('bring what is to be applied, and nothing where there is nothing to bring', async () => {
    const object = { apiVersion: 'v1', kind: 'ConfigMap', data: { text: 'Äpfel' } };
    await api.apply('/api/v1/namespaces/n/configmaps/c', object, 'loam');
    assert.deepEqual(received.pop(), { method: 'PATCH', body: object });
    await api.get('/api/v1/namespaces/n/pods/p');
    assert.deepEqual(received.pop(), { method: 'GET', body: undefined });
  });
});
