import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { join } from 'node:path';
import { definitions, type Definition } from '../../../cli/install/crds.ts';
import { packageRoot } from '../../../lib/package-root.ts';
import { TestCluster } from '../support/cluster.ts';
import { installed, loam, SYSTEM } from '../support/installation.ts';
import type { KubeObject } from '../support/resources.ts';

const MERGE = 'application/merge-patch+json';
const STRATEGIC = 'application/strategic-merge-patch+json';
const AGENTS = `/apis/apps/v1/namespaces/${SYSTEM}/daemonsets/loam-agent`;
const SERVICE = `/api/v1/namespaces/${SYSTEM}/services/loam-controller`;
const SECRET = `/api/v1/namespaces/${SYSTEM}/secrets/loam-ca`;
const BINDING = '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/loam-agent';

/** Each breaks an installation that runs, is named by `loam check` with its cause, and is mended again. */
describe('loam check on a broken installation', function () {
  this.timeout(900_000);
  const cluster = TestCluster.open();
  const { client } = cluster;

  before(async () => {
    await installed(cluster);
    await healthy();
  });
  after(healthy);

  /** What it prints, and whether it is content. */
  function check(): Promise<{ good: boolean; said: string }> {
    const main = join(packageRoot(), 'dist', 'cli', 'main.js');
    const env = { ...process.env, KUBECONFIG: cluster.kubeconfig };
    return new Promise((resolve, reject) =>
      execFile(process.execPath, [main, 'check'], { env }, (error, stdout, stderr) =>
        error !== null && error.code !== 1
          ? reject(new Error(stderr))
          : resolve({ good: error === null, said: stdout }),
      ),
    );
  }

  async function healthy(): Promise<void> {
    await cluster.until('loam check has nothing to say', async () => {
      const { good, said } = await check();
      assert.ok(good, said);
      return true;
    });
  }

  /** Waits until it names all these as failed, each with a mend. */
  async function names(...causes: readonly RegExp[]): Promise<void> {
    await cluster.until(`loam check names ${causes.join(' and ')}`, async () => {
      const { good, said } = await check();
      assert.equal(good, false, said);
      const failed = said.split(/^(?=[✔✗·])/m).filter((line) => line.startsWith('✗'));
      for (const cause of causes)
        assert.ok(
          failed.some((line) => cause.test(line) && /\n {4}→ \S/.test(line)),
          `${cause} in:\n${said}`,
        );
      return true;
    });
  }

  const podsOf = (program: string): ReturnType<TestCluster['pods']> =>
    cluster.pods(SYSTEM, `app.kubernetes.io/name=loam-${program}`);

  async function restart(program: string, node?: string): Promise<void> {
    for (const { metadata, spec } of await podsOf(program))
      if (node === undefined || spec.nodeName === node)
        await client.delete(`/api/v1/namespaces/${SYSTEM}/pods/${metadata.name}`);
  }

  it('names a definition that is gone, and one of an older version', async () => {
    const [gone, old] = ['trafficpolicies.loam.dev', 'meshsettings.loam.dev'].map((name) => {
      const found = definitions().find(({ metadata }) => metadata.name === name);
      assert.ok(found, name);
      return found;
    }) as [Definition, Definition];
    const path = (definition: Definition): string =>
      `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${definition.metadata.name}`;
    const anything = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
    const versions = old.spec.versions.map((version) => ({
      ...version,
      schema: { openAPIV3Schema: anything },
    }));
    await client.patch(path(old), { spec: { versions } }, MERGE);
    await client.delete(path(gone));
    try {
      await names(/kinds: there is no trafficpolicies\.loam\.dev/, /meshsettings\.loam\.dev is of an older/);
    } finally {
      await cluster.apply(gone as unknown as KubeObject, old as unknown as KubeObject);
    }
    await healthy();
  });

  it('names a capability that the agents need and have not', async () => {
    const add = (capabilities: readonly string[]): Promise<unknown> =>
      client.patch(
        AGENTS,
        {
          spec: {
            template: {
              spec: {
                containers: [{ name: 'agent', securityContext: { capabilities: { add: capabilities } } }],
              },
            },
          },
        },
        STRATEGIC,
      );
    const { spec } = await client.get<{
      spec: {
        template: { spec: { containers: { securityContext: { capabilities: { add: string[] } } }[] } };
      };
    }>(AGENTS);
    const all = spec.template.spec.containers[0]?.securityContext.capabilities.add ?? [];
    await add(all.filter((capability) => capability !== 'SYS_ADMIN'));
    try {
      await names(
        /DaemonSet loam-system\/loam-agent: was changed: .*capabilities\.add is .*SYS_ADMIN/,
        /agent loam-agent-\w+ on node\d: .*it ended with 1 .*lacks the capability SYS_ADMIN/,
      );
    } finally {
      await add(all);
    }
    await healthy();
  });

  it('names ztunnels that cannot reach the controllers, and the Service that leads nowhere', async () => {
    const port = (targetPort: string | number): Promise<unknown> =>
      client.patch(SERVICE, { spec: { ports: [{ port: 15012, targetPort }] } }, STRATEGIC);
    await port(1);
    // What is open goes on; a controller that is replaced ends it.
    await restart('controller');
    try {
      await names(
        /Service loam-system\/loam-controller: was changed: spec\.ports\[grpc-xds\]\.targetPort is 1, and not "grpc"/,
        /ztunnel loam-ztunnel-\w+ on node\d: reaches no controller and goes on with what it knows: \S/,
      );
    } finally {
      await port('grpc');
    }
    await healthy();
  });

  it('names an authority whose key and certificate do not belong together', async () => {
    const { data } = await client.get<{ data: Record<string, string> }>(SECRET);
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const other = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    await client.patch(SECRET, { data: { 'ca-key.pem': Buffer.from(other).toString('base64') } }, MERGE);
    try {
      await names(
        /controller \S+ on node\d: authority: Secret loam-system\/loam-ca: field ca-key\.pem does not belong/,
      );
    } finally {
      await client.patch(SECRET, { data: { 'ca-key.pem': data['ca-key.pem'] } }, MERGE);
    }
    await healthy();
  });

  it('names rights that the agents have lost', async () => {
    const { roleRef, subjects, metadata } = await client.get<KubeObject>(BINDING);
    await client.delete(BINDING);
    try {
      await names(/ClusterRoleBinding loam-agent: is gone/);
    } finally {
      const { name, labels = {} } = metadata;
      await cluster.apply({
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'ClusterRoleBinding',
        metadata: { name, labels },
        roleRef,
        subjects,
      });
    }
    await healthy();
  });

  it('names a node without a BPF file system', async () => {
    await cluster.onNode('node2', ['umount', '/sys/fs/bpf']);
    await restart('agent', 'node2');
    try {
      await names(/agent loam-agent-\w+ on node2: .*BPF file system/i);
    } finally {
      await cluster.onNode('node2', ['mount', '-t', 'bpf', 'bpf', '/sys/fs/bpf']);
      await restart('agent', 'node2');
    }
    await healthy();
  });

  it('names what keeps an installation from becoming ready', async () => {
    const refused = loam(cluster, 'upgrade', '--set', 'image=localhost/loam:none', '--timeout', '20');
    await assert.rejects(refused, /loam-controller: .*pod loam-controller-\S+ on node\d: ErrImage|ImagePull/);
    await names(/controller \S+ on node\d: (ErrImage|ImagePull)/);
    await loam(cluster, 'upgrade', '--set', 'image=localhost/loam:dev');
    await healthy();
  });
});
