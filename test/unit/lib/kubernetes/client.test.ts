import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { inClusterAccess } from '../../../../lib/kubernetes/access.ts';
import { KubeClient } from '../../../../lib/kubernetes/client.ts';
import { hasStatus, KubeApiError } from '../../../../lib/kubernetes/errors.ts';
import { FakeKubeApi } from '../../../support/fake-kube-api.ts';

const PODS = '/api/v1/pods';

async function failure(promise: Promise<unknown>): Promise<KubeApiError> {
  const error: unknown = await promise.then(
    () => assert.fail('it succeeded'),
    (thrown: unknown) => thrown,
  );
  assert(error instanceof KubeApiError, String(error));
  return error;
}

describe('kubernetes/client', () => {
  let api: FakeKubeApi;
  const clients: KubeClient[] = [];

  beforeEach(async () => {
    api = await FakeKubeApi.start();
    api.serve(PODS);
  });
  afterEach(async () => {
    for (const client of clients.splice(0)) client.close();
    await api[Symbol.asyncDispose]();
  });

  function client(options: ConstructorParameters<typeof KubeClient>[1] = {}): KubeClient {
    const made = new KubeClient(api.access, options);
    clients.push(made);
    return made;
  }

  it('reads, with the token of the file, and over one connection', async () => {
    api.put(PODS, { metadata: { name: 'a', namespace: 'shop' } });
    const kube = client();
    for (let i = 0; i < 3; i += 1) {
      const list = await kube.get<{ items: { metadata: { name: string } }[] }>(PODS, {
        limit: 5,
        continue: undefined,
      });
      assert.deepEqual(
        list.items.map(({ metadata }) => metadata.name),
        ['a'],
      );
    }
    assert.deepEqual(new Set(api.requests), new Set([`GET ${PODS}?limit=5`]));
    assert.deepEqual(new Set(api.tokens), new Set(['first']));
    assert.equal(api.connections, 1);
  });

  it('takes a token that was replaced, at once where the old one is refused', async () => {
    const kube = client();
    await kube.get(PODS);
    await api.setToken('second');
    // Files are read once a second, or when what they said is refused.
    await kube.get(PODS).catch((error: unknown) => assert(hasStatus(error, 401)));
    await kube.get(PODS);
    assert.equal(api.tokens.at(-1), 'second');
  });

  it('tells status, reason, path and message of a refusal', async () => {
    const error = await failure(client().get('/api/v1/things'));
    assert.deepEqual(
      [error.code, error.status, error.reason, error.path],
      ['KUBE_STATUS', 404, 'NotFound', '/api/v1/things'],
    );
    assert.match(error.message, /GET \/api\/v1\/things: .*404: the server could not find/);
    api.failures.push({ status: 429, body: 'slow down', headers: { 'retry-after': '3' } });
    const busy = await failure(client().get(PODS));
    assert.deepEqual([busy.status, busy.retryAfterMs], [429, 3000]);
    assert.match(busy.message, /slow down/);
  });

  it('refuses what is too large, what is no JSON, and a redirection', async () => {
    api.failures.push({ status: 200, body: 'x'.repeat(5000) });
    assert.equal((await failure(client({ maxBytes: 1000 }).get(PODS))).code, 'KUBE_TOO_LARGE');
    api.failures.push({ status: 200, body: '{"items":' });
    assert.equal((await failure(client().get(PODS))).code, 'KUBE_MALFORMED');
    api.failures.push({ status: 302, body: '', headers: { location: 'https://127.0.0.1:1/' } });
    assert.equal((await failure(client().get(PODS))).status, 302);
  });

  it('gives up a server that says nothing, and one that is not there', async () => {
    api.freeze(true);
    assert.equal((await failure(client({ timeoutMs: 100 }).get(PODS))).code, 'KUBE_TIMEOUT');
    const kube = client();
    await api.stop();
    assert.equal((await failure(kube.get(PODS))).code, 'KUBE_CONNECT');
  });

  it('trusts nobody but the authority of the file', async () => {
    await using other = await FakeKubeApi.start();
    const kube = new KubeClient({ ...other.access, caFile: api.access.caFile });
    clients.push(kube);
    assert.equal((await failure(kube.get(PODS))).code, 'KUBE_CONNECT');
    assert.deepEqual(other.tokens, []);
  });

  it('ends what is under way when it is closed', async () => {
    api.freeze(true);
    const kube = client();
    const request = failure(kube.get(PODS));
    const watch = failure(
      kube.lines(PODS, {}, () => undefined, { silenceMs: 60_000, signal: new AbortController().signal }),
    );
    await new Promise((resolve) => setTimeout(resolve, 50));
    kube.close();
    assert.equal((await request).code, 'KUBE_CLOSED');
    assert.equal((await watch).code, 'KUBE_CLOSED');
  });

  it('does not wait for ever for TLS', async () => {
    const silent = createServer(() => undefined).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port } = silent.address() as { port: number };
    const kube = new KubeClient({ ...api.access, server: `https://127.0.0.1:${port}` }, { timeoutMs: 100 });
    assert.equal((await failure(kube.get(PODS))).code, 'KUBE_TIMEOUT');
    kube.close();
    silent.close();
  });

  it('says what is missing where there are no credentials', async () => {
    const kube = new KubeClient({ ...api.access, credentials: { kind: 'token', file: '/nowhere/token' } });
    const error = await failure(kube.get(PODS));
    assert.equal(error.code, 'KUBE_CREDENTIALS');
    assert.match(error.message, /\/nowhere\/token/);
    assert.throws(() => inClusterAccess({}, '/account'), /KUBERNETES_SERVICE_HOST/);
    const env = { KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '443' };
    assert.equal(inClusterAccess(env, '/account').server, 'https://[fd00::1]:443');
    assert.throws(() => new KubeClient({ ...api.access, server: 'http://127.0.0.1:1' }), /https/);
  });
});
