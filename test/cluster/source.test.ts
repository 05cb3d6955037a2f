import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'mocha';
import { parse } from 'yaml';
import { READ_KINDS } from '../../controller/sources/kubernetes/kinds.ts';
import { KubernetesSource } from '../../controller/sources/kubernetes/source.ts';
import type { KubeAccess } from '../../lib/kubernetes/access.ts';
import { KubeClient } from '../../lib/kubernetes/client.ts';
import { hasStatus } from '../../lib/kubernetes/errors.ts';
import type { ReflectorTimes } from '../../lib/kubernetes/reflector.ts';
import { parseWatchEvent, WatchEnded } from '../../lib/kubernetes/watch-event.ts';
import { packageRoot } from '../../lib/package-root.ts';
import {
  describeCompliance,
  type Manifest,
  MESH,
  namespace,
  service,
  type SourceBench,
} from '../support/source-compliance.ts';
import { SILENT } from '../unit/controller/harness.ts';
import { until } from '../unit/lib/kubernetes/until.ts';

const APPLY = 'application/apply-patch+yaml';
const MANAGER = { fieldManager: 'loam-test', force: true };
const DEFINITIONS = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
/** The kinds of Istio, as an API server has them that admits everything. */
const ISTIO = ['AuthorizationPolicy', 'PeerAuthentication', 'RequestAuthentication'];
const NS = 'loam-source-faults';

function told(file: string): string {
  const dir = process.env['LOAM_TEST_CLUSTER'];
  if (dir === undefined) throw new Error('LOAM_TEST_CLUSTER is not set: ./loam test cluster makes a cluster');
  return join(dir, file);
}

function access(): KubeAccess {
  return {
    server: readFileSync(told('server'), 'utf8').trim(),
    caFile: told('ca.crt'),
    credentials: { kind: 'certificate', certFile: told('admin.crt'), keyFile: told('admin.key') },
  };
}

/** Of a program of the control plane; it is started again when it ends. */
function processId(name: string): number {
  const found = new RegExp(`^${name} (\\d+)$`, 'm').exec(readFileSync(told('processes'), 'utf8'))?.[1];
  if (found === undefined) throw new Error(`${name} is not running`);
  return Number(found);
}

function pathOf({ kind, metadata }: Manifest): string {
  const path = READ_KINDS.find((each) => each.kind === kind)?.path ?? '';
  const at = path.lastIndexOf('/');
  const home = metadata.namespace === undefined ? '' : `/namespaces/${metadata.namespace}`;
  return `${path.slice(0, at)}${home}${path.slice(at)}/${metadata.name}`;
}

async function put(kube: KubeClient, object: Manifest): Promise<void> {
  const { status, ...rest } = object;
  // A field that the definition does not have is dropped by the server, as kubectl's users have it; it must not refuse.
  const query = { ...MANAGER, fieldValidation: 'Ignore' };
  await kube.patch(pathOf(object), rest, APPLY, query);
  if (status === undefined) return;
  const { apiVersion, kind, metadata } = object;
  const { name, namespace: ns } = metadata;
  const now = { apiVersion, kind, metadata: { name, namespace: ns }, status };
  await kube.patch(`${pathOf(object)}/status`, now, APPLY, query);
}

async function remove(kube: KubeClient, object: Manifest): Promise<void> {
  try {
    await kube.delete(pathOf(object), { gracePeriodSeconds: 0 });
    if (object.kind !== 'Namespace') return;
    // Where no controller does it, as on a lone API server.
    const { metadata } = object;
    const empty = {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: metadata.name },
      spec: { finalizers: [] },
    };
    await kube.replace(`${pathOf(object)}/finalize`, empty);
  } catch (error) {
    if (!hasStatus(error, 404) && !hasStatus(error, 409)) throw error;
  }
}

/** Makes the kinds known that the cluster lacks. */
async function define(kube: KubeClient): Promise<void> {
  const folder = join(packageRoot(), 'deploy/crds');
  const files = [folder, join(folder, 'gateway-api')].flatMap((dir) =>
    readdirSync(dir).flatMap((file) => (file.endsWith('.yaml') ? [join(dir, file)] : [])),
  );
  const definitions = [
    ...files.map((file) => parse(readFileSync(file, 'utf8')) as Manifest),
    ...READ_KINDS.filter(({ kind }) => ISTIO.includes(kind)).map(({ kind, path }) => permissive(kind, path)),
  ];
  for (const definition of definitions) {
    const path = `${DEFINITIONS}/${definition.metadata.name}`;
    const known = await kube.get(path).catch((error: unknown) => {
      if (!hasStatus(error, 404)) throw error;
    });
    if (known === undefined) await kube.patch(path, definition, APPLY, MANAGER);
  }
  for (const { path } of READ_KINDS)
    await until(() =>
      kube.get(path, { limit: 1 }).then(
        () => true,
        () => false,
      ),
    );
}

function permissive(kind: string, path: string): Manifest {
  const [plural = '', version = '', group = ''] = path.split('/').reverse();
  const open = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      scope: 'Namespaced',
      names: { kind, plural, singular: kind.toLowerCase(), listKind: `${kind}List` },
      versions: [
        {
          name: version,
          served: true,
          storage: true,
          subresources: { status: {} },
          schema: { openAPIV3Schema: { type: 'object', properties: { spec: open, status: open } } },
        },
      ],
    },
  };
}

/** Asks for a history that is no more, as a watch does that was away for long. */
async function admitsToForget(): Promise<void> {
  const kube = new KubeClient(access());
  const said: string[] = [];
  const query = { watch: true, resourceVersion: '1', timeoutSeconds: 5 };
  const limits = { silenceMs: 20_000, signal: AbortSignal.timeout(20_000) };
  const refused: unknown = await kube
    .lines('/api/v1/services', query, (line) => said.push(line), limits)
    .catch((error: unknown) => error);
  kube.close();
  if (hasStatus(refused, 410)) return;
  const isExpired = (error: unknown): boolean => error instanceof WatchEnded && error.expired;
  assert.throws(() => parseWatchEvent(said[0] ?? ''), isExpired, said[0]);
}

describe('KubernetesSource on a real API server', () => {
  let admin: KubeClient;
  let shared: SourceBench | undefined;

  before(async () => {
    admin = new KubeClient(access());
    await define(admin);
  });
  after(async () => {
    await shared?.[Symbol.asyncDispose]();
    await remove(admin, namespace(NS));
    admin.close();
  });

  async function open(times: Partial<ReflectorTimes> = {}, timeoutMs = 30_000) {
    const client = new KubeClient(access(), { timeoutMs });
    const source = new KubernetesSource({ client, log: SILENT, times, ...MESH });
    await source.start();
    return {
      source,
      [Symbol.asyncDispose]: async () => {
        await source.close();
        client.close();
      },
    };
  }

  describeCompliance('does what every source does', async () => {
    if (shared === undefined) {
      const made = await open();
      shared = {
        ...made,
        assignments: () => made.source.assignments.current,
        put: (object) => put(admin, object),
        remove: (object) => remove(admin, object),
      };
    }
    return { ...shared, [Symbol.asyncDispose]: () => Promise.resolve() };
  });

  describe('when the API server fails', () => {
    const has = (source: KubernetesSource, name: string): boolean =>
      source.current.objects.has(`Service/${NS}/${name}`);
    const problems = ({ current }: KubernetesSource): number =>
      current.files.filter(({ error }) => error !== undefined).length;
    const one = service(NS, 'one', '198.19.20.1');
    const two = service(NS, 'two', '198.19.20.2');

    before(async () => {
      await put(admin, namespace(NS));
      await put(admin, one);
    });
    afterEach(() => remove(admin, two));

    /** The server is away for some moments, and takes a request again when it wants to. */
    const insist = (act: () => Promise<unknown>): Promise<void> =>
      until(() =>
        act().then(
          () => true,
          () => false,
        ),
      );

    it('keeps everything while it is killed, and catches up with the next one', async () => {
      await using bench = await open({ maxRetryMs: 500 });
      const { source } = bench;
      const size = source.current.objects.size;
      process.kill(processId('kube-apiserver'), 'SIGKILL');
      await until(() => problems(source) === READ_KINDS.length);
      assert.equal(source.gate().ready, true);
      assert.equal(source.current.objects.size, size);
      await insist(() => put(admin, two));
      await until(() => has(source, 'two') && problems(source) === 0);
      assert(has(source, 'one'));
      // The new one knows nothing of what was before it: what the source was told then, in the words that it understands.
      await admitsToForget();
    });

    it('notices one that says nothing any more, keeps everything, and catches up', async () => {
      await using bench = await open({ silenceMs: 2_000, maxRetryMs: 500 }, 2_000);
      const { source } = bench;
      const pid = processId('kube-apiserver');
      process.kill(pid, 'SIGSTOP');
      try {
        await until(() => problems(source) === READ_KINDS.length);
        assert.equal(source.gate().ready, true);
        assert(has(source, 'one'));
      } finally {
        process.kill(pid, 'SIGCONT');
      }
      await insist(() => put(admin, two));
      await until(() => has(source, 'two'));
    });
  });
});
