import { mkdtemp, rm } from 'node:fs/promises';
import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as grpc from '@grpc/grpc-js';
import { CONTROLLER_DNS_NAME } from '../../../controller/ca/serving-certificate.ts';
import type { Config } from '../../../controller/config.ts';
import { Controller } from '../../../controller/controller.ts';
import { makePlatform } from '../../../controller/platform/make.ts';
import { ControllerMetrics } from '../../../controller/telemetry/metrics.ts';
import type { KubeAccess } from '../../../lib/kubernetes/access.ts';
import { KubeClient } from '../../../lib/kubernetes/client.ts';
import { hasStatus } from '../../../lib/kubernetes/errors.ts';
import type { RunningController } from '../../unit/controller/harness.ts';
import { getJson, SILENT, until } from '../../unit/controller/harness.ts';

/** The API server of the cluster that the ring made, as a member of system:masters. */
export function clusterAccess(): KubeAccess {
  const dir = process.env['LOAM_TEST_CLUSTER'];
  if (dir === undefined) throw new Error('LOAM_TEST_CLUSTER is not set: ./loam test cluster makes a cluster');
  return {
    server: readFileSync(join(dir, 'server'), 'utf8').trim(),
    caFile: join(dir, 'ca.crt'),
    credentials: { kind: 'certificate', certFile: join(dir, 'admin.crt'), keyFile: join(dir, 'admin.key') },
  };
}

/** A namespace of a test's own, with what it needs there; it is deleted at the end, and nobody waits for that. */
export class TestNamespace implements AsyncDisposable {
  readonly client: KubeClient;
  readonly name: string;

  private constructor(client: KubeClient, name: string) {
    this.client = client;
    this.name = name;
  }

  static async create(prefix: string, labels: Record<string, string> = {}): Promise<TestNamespace> {
    const client = new KubeClient(clusterAccess(), { userAgent: 'loam-test' });
    const name = `${prefix}-${Math.random().toString(36).slice(2, 8)}`;
    await client.create('/api/v1/namespaces', { metadata: { name, labels } });
    return new TestNamespace(client, name);
  }

  path(plural: string, group = ''): string {
    return `${group === '' ? '/api/v1' : `/apis/${group}`}/namespaces/${this.name}/${plural}`;
  }

  async account(name: string): Promise<void> {
    await this.client.create(this.path('serviceaccounts'), { metadata: { name } });
  }

  /** A pod as a kubelet would report it; no kubelet runs it. @returns its uid */
  async pod(
    name: string,
    { account, node, labels = {} }: { account: string; node: string; labels?: Record<string, string> },
  ): Promise<string> {
    const made = await this.client.create<{ metadata: { uid: string } }>(this.path('pods'), {
      metadata: { name, labels },
      spec: {
        ...{ nodeName: node, serviceAccountName: account, automountServiceAccountToken: false },
        ...{ containers: [{ name: 'main', image: 'none' }], terminationGracePeriodSeconds: 0 },
      },
    });
    // No other pod has it, of whatever run: two of one address would be a mistake.
    const ip = `198.18.${randomInt(1, 255)}.${randomInt(1, 255)}`;
    const status = {
      ...{ phase: 'Running', podIP: ip, podIPs: [{ ip }] },
      conditions: [{ type: 'Ready', status: 'True' }],
    };
    await this.client.patch(
      `${this.path('pods')}/${name}/status`,
      { status },
      'application/merge-patch+json',
    );
    return made.metadata.uid;
  }

  /** A token as the kubelet asks for it. @param pod bound to it; absent: to nothing */
  async token(account: string, pod?: { name: string; uid: string }, audience = 'loam'): Promise<string> {
    const { status } = await this.client.create<{ status: { token: string } }>(
      `${this.path('serviceaccounts')}/${account}/token`,
      {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenRequest',
        spec: {
          ...{ audiences: [audience], expirationSeconds: 600 },
          ...(pod !== undefined && { boundObjectRef: { apiVersion: 'v1', kind: 'Pod', ...pod } }),
        },
      },
    );
    return status.token;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.delete(`/api/v1/namespaces/${this.name}`).catch((error: unknown) => {
      if (!hasStatus(error, 404)) throw error;
    });
    this.client.close();
  }
}

export interface ClusterController extends RunningController {
  readonly rootPem: () => Promise<string>;
  readonly metrics: ControllerMetrics;
}

/** A whole controller in this process, against the cluster, as Loam's in that namespace. */
export async function runClusterController(
  namespace: TestNamespace,
  replica: string,
  platform: Partial<Extract<Config['platform'], { kind: 'kubernetes' }>> = {},
): Promise<ClusterController> {
  const dir = await mkdtemp(join(tmpdir(), 'loam-cluster-'));
  const status = join(dir, 'status.sock');
  const metrics = new ControllerMetrics('test');
  const config: Config = {
    platform: {
      kind: 'kubernetes',
      access: clusterAccess(),
      namespace: namespace.name,
      tokenAudience: 'loam',
      ztunnelAccount: 'loam-ztunnel',
      caSecret: 'loam-ca',
      replica,
      ...platform,
    },
    ...{ status, listen: { host: '127.0.0.1', port: 0 }, servingNames: [CONTROLLER_DNS_NAME] },
    ...{ trustDomain: 'cluster.local', clusterId: 'Kubernetes', rootNamespace: namespace.name },
    ...{ certTtlMaxS: 3600, logLevel: 'info' },
  };
  const controller = new Controller(config, makePlatform(config, metrics, SILENT), metrics, SILENT);
  const port = await controller.start();
  const rootPem = async (): Promise<string> => {
    const { data } = await namespace.client.get<{ data: Record<string, string> }>(
      `${namespace.path('secrets')}/loam-ca`,
    );
    return Buffer.from(data['root-cert.pem'] ?? '', 'base64').toString();
  };
  // The root that it began with: a test may spoil what the Secret says.
  const root = await rootPem();
  const ask = (path: string): Promise<{ code: number; body: unknown }> => getJson(status, path);
  const notHere = (): Promise<void> => Promise.reject(new Error('objects are in the cluster'));
  return {
    dir,
    address: `127.0.0.1:${port}`,
    status: ask,
    report: async () => (await ask('/v1/status')).body as Awaited<ReturnType<RunningController['report']>>,
    ...{ manifest: notHere, assignments: notHere, tokens: notHere },
    channel: () => Promise.resolve(grpc.credentials.createSsl(Buffer.from(root))),
    rootPem,
    metrics,
    [Symbol.asyncDispose]: async () => {
      await controller.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** Waits until a controller says that it is ready. */
export async function isReady(controller: RunningController): Promise<void> {
  await until(async () => (await controller.status('/healthz/ready')).code === 200);
}
